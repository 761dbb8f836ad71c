import LinuxDevices
import Services
import Synchronization

/// Which settings a card takes for its own functions, found out by asking its driver on a function that nobody has.
extension EthernetFunctions {
  /// As far as it was found out: until a function was free to ask with, little is known.
  func support(of card: OwnCard) -> [AttributeSupport] { probes[ProbeMemory.Key(card)] ?? Self.unasked }

  /// Asks, unless it is known already. A verb of its own: the function that is asked with must not be given to anybody
  /// meanwhile. Not before the card has a link: without one, igb refuses the rates that it takes with one.
  func findSupport(of card: OwnCard) throws {
    let key = ProbeMemory.Key(card)
    guard probes[key] == nil, card.link.hasCarrier else { return }
    let holders = holders(of: card)
    let free = card.capability.functions.first { holders[$0.index] == nil }
    guard let free else { return }
    probes[key] = try probe(free.index, of: card)
  }

  private func probe(_ index: UInt32, of card: OwnCard) throws -> [AttributeSupport] {
    let outcome = try functions.probe(index, on: card.link.index)
    func tried(_ attribute: VirtualFunctionAttribute, back: VirtualFunctionAttribute) -> NetlinkError? {
      do {
        try functions.set(attribute, of: index, on: card.link.index)
        try functions.set(back, of: index, on: card.link.index)
        return nil
      } catch { return error }
    }
    // What a driver refuses depends on the value: a minimum, and a provider's tag, are often refused where the rest is not.
    let minimum = tried(
      .rate(TransmitRate(minimumMegabits: 1, maximumMegabits: 0)),
      back: .rate(TransmitRate(minimumMegabits: 0, maximumMegabits: 0)))
    let provider = VLANTag(identifier: 1, tagProtocol: .provider).flatMap { tried(.vlan(.tag($0)), back: .vlan(.off)) }
    return OwnSupport(outcome.outcomes, minimumRate: minimum, providerTag: provider, quirks: card.quirks).attributes
  }

  /// Where nothing is known: only what every driver does.
  private static let unasked =
    [AttributeSupport("mac_address", .supported), AttributeSupport("mtu", .supported)]
    + [
      "vlan", "vlan_priority", "vlan_protocol", "max_transmit_bits_per_second", "min_transmit_bits_per_second",
      "spoof_check", "trust", "link_state", "rss_query",
    ].map { AttributeSupport($0, .unverified, "the driver is asked on a free function, when the card has a link") }
    + [OwnSupport.reception, OwnSupport.queues]
}

/// What the probe's outcomes mean for claims.
struct OwnSupport {
  let attributes: [AttributeSupport]

  /// A card limits what its functions send; what they are sent comes as it comes.
  static let reception = AttributeSupport(
    "max_receive_bits_per_second", .refused, "no card limits what one of its functions receives")

  static let queues = AttributeSupport(
    "queues", .refused, "how many queues one of its functions has is its driver's choice")

  init(
    _ outcomes: [VirtualFunctionAttribute.Kind: AttributeOutcome], minimumRate: NetlinkError?,
    providerTag: NetlinkError?,
    quirks: EthernetQuirks
  ) {
    func support(_ name: String, _ kind: VirtualFunctionAttribute.Kind) -> AttributeSupport {
      switch outcomes[kind] {
      case .supported, .unchanged: AttributeSupport(name, .supported)
      case .acceptedUnverified: AttributeSupport(name, .unverified, "the driver takes it and does not show it")
      case .refused(let error): AttributeSupport(name, .refused, error.reason)
      case nil: AttributeSupport(name, .unverified, "the driver was not asked")
      }
    }
    func refused(_ name: String, _ error: NetlinkError?, otherwise support: AttributeSupport) -> AttributeSupport {
      error.map { AttributeSupport(name, .refused, $0.reason) } ?? support
    }
    var maximum = support("max_transmit_bits_per_second", .rate)
    var minimum = refused(
      "min_transmit_bits_per_second", minimumRate, otherwise: support("min_transmit_bits_per_second", .rate))
    if quirks.refusesMinimumRate {
      minimum = AttributeSupport("min_transmit_bits_per_second", .refused, "the driver promises no rates")
    }
    var spoofCheck = support("spoof_check", .spoofCheck)
    let notKept = "the card takes it and does not keep it"
    if quirks.ignoresRate, maximum.support != .refused {
      maximum = AttributeSupport("max_transmit_bits_per_second", .unverified, notKept)
    }
    if quirks.ignoresRate, minimum.support != .refused {
      minimum = AttributeSupport("min_transmit_bits_per_second", .unverified, notKept)
    }
    if quirks.ignoresSpoofCheck, spoofCheck.support != .refused {
      spoofCheck = AttributeSupport("spoof_check", .unverified, notKept)
    }
    attributes = [
      support("mac_address", .macAddress), AttributeSupport("mtu", .supported), support("vlan", .vlan),
      support("vlan_priority", .vlan),
      refused("vlan_protocol", providerTag, otherwise: support("vlan_protocol", .vlan)), maximum, Self.reception,
      minimum,
      spoofCheck, support("trust", .trust), support("link_state", .linkState), support("rss_query", .rssQuery),
      Self.queues,
    ]
  }
}

extension AttributeSupport {
  init(_ name: String, _ support: Support, _ reason: String = "") {
    self.init()
    attribute = "ethernet.\(name)"
    self.support = support
    self.reason = reason
  }
}

/// What was found out once: a driver answers the same for all functions of its card.
final class ProbeMemory: Sendable {
  struct Key: Hashable {
    var address: PCIAddress
    var driver: String

    init(_ card: OwnCard) {
      address = card.address
      driver = card.function.driver ?? ""
    }
  }

  private let known = Mutex<[Key: [AttributeSupport]]>([:])

  func forget() { known.withLock { $0 = [:] } }

  subscript(key: Key) -> [AttributeSupport]? {
    get { known.withLock { $0[key] } }
    set { known.withLock { $0[key] = newValue } }
  }
}

extension OwnCard {
  var quirks: EthernetQuirks { EthernetQuirks(driver: function.driver, identifiers: function.identifiers) }
}
