import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Every way there is on a small rack, tried one by one, against what the arbiter's search comes to. The rules are written down
/// a second time here, from what the hosts have, so that a mistake in the search is not made twice.
private struct Way: Comparable {
  var preference: Int
  var nearness: Nearness
  var isNearnessAsked: Bool
  var peers: Int
  var functionsInUse: Int
  var bytesInUse: UInt64
  /// Of what is to be packed.
  var bytesLeft: UInt64?
  var endNode: String
  var path: Path

  static func < (one: Way, other: Way) -> Bool {
    if one.preference != other.preference { return one.preference < other.preference }
    if one.isNearnessAsked, one.nearness != other.nearness { return one.nearness.rawValue < other.nearness.rawValue }
    if one.peers != other.peers { return one.peers < other.peers }
    if let left = one.bytesLeft, let others = other.bytesLeft {
      return (left, other.functionsInUse, one.endNode) < (others, one.functionsInUse, other.endNode)
    }
    return (one.functionsInUse, one.bytesInUse, one.endNode) < (other.functionsInUse, other.bytesInUse, other.endNode)
  }
}

private let unit: UInt64 = 1 << 26

/// The condition of a claim that may go to any host but one, as it is written down.
private func isNot(_ host: String) -> String { "name != \"\(host)\"" }

extension World {
  /// `isEmpty`: as if nobody had anything.
  fileprivate func bestWay(for specification: ClaimSpecification, isEmpty: Bool = false) -> Way? {
    let several =
      specification.hostSelector.isEmpty
      ? specification.hosts : hosts.keys.filter { specification.hostSelector != isNot($0) }
    return (several.isEmpty ? [specification.host] : several).compactMap { host in
      var specification = specification
      (specification.host, specification.hosts, specification.hostSelector) = (host, [], "")
      return bestWay(forOneHost: specification, isEmpty: isEmpty)
    }.min()
  }

  private func bestWay(forOneHost specification: ClaimSpecification, isEmpty: Bool) -> Way? {
    var ways: [Way] = []
    for host in hosts.values {
      for node in host.endNodes where node.deviceClass == specification.deviceClass {
        let selector = specification.endNode
        guard selector.map({ $0.host.isEmpty || $0.host == host.name }) ?? true else { continue }
        let present = isEmpty ? [] : host.functions.values.filter { $0.endNode == node.id && $0.role != .consumer }
        guard hasRoom(on: host, node, present, for: specification, isEmpty: isEmpty) else { continue }
        let order =
          specification.allowedPaths.isEmpty ? [.direct, .directSoftware, .mediated] : specification.allowedPaths
        let bytes = present.reduce(0) { $0 + $1.sizeBytes }
        let isPacked =
          specification.placement?.rule == .pack
          && (node.deviceClass == "ethernet" || specification.attributes?.block?.sizeBytes != nil)
        for (preference, path) in order.enumerated() where leads(path, from: host, node, to: specification) {
          let nearness = nearness(of: path, from: host, node, to: specification)
          let within = specification.locality?.within ?? .unspecified
          guard within == .unspecified || nearness.rawValue <= within.rawValue else { continue }
          ways.append(
            Way(
              preference: preference, nearness: nearness, isNearnessAsked: specification.locality?.nearest ?? false,
              peers: isEmpty ? 0 : peers(of: specification, at: node.id), functionsInUse: present.count,
              bytesInUse: bytes, bytesLeft: isPacked ? (node.capacity?.sizeBytes ?? 0) - bytes : nil,
              endNode: node.id, path: path))
        }
      }
    }
    return ways.min()
  }

  private func nearness(
    of path: Path, from host: FakeHost, _ node: EndNode, to specification: ClaimSpecification
  ) -> Nearness {
    guard path == .mediated else {
      let numa = node.roots.first?.numaNode.map { UInt32(bitPattern: $0) }
      return numa != nil && numa == specification.locality?.numaNode ? .numaNode : .host
    }
    let rack = host.labels["rack"]
    return rack != nil && rack == hosts[specification.host]?.labels["rack"] ? .rack : .elsewhere
  }

  private func peers(of specification: ClaimSpecification, at endNode: String) -> Int {
    guard let peers = specification.placement?.peers, !peers.isEmpty else { return 0 }
    return arbiter.listedClaims.filter {
      $0.specification?.placement?.peers == peers && $0.specification?.deviceClass == specification.deviceClass
        && $0.status?.assignment?.endNode == endNode
    }.count
  }

  private func leads(_ path: Path, from host: FakeHost, _ node: EndNode, to specification: ClaimSpecification) -> Bool {
    let size = specification.attributes?.block?.sizeBytes
    switch path {
    case .direct:
      return specification.host == host.name && node.capabilities?.paths.contains(.direct) ?? false
        && (size == nil || size == node.capacity?.sizeBytes)
    case .directSoftware: return specification.host == host.name
    case .mediated: return specification.host != host.name
    default: return false
    }
  }

