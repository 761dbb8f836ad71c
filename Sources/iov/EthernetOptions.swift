import ArgumentParser
import Quantities
import Services

/// What a claim can say of an Ethernet function.
struct EthernetOptions: ParsableArguments {
  @Option(help: ArgumentHelp("MAC address; default: derived from the claim.", valueName: "address"))
  var mac: String?
  @Option(help: ArgumentHelp("MTU in bytes; default: the largest that the path carries.", valueName: "bytes"))
  var mtu: UInt32?
  @OptionGroup var rates: RateOptions
  @Flag(
    help: """
      Take limits, too, where the device accepts them and does not keep them, and keep them as well as can be done where the \
      consumer could get round it. Default: such a path is none.
      """)
  var bestEffortRates = false
  @Option(help: ArgumentHelp("Lowest rate from the consumer to the network.", valueName: "rate"))
  var minTransmit: BitRate?
  @Option(
    help: ArgumentHelp(
      "Queues of the function's interface, in each direction: 1 to 256; default: as its path makes it.",
      valueName: "number"))
  var queues: UInt32?

  @Option(help: ArgumentHelp("VLAN, 1 to 4094: outside, the function's packets carry its tag.", valueName: "number"))
  var vlan: UInt32?
  @Option(help: ArgumentHelp("Priority in that tag, 0 to 7.", valueName: "number")) var vlanPriority: UInt32?
  @Option(help: "The tag's protocol: 802.1q or 802.1ad.") var vlanProtocol: VlanProtocol?
  @Flag(inversion: .prefixedNo, help: "Drop packets that leave with another address than the function's.")
  var spoofCheck: Bool?
  @Flag(inversion: .prefixedNo, help: "Let the consumer change the function's address and receive others' packets.")
  var trust: Bool?
  @Option(help: "The function's link: auto (as the card's), enabled or disabled.") var linkState: LinkState?
  @Flag(inversion: .prefixedNo, help: "Let the consumer read how packets are spread over queues.")
  var rssQuery: Bool?

  var attributes: EthernetAttributes {
    EthernetAttributes {
      $0.macAddress = mac
      $0.mtu = mtu
      $0.maxTransmitBitsPerSecond = rates.maxTransmit?.bitsPerSecond
      $0.maxReceiveBitsPerSecond = rates.maxReceive?.bitsPerSecond
      $0.minTransmitBitsPerSecond = minTransmit?.bitsPerSecond
      $0.queues = queues
      if bestEffortRates { $0.rateGuarantee = .bestEffort }
      $0.vlan = vlan
      $0.vlanPriority = vlanPriority
      $0.vlanProtocol = vlanProtocol ?? .unspecified
      $0.spoofCheck = spoofCheck
      $0.trust = trust
      $0.linkState = linkState ?? .unspecified
      $0.rssQuery = rssQuery
    }
  }
}

extension EthernetAttributes {
  var details: [[String]] {
    func word(_ value: Bool?) -> String? { value.map { $0 ? "on" : "off" } }
    let tag = [vlan.map(String.init), vlanPriority.map { "priority \($0)" }, vlanProtocol.word].compactMap { $0 }
    let rows: [(String, String?)] = [
      ("MAC", macAddress), ("MTU", mtu.map { String($0) }), ("VLAN", vlan == nil ? nil : tag.joined(separator: ", ")),
      ("Max transmit", maxTransmitBitsPerSecond.flatMap { $0 > 0 ? formatBitRate($0) : nil }),
      ("Max receive", maxReceiveBitsPerSecond.flatMap { $0 > 0 ? formatBitRate($0) : nil }),
      ("Min transmit", minTransmitBitsPerSecond.flatMap { $0 > 0 ? formatBitRate($0) : nil }),
      ("Queues", queues.map { String($0) }), ("Rates", rateGuarantee == .bestEffort ? "best effort" : nil),
      ("Spoof check", word(spoofCheck)),
      ("Trust", word(trust)), ("Link", linkState.word), ("RSS query", word(rssQuery)),
    ]
    return rows.compactMap { name, value in value.map { [name, $0] } }
  }
}

extension VlanProtocol: ExpressibleByArgument {
  public init?(argument: String) {
    guard let value = Self.offered.first(where: { $0.word == argument.lowercased() }) else { return nil }
    self = value
  }

  private static let offered: [VlanProtocol] = [.ieee8021q, .ieee8021ad]
  public static var allValueStrings: [String] { offered.compactMap(\.word) }

  var word: String? {
    switch self {
    case .ieee8021q: "802.1q"
    case .ieee8021ad: "802.1ad"
    case .unspecified, .unrecognized: nil
    }
  }
}

extension LinkState: ExpressibleByArgument {
  public init?(argument: String) {
    guard let value = Self.offered.first(where: { $0.word == argument }) else { return nil }
    self = value
  }

  private static let offered: [LinkState] = [.auto, .enabled, .disabled]
  public static var allValueStrings: [String] { offered.compactMap(\.word) }

  var word: String? {
    switch self {
    case .auto: "auto"
    case .enabled: "enabled"
    case .disabled: "disabled"
    case .unspecified, .unrecognized: nil
    }
  }
}
