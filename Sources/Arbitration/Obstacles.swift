import Messages

/// All that keeps a claim from an end node, where placement is content with the first thing.
extension Arbiter {
  /// All that is in the way on an end node, each filter once, in the order in which they are tried; nothing if it is possible. The
  /// first one is what `candidate` says.
  func obstacles(of node: EndNodeState, for specification: ClaimSpecification) -> [Drop] {
    var drops: [Drop] = []
    func take(_ check: () throws(Drop) -> Void) {
      do throws(Drop) { try check() } catch {
        let filter = error.filter
        if !drops.contains(where: { $0.filter == filter }) { drops.append(error) }
      }
    }
    take { () throws(Drop) in try checkSelection(of: node, by: specification) }
    take { () throws(Drop) in try checkData(of: node, for: specification) }
    take { () throws(Drop) in try checkPaths(of: node, for: specification) }
    // Where no path does, each of them is said to be closed for the same reason.
    let hasPath = drops.allSatisfy { $0.filter == .selector }
    take { () throws(Drop) in try checkCapacity(of: node, for: specification) }
    take { () throws(Drop) in try checkMTU(of: node, for: specification) }
    take { () throws(Drop) in try checkKeptAway(from: node, for: specification) }
    take { () throws(Drop) in try checkHealth(of: node) }
    take { () throws(Drop) in _ = try usingHost(of: specification) }
    if let host = hosts[specification.host], host.isConnected {
      take { () throws(Drop) in try checkKeptAway(from: host, for: specification) }
    }
    take { () throws(Drop) in try checkNames(of: specification) }
    if let host = hosts[specification.host] {
      take { () throws(Drop) in try checkFailures(on: host, of: node, for: specification) }
    }
    if !node.isMultiRoot {
      take { () throws(Drop) in try checkControl(of: node) }
      take { () throws(Drop) in try checkKeptAway(fromControllerOf: node, for: specification) }
    }
    take { () throws(Drop) in try checkRootsAreHeard(node) }
    take { () throws(Drop) in try checkClock(node) }
    var path: Path?
    if hasPath, let host = hosts[specification.host] {
      let controller = hosts[node.controllingHost]
      take { () throws(Drop) in
        path = try bestRoute(from: node, of: controller, to: host, for: specification).0.path
      }
    }
    take { () throws(Drop) in try checkRoom(in: node, for: specification) }
    if let path { take { () throws(Drop) in try checkKept(in: node, for: specification, by: path) } }
    return drops
  }

  /// The same where the claim may be used on several hosts: on the one on which the least is in the way.
  func obstacles(
    of node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) -> (host: String, drops: [Drop]) {
    guard specification.isForSeveralHosts else { return (specification.host, obstacles(of: node, for: specification)) }
    var least: (host: String, drops: [Drop])?
    for host in hostsToTry(from: node, for: specification, on: choice) {
      let drops = obstacles(of: node, for: specification.used(on: host))
      if least.map({ drops.count < $0.drops.count }) ?? true { least = (host, drops) }
    }
    if let least { return least }
    let drops = obstacles(of: node, for: specification)
    return ("", drops.map { $0.filter == .host ? Drop(.host, choice.absence) : $0 })
  }

  /// What would have to change for a filter to let an end node pass; empty where its message says so.
  func remedy(for drop: Drop, of node: EndNodeState, for specification: ClaimSpecification, on host: String) -> String {
    let name = node.record.name
    switch drop.filter {
    case .selector: return "select otherwise, or change the labels of \(name)"
    case .source: return "see: iov claim explain \(specification.source)"
    case .attributes, .consumer: return otherPaths(to: node, for: specification, on: host) ?? ""
    case .capacity, .mtu:
      return otherPaths(to: node, for: specification, on: host) ?? "ask for less, or for another end node"
    case .cordon: return "uncordon it: iov endnode uncordon, iov host uncordon"
    case .taint: return "tolerate it: iov claim create --tolerate"
    case .health: return "mend it: iov endnode describe \(name)"
    case .host:
      guard let state = hosts[host], !state.isConnected else { return "" }
      return "the agent of \(host) has to connect: iov host describe \(host)"
    case .controllingHost where node.record.isMakingFunctions && isUnderControl(node):
      return "see: iov endnode describe \(name)"
    case .controllingHost:
      return "\(node.controllingHost) has to connect and to report: iov host describe \(node.controllingHost)"
    case .roots, .plugin: return ""
    case .locality:
      return otherPaths(to: node, for: specification, on: host)
        ?? "ask for less nearness, or label hosts with their rack"
    case .path: return otherPaths(to: node, for: specification, on: host) ?? ""
    case .functions, .hosts, .size, .rate: return whoHasToLetGo(of: node)
    case .priority: return "ask with a higher priority, or wait until they have it"
    default: return ""
    }
  }

  /// Paths that the claim does not allow, and that would do.
  private func otherPaths(to node: EndNodeState, for specification: ClaimSpecification, on host: String) -> String? {
    var other = specification.used(on: host)
    let closed = [Path.direct, .directSoftware, .mediated].filter { !specification.paths.contains($0) }
    let open = closed.filter { path in
      other.allowedPaths = [path]
      return obstacles(of: node, for: other).allSatisfy { $0.filter.isOfUse }
    }
    guard !open.isEmpty else { return nil }
    return "allow the path \(open.map(\.word).joined(separator: " or "))"
  }

  private func whoHasToLetGo(of node: EndNodeState) -> String {
    guard !node.shares.isEmpty else { return "" }
    let holders = node.shares.keys.compactMap { claimOfFunction[$0] }
    guard !holders.isEmpty || node.shares.keys.contains(where: Self.isKept) else {
      return "what is left of former claims has to be cleaned, or purged: iov orphan list"
    }
    guard !holders.isEmpty else { return "a claim that is moved to a better path has to be there" }
    return "one who has a part of it has to let go: \(Names.list(holders))"
  }
}