  private func assignments(of node: EndNode) -> [Assignment] {
    arbiter.listedClaims.compactMap { $0.status?.assignment }.filter { $0.endNode == node.id }
  }

  private func hasRoom(
    on host: FakeHost, _ node: EndNode, _ present: [FakeFunction], for specification: ClaimSpecification, isEmpty: Bool
  ) -> Bool {
    if let limit = node.capacity?.functions, limit > 0, present.count >= Int(limit) { return false }
    let others = isEmpty ? [] : assignments(of: node)
    let users = Set(others.map(\.host))
    if let limit = node.capacity?.hosts, limit > 0, users.count >= Int(limit), !users.contains(specification.host) {
      return false
    }
    let asked = specification.attributes?.ethernet
    let queues = others.reduce(asked?.queues ?? 0) { $0 + ($1.attributes?.ethernet?.queues ?? 0) }
    if let limit = node.capacity?.queues, limit > 0, asked?.queues != nil, queues > limit { return false }
    let rate = others.reduce(asked?.minTransmitBitsPerSecond ?? 0) {
      $0 + ($1.attributes?.ethernet?.minTransmitBitsPerSecond ?? 0)
    }
    if asked?.minTransmitBitsPerSecond != nil, rate > node.capacity?.bitsPerSecond ?? 0 { return false }
    guard let total = node.capacity?.sizeBytes, total > 0 else { return true }
    let size = specification.attributes?.block?.sizeBytes ?? total
    guard size < total else { return size == total && present.isEmpty }
    // Byte by byte in units: where one begins that is free as far as it is asked for.
    let taken = isEmpty ? [] : present.compactMap(\.extent)
    return stride(from: 0, through: total - size, by: Int(unit)).contains { offset in
      let place = Extent {
        $0.offsetBytes = offset
        $0.sizeBytes = size
      }
      return !taken.contains { $0.overlaps(place) }
    }
  }
}

@Suite struct BestPlaceTests {
  @Test(arguments: UInt64(1)...200)
  func everyClaimGetsTheBestWayThereIs(seed: UInt64) throws {
    var dice = Dice(state: seed)
    try claimWhatIsBest(in: Self.rack(&dice), seed, &dice) { _, _ in }
  }

  @Test(arguments: UInt64(1)...200)
  func everyClaimThatSaysHowGetsTheBestWayThereIs(seed: UInt64) throws {
    var dice = Dice(state: ~seed)
    var world = Self.rack(&dice)
    for name in ["a", "b", "c"] {
      if let rack = [nil, "r1", "r1", "r2"].randomElement(using: &dice) ?? nil {
        world.hosts[name]?.labels = ["rack": rack]
      }
      for index in world.hosts[name]?.endNodes.indices ?? 0..<0 {
        // The kernel's word for what nobody knows is -1.
        let numa: Int32? = [nil, -1, 0, 1].randomElement(using: &dice) ?? nil
        world.hosts[name]?.endNodes[index].roots[0].numaNode = numa
      }
      world.connect(name)
    }
    try claimWhatIsBest(in: world, seed, &dice, Self.addPlacement)
  }

  @Test(arguments: UInt64(1)...200)
  func everyClaimOfWhatIsCountedGetsTheBestWayThereIs(seed: UInt64) throws {
    var dice = Dice(state: seed &* 3)
    var world = Self.rack(&dice)
    for name in ["a", "b", "c"] {
      world.hosts[name]?.labels = ["rack": ["r1", "r1", "r2"].randomElement(using: &dice) ?? ""]
      for index in world.hosts[name]?.endNodes.indices ?? 0..<0 {
        world.hosts[name]?.endNodes[index].capacity?.hosts = [0, 1, 1, 2].randomElement(using: &dice) ?? 0
        let isCard = world.hosts[name]?.endNodes[index].deviceClass == "ethernet"
        if isCard { world.hosts[name]?.endNodes[index].capacity?.queues = [0, 3].randomElement(using: &dice) ?? 0 }
      }
      world.connect(name)
    }
    try claimWhatIsBest(in: world, seed, &dice, Self.addAmounts)
  }

