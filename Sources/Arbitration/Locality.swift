import Messages

/// How near a function is to where it is used.
///
/// A rack is known by the label "rack" of hosts. Where one of two hosts has none, nobody knows that they stand together, and so
/// they do not; likewise of the NUMA node that an end node is plugged in at.
extension Arbiter {
  static var rackLabel: String { "rack" }

  func nearness(
    of node: EndNodeState, by path: Path, to host: HostState, for specification: ClaimSpecification
  ) -> Nearness {
    guard path != .mediated else {
      let rack = rack(of: node)
      return !rack.isEmpty && rack == host.rack ? .rack : .elsewhere
    }
    guard let wanted = specification.locality?.numaNode, let known = node.numaNode(on: host.record.name) else {
      return .host
    }
    return known == wanted ? .numaNode : .host
  }

  /// Empty: nobody knows.
  func rack(of node: EndNodeState) -> String { hosts[node.controllingHost]?.rack ?? "" }

  func checkLocality(
    of node: EndNodeState, by path: Path, to host: HostState, for specification: ClaimSpecification
  ) throws(Drop) {
    guard let locality = specification.locality, locality.within != .unspecified else { return }
    let found = nearness(of: node, by: path, to: host, for: specification)
    guard found.rawValue > locality.within.rawValue else { return }
    throw Drop(.locality, words(for: locality, of: node, by: path, to: host))
  }

  private func words(for locality: Locality, of node: EndNodeState, by path: Path, to host: HostState) -> String {
    let (name, user) = (node.record.name, host.record.name)
    let (server, rack) = (node.controllingHost, rack(of: node))
    switch locality.within {
    case .numaNode where path != .mediated:
      let asked = locality.numaNode ?? 0
      guard let numa = node.numaNode(on: user) else {
        return "NUMA node \(asked) of \(user) is asked for, and nobody knows at which one \(name) is plugged in"
      }
      return "NUMA node \(asked) of \(user) is asked for, and \(name) is plugged in at \(numa)"
    case .numaNode, .host:
      return "\(name) is served by \(server) on the path \(path.word), and one of \(user) itself is asked for"
    default:
      let silent = [(server, rack), (user, host.rack)].filter { $0.1.isEmpty }.map(\.0)
      guard silent.isEmpty else {
        return
          "one of the rack of \(user) is asked for, and nobody knows whether \(server), which serves \(name), is in it: "
          + "\(Names.list(Set(silent))) \(Set(silent).count == 1 ? "has" : "have") no label \(Self.rackLabel)"
      }
      return
        "one of the rack of \(user), \(host.rack), is asked for, and \(server), which serves \(name), is in \(rack)"
    }
  }

  func validateLocality(_ specification: ClaimSpecification) throws(Refusal) {
    guard let locality = specification.locality else { return }
    let known: [Nearness] = [.unspecified, .numaNode, .host, .rack, .elsewhere]
    guard known.contains(locality.within) else {
      throw Refusal(
        .invalidArgument,
        "the locality number \(locality.within.rawValue) is not known; known ones: NUMA_NODE, HOST, RACK")
    }
    guard locality.within != .numaNode || locality.numaNode != nil else {
      throw Refusal(.invalidArgument, "the same NUMA node is asked for, and the claim does not say which one that is")
    }
    guard locality.within == .numaNode || locality.nearest || locality.numaNode == nil else {
      throw Refusal(
        .invalidArgument,
        "the claim names a NUMA node and does not say what for: ask for it with the locality NUMA_NODE, or for the nearest"
      )
    }
    guard locality.within == .numaNode || locality.within == .host, specification.paths == [.mediated] else { return }
    throw Refusal(
      .invalidArgument,
      "what is mediated is served by another host, and a function of the claim's own host is asked for: allow another path, or the "
        + "locality RACK")
  }

  /// The racks in which a claim may be used, in order.
  func racks(of choice: HostChoice) -> [String] {
    if choice.hosts.count == 1 { return [hosts[choice.hosts[0]]?.rack ?? ""].filter { !$0.isEmpty } }
    return Set(choice.hosts.compactMap { hosts[$0]?.rack }).subtracting([""]).sorted()
  }
}

extension ClaimSpecification {
  /// Whether of the ways by one path the nearest ones come first.
  var prefersNearest: Bool { locality?.nearest ?? false }

  mutating func normalizeLocality() {
    // Nothing is further.
    if locality?.within == .elsewhere { locality?.within = .unspecified }
    if locality == Locality() { locality = nil }
  }
}

extension HostState {
  /// Empty: nobody knows.
  var rack: String { record.labels[Arbiter.rackLabel] ?? "" }
}

extension EndNodeState {
  /// Nil: nobody knows. Kernels say -1 for that.
  fileprivate func numaNode(on host: String) -> UInt32? {
    record.roots.first { $0.host == host }?.numaNode.flatMap { UInt32(exactly: $0) }
  }
}

extension Nearness {
  /// What follows "it is ".
  var words: String {
    switch self {
    case .numaNode: "at the NUMA node"
    case .host: "of the host itself"
    case .rack: "in the rack"
    default: "elsewhere"
    }
  }
}
