import CLinux
import Glibc

/// What became of one setting.
public enum AttributeOutcome: Sendable, Hashable {
  /// It was so already; nothing was written, and nothing is known of what the driver takes.
  case unchanged
  /// Written, and read back as written.
  case supported
  /// The driver took it, and reads back something else or nothing.
  case acceptedUnverified(readBack: VirtualFunctionAttribute?)
  case refused(NetlinkError)

  /// EOPNOTSUPP: the driver has no such setting at all. Others (EINVAL) are of the value.
  public var isUnsupported: Bool { if case .refused(let error) = self { error.isUnsupported } else { false } }
}

/// What became of a function's settings, each of which a driver may take or refuse for itself.
public struct SettingsOutcome: Sendable, Hashable {
  public var outcomes: [VirtualFunctionAttribute.Kind: AttributeOutcome]
  /// Read back at the end.
  public var found: VirtualFunctionSettings

  /// In the order in which they were tried.
  public var refusals: [(kind: VirtualFunctionAttribute.Kind, error: NetlinkError)] {
    outcomes.sorted { $0.key < $1.key }.compactMap { kind, outcome in
      if case .refused(let error) = outcome { (kind, error) } else { nil }
    }
  }

  public var unverified: [VirtualFunctionAttribute.Kind] {
    outcomes.sorted { $0.key < $1.key }.compactMap { kind, outcome in
      if case .acceptedUnverified = outcome { kind } else { nil }
    }
  }
}

/// Settings of virtual functions through the interface of their card, by rtnetlink. Calls are synchronous; some drivers ask
/// the card's firmware, which takes milliseconds.
///
/// A function is known here by its card's interface and its own index (`virtfnN`), never by an interface of its own, which
/// may be in any namespace or in none.
public struct VirtualFunctionControl: Sendable {
  private let netlink: any NetlinkTransport

  public init(_ netlink: any NetlinkTransport) { self.netlink = netlink }

  public init(_ route: RouteNetlink) { self.init(route.socket) }

  // MARK: Reading

  /// The virtual functions of every card of the namespace, by the index of the card's interface.
  ///
  /// Without counters: with them the list of 256 functions is longer than an attribute can be (64 KiB).
  public func all() throws(NetlinkError) -> [Int32: [VirtualFunctionState]] {
    var functions: [Int32: [VirtualFunctionState]] = [:]
    for reply in try netlink.dump(Self.everything) {
      if let (card, list) = VirtualFunctionState.list(reply) { functions[card] = list }
    }
    return functions
  }

  /// All interfaces, with the virtual functions of each.
  static let everything = NetlinkRequest(
    RTM_GETLINK, operation: "list the virtual functions of all interfaces"
  ) {
    $0.append(ifinfomsg())
    $0.attribute(Int(IFLA_EXT_MASK), UInt32(RTEXT_FILTER_VF) | UInt32(RTEXT_FILTER_SKIP_STATS))
  }

  /// Those of one card, sorted by index; none when it has none.
  ///
  /// - Parameter withCounters: also what the card counted; for cards with fewer than 200 functions (see `all`).
  public func functions(of card: Int32, withCounters: Bool = false) throws(NetlinkError) -> [VirtualFunctionState] {
    let skipped = withCounters ? 0 : UInt32(RTEXT_FILTER_SKIP_STATS)
    let request = NetlinkRequest(RTM_GETLINK, operation: "list the virtual functions of interface number \(card)") {
      $0.append(ifinfomsg(index: card))
      $0.attribute(Int(IFLA_EXT_MASK), UInt32(RTEXT_FILTER_VF) | skipped)
    }
    return try netlink.request(request).lazy.compactMap(VirtualFunctionState.list).first?.functions ?? []
  }

  /// - Throws: `NetlinkError`; ENOENT when the card has no function of that index.
  public func settings(of function: UInt32, on card: Int32) throws(NetlinkError) -> VirtualFunctionSettings {
    guard let state = try functions(of: card).first(where: { $0.index == function }) else {
      throw NetlinkError(errno: ENOENT, operation: "find virtual function \(function) of interface number \(card)")
    }
    return state.settings
  }

  // MARK: Setting

  /// Sets one thing, and does not look at what became of it.
  public func set(_ attribute: VirtualFunctionAttribute, of function: UInt32, on card: Int32) throws(NetlinkError) {
    try netlink.request(attribute.request(function: function, card: card))
  }

  /// Sets everything that is not nil and not so already, one message each, then reads back and compares.
  ///
  /// - Throws: `InexpressibleRate` before anything is written; `NetlinkError` when the function or its card is not there.
  ///   What the driver refuses is no error but in the outcome: the caller knows what it cannot do without.
  public func apply(
    _ wanted: VirtualFunctionSettings, to function: UInt32, on card: Int32
  ) throws -> SettingsOutcome {
    let before = try settings(of: function, on: card)
    let attributes = try wanted.attributes(over: before)
    let unchanged = attributes.filter { before[$0.kind] == $0 }
    guard unchanged.count < attributes.count else {
      return SettingsOutcome(
        outcomes: Dictionary(uniqueKeysWithValues: unchanged.map { ($0.kind, .unchanged) }), found: before)
    }
    return try carryOut(attributes.filter { before[$0.kind] != $0 }, unchanged: unchanged, function, card)
  }

  /// Finds out which settings the driver takes, by setting each to what it is. For a function that nobody uses: a VLAN that
  /// is switched off once more may be felt.
  public func probe(_ function: UInt32, on card: Int32) throws(NetlinkError) -> SettingsOutcome {
    let found = try settings(of: function, on: card)
    let attributes = VirtualFunctionAttribute.Kind.allCases.map { found[$0] ?? Self.placeholder($0) }
    return try carryOut(attributes, unchanged: [], function, card)
  }

  private func carryOut(
    _ changes: [VirtualFunctionAttribute], unchanged: [VirtualFunctionAttribute], _ function: UInt32, _ card: Int32
  ) throws(NetlinkError) -> SettingsOutcome {
    var refusals: [VirtualFunctionAttribute.Kind: NetlinkError] = [:]
    for change in changes {
      do {
        try set(change, of: function, on: card)
      } catch {
        // Without its card nothing else can be tried, nor read back.
        if error.errno == ENODEV { throw error }
        refusals[change.kind] = error
      }
    }
    let after = try settings(of: function, on: card)
    var outcomes: [VirtualFunctionAttribute.Kind: AttributeOutcome] = [:]
    for attribute in unchanged { outcomes[attribute.kind] = .unchanged }
    for change in changes {
      let readBack = after[change.kind]
      outcomes[change.kind] =
        if let refusal = refusals[change.kind] { .refused(refusal) } else if readBack == change { .supported } else {
          .acceptedUnverified(readBack: readBack)
        }
    }
    return SettingsOutcome(outcomes: outcomes, found: after)
  }

  /// What is in force where the driver says nothing.
  private static func placeholder(_ kind: VirtualFunctionAttribute.Kind) -> VirtualFunctionAttribute {
    switch kind {
    case .macAddress: .macAddress(.zero)
    case .vlan: .vlan(.off)
    case .rate: .rate(TransmitRate(minimumMegabits: 0, maximumMegabits: 0))
    case .spoofCheck: .spoofCheck(true)
    case .trust: .trust(false)
    case .rssQuery: .rssQuery(false)
    case .linkState: .linkState(.automatic)
    }
  }
}