  private func claimWhatIsBest(
    in world: World, _ seed: UInt64, _ dice: inout Dice, _ change: (inout ClaimSpecification, inout Dice) -> Void
  ) throws {
    var world = world
    for number in 0..<16 {
      var specification = Self.specification(&dice)
      change(&specification, &dice)
      let best = world.bestWay(for: specification)
      let isEverPossible = world.bestWay(for: specification, isEmpty: true) != nil
      let claim = world.create("claim-\(number)", specification)
      world.settle()
      guard claim.refusal == nil else {
        // At once, what can never be; and nothing else.
        #expect(!isEverPossible, "seed \(seed): \(specification): \(claim.refusal?.message ?? "")")
        continue
      }
      let granted = world.claim("claim-\(number)")?.status?.assignment
      #expect(
        granted?.endNode == best?.endNode && granted?.path == best?.path,
        "seed \(seed): \(specification) got \(granted?.endNode ?? "nothing"), best was \(best?.endNode ?? "nothing")")
      if Int.random(in: 0..<3, using: &dice) == 0,
        let name = world.arbiter.listedClaims.randomElement(using: &dice)?.name
      {
        world.delete(name)
        world.settle()
        for claim in world.arbiter.listedClaims where claim.status?.phase == .pending {
          let way = world.bestWay(for: claim.specification ?? ClaimSpecification())
          #expect(way == nil, "seed \(seed): \(claim.name) waits and would fit on \(way?.endNode ?? "")")
        }
      }
    }
  }

  private static func rack(_ dice: inout Dice) -> World {
    var world = World()
    for (number, name) in ["a", "b", "c"].enumerated() {
      var host = FakeHost(name, address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin(), sataPlugin()]
      for index in 0..<Int.random(in: 0..<3, using: &dice) {
        host.endNodes.append(
          card("ethernet/\(name)\(index)", on: "eth\(index)", functions: UInt32.random(in: 1...3, using: &dice)))
      }
      for index in 0..<Int.random(in: 0..<3, using: &dice) {
        let size = UInt64.random(in: 1...5, using: &dice) * unit
        let id = "sata/\(name)\(index)"
        let isVersatile = Bool.random(using: &dice)
        var node = isVersatile ? versatileDisk(id, sizeBytes: size) : disk(id, sizeBytes: size)
        node.roots = [Root { $0.localName = "sd\(index)" }]
        host.endNodes.append(node)
      }
      world.add(host)
    }
    return world
  }

  private static func addAmounts(to specification: inout ClaimSpecification, _ dice: inout Dice) {
    if specification.deviceClass == "ethernet" {
      var ethernet = EthernetAttributes()
      ethernet.queues = [nil, 1, 2, 4].randomElement(using: &dice) ?? nil
      ethernet.minTransmitBitsPerSecond =
        [nil, 3_000_000_000, 6_000_000_000, 11_000_000_000].randomElement(using: &dice) ?? nil
      if ethernet != EthernetAttributes() { specification.attributes = Attributes { $0.ethernet = ethernet } }
    }
    if Bool.random(using: &dice) { addPlacement(to: &specification, &dice) }
    let hosts = ["a", "b", "c"].shuffled(using: &dice)
    switch Int.random(in: 0..<3, using: &dice) {
    case 0: (specification.hosts, specification.host) = (Array(hosts.prefix(2)), "")
    case 1: (specification.hostSelector, specification.host) = (isNot(hosts[0]), "")
    default: break
    }
  }

  private static func addPlacement(to specification: inout ClaimSpecification, _ dice: inout Dice) {
    if Int.random(in: 0..<3, using: &dice) > 0 {
      let isMediatedAlone = specification.allowedPaths == [.mediated]
      let within: [Nearness] = [.unspecified, .unspecified, .rack] + (isMediatedAlone ? [] : [.host, .numaNode])
      specification.locality = Locality {
        $0.within = within.randomElement(using: &dice) ?? .unspecified
        $0.nearest = Bool.random(using: &dice)
        if $0.within == .numaNode || $0.nearest { $0.numaNode = UInt32.random(in: 0...1, using: &dice) }
      }
    }
    specification.placement =
      [nil, Placement { $0.rule = .pack }, Placement { $0.peers = "web" }, Placement { $0.peers = "mail" }]
      .randomElement(using: &dice) ?? nil
  }

  private static func specification(_ dice: inout Dice) -> ClaimSpecification {
    ClaimSpecification {
      $0.deviceClass = Bool.random(using: &dice) ? "ethernet" : "sata"
      $0.host = ["a", "b", "c"].randomElement(using: &dice) ?? "a"
      let paths: [Path] = [.direct, .directSoftware, .mediated]
      $0.allowedPaths = Array(paths.shuffled(using: &dice).prefix(Int.random(in: 0...3, using: &dice)))
      if Int.random(in: 0..<4, using: &dice) == 0 {
        let host = ["a", "b", "c"].randomElement(using: &dice) ?? "a"
        $0.endNode = EndNodeSelector { $0.host = host }
      }
      if $0.deviceClass == "sata", Int.random(in: 0..<4, using: &dice) > 0 {
        let size = UInt64.random(in: 1...3, using: &dice) * unit
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
      }
    }
  }
}
