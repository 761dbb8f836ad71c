import Messages

extension Arbiter {
  /// Why a claim waits: what is in the way on the end nodes that it could choose, or on some of very many.
  func reasons(of specification: ClaimSpecification) -> [PendingReason] {
    if let drop = obstacle(ofSourceOf: specification) { return pendingReasons([drop], for: specification) }
    let choice = choice(for: specification, atMost: Self.mostExplained)
    let all = candidates(for: specification)
    var ids = Array(all.prefix(Self.mostExplained))
    if all.count > ids.count {
      // What it names, or its hosts have, comes first.
      let own = fewCandidates(for: specification).map(Array.init) ?? self.ids(atHostsOf: choice)
      let first = own.prefix(Self.mostExplained / 2).filter { isCandidate($0, for: specification) }
      ids = first + ids.filter { !first.contains($0) }.prefix(Self.mostExplained - first.count)
    }
    var drops: [Drop] = []
    for node in ids.compactMap({ endNodes[$0] }) {
      do throws(Drop) { _ = try candidate(node, for: specification, on: choice) } catch { drops.append(error) }
    }
    let reasons = pendingReasons(drops, for: specification)
    return all.count > ids.count ? reasons + [.furtherEndNodes(all.count - ids.count)] : reasons
  }

  /// So many end nodes, and hosts, are looked at for why a claim waits. What it takes must not grow with the cluster.
  static var mostExplained: Int { 256 }

  /// What each filter dropped, with the words of the first three.
  func pendingReasons(_ drops: [Drop], for specification: ClaimSpecification) -> [PendingReason] {
    guard !drops.isEmpty else {
      return [
        Self.reason(.deviceClass, dropped: endNodes.count, "no end node is of class \(specification.deviceClass)")
      ]
    }
    return Filter.allCases.compactMap { filter in
      let dropped = drops.filter { $0.filter == filter }
      guard !dropped.isEmpty else { return nil }
      // Where one host is away, every end node is dropped with the same words.
      var seen: Set<String> = []
      let messages = dropped.map(\.message).filter { seen.insert($0).inserted }
      let more = messages.count > 3 ? "; and \(messages.count - 3) more" : ""
      return Self.reason(filter, dropped: dropped.count, messages.prefix(3).joined(separator: "; ") + more)
    }
  }

  fileprivate static func reason(_ filter: Filter, dropped: Int, _ message: String) -> PendingReason {
    var reason = PendingReason()
    reason.filter = filter.name
    reason.dropped = UInt32(clamping: dropped)
    reason.message = message
    return reason
  }
}

extension PendingReason {
  fileprivate static func furtherEndNodes(_ count: Int) -> PendingReason {
    PendingReason {
      $0.filter = "further"
      $0.dropped = UInt32(clamping: count)
      $0.message = "\(count) further end nodes were not looked at for this; iov claim explain looks at all"
    }
  }
}
