import Arbitration
import Messages

/// What claims of harsh storms select, and what it means, told a second time.
private let conditions: [(text: String, isSo: @Sendable (EndNode, _ inUse: Int) -> Bool)] = [
  ("\"c\" in roots", { node, _ in node.id.hasSuffix("/c") || node.id == sharedID }),
  ("not multi_root", { node, _ in node.id != sharedID }),
  ("used.functions > 0", { _, inUse in inUse > 0 }),
  ("used.functions == 0 or capacity.functions < 3", { node, inUse in inUse == 0 || node.id == "ethernet/c" }),
]

private let hostConditions: [(text: String, names: [String])] = [
  ("name in [\"a\", \"c\"]", ["a", "c"]), ("watchdog or name == \"d\"", ["b", "c", "d"]),
  ("\"sata\" in classes", ["a", "b", "c", "d"]),
]

extension Storm {
  mutating func addWishes(to specification: inout ClaimSpecification) {
    if hasTimes { addTime(to: &specification) }
    if hasPlacements { addPlacement(to: &specification) }
    if specification.deviceClass == "ethernet", hasMinimumRates, Int.random(in: 0..<2, using: &wishDice) == 0 {
      let amount = UInt32.random(in: 1...4, using: &wishDice)
      var ethernet = specification.attributes?.ethernet ?? EthernetAttributes()
      ethernet.minTransmitBitsPerSecond = UInt64(amount) * 2_000_000_000
      if !amount.isMultiple(of: 2) { ethernet.queues = amount }
      specification.attributes = Attributes { $0.ethernet = ethernet }
    }
    if specification.source.isEmpty, Int.random(in: 0..<3, using: &wishDice) == 0 {
      specification.selector = conditions.randomElement(using: &wishDice)?.text ?? ""
    }
    guard Int.random(in: 0..<3, using: &wishDice) == 0 else { return }
    if Int.random(in: 0..<2, using: &wishDice) == 0 {
      let others = Self.hostNames.filter { _ in Int.random(in: 0..<2, using: &wishDice) == 0 }
      specification.hosts = [specification.host] + others
    } else {
      specification.hostSelector = hostConditions.randomElement(using: &wishDice)?.text ?? ""
    }
    specification.host = ""
  }

  private mutating func addPlacement(to specification: inout ClaimSpecification) {
    switch Int.random(in: 0..<4, using: &wishDice) {
    case 0: specification.placement = Placement { $0.rule = .pack }
    case 1: specification.placement = Placement { $0.peers = "web" }
    default: break
    }
    guard specification.deviceClass == "ethernet" else { return }
    switch Int.random(in: 0..<4, using: &wishDice) {
    case 0: specification.locality = Locality { $0.nearest = true }
    case 1: specification.locality = Locality { $0.within = .rack }
    default: break
    }
    guard Int.random(in: 0..<2, using: &wishDice) == 0 else { return }
    specification.allowedPaths = [.directSoftware, .mediated]
    specification.upgrade = true
  }

  private mutating func addTime(to specification: inout ClaimSpecification) {
    if Int.random(in: 0..<3, using: &wishDice) == 0 {
      specification.timeToLiveSeconds = UInt32.random(in: 10...600, using: &wishDice)
    }
    guard Int.random(in: 0..<4, using: &wishDice) == 0 else { return }
    let request = ExtendClaimRequest {
      $0.name = "claim-\(Int.random(in: 0..<7, using: &wishDice))"
      $0.timeToLiveSeconds = UInt32.random(in: 0...300, using: &wishDice)
    }
    ask(.other) { .claimExtended($0, request) }
  }

  func isSelected(_ node: EndNode, _ present: [StormHost.Function], by specification: ClaimSpecification) -> Bool {
    conditions.first { $0.text == specification.selector }?.isSo(node, present.count) ?? true
  }

  /// The hosts that a claim may be used on.
  func hosts(meantBy specification: ClaimSpecification) -> [String] {
    guard specification.host.isEmpty else { return [specification.host] }
    let condition = hostConditions.first { $0.text == specification.hostSelector }
    return Self.hostNames.filter { name in
      (specification.hosts.isEmpty || specification.hosts.contains(name)) && (condition?.names.contains(name) ?? true)
    }
  }
}
