import Messages

/// What is shown of a drain: what is in use yet, and why.
extension Arbiter {
  func shown(_ state: EndNodeState) -> EndNode {
    var node = state.shown
    if let drain = node.cordon?.drain {
      let remaining = remainder(of: drain, at: .endNode(node.id))
      node.cordon?.drain?.remaining = remaining
    }
    return node
  }

  func shown(_ state: HostState) -> Host {
    var host = state.record
    if let drain = host.cordon?.drain {
      let remaining = remainder(of: drain, at: .host(host.name))
      host.cordon?.drain?.remaining = remaining
    }
    return host
  }

  private func remainder(of drain: Drain, at target: Maintained) -> [DrainRemainder] {
    let claimed = claims(at: target).compactMap { claims[$0] }.map { remainder(of: $0, of: drain, at: target) }
    let known = Set(claimed.map(\.function))
    let (orphans, cleaned) = functionsOfNoClaim(at: target)
    let others = orphans.union(cleaned).subtracting(known).sorted().map { function in
      DrainRemainder {
        $0.function = function
        $0.stays = !cleaned.contains(function)
        $0.why = $0.stays ? "it is an orphan: iov orphan adopt, or iov orphan purge" : "it is being cleaned"
      }
    }
    return claimed + others
  }

  private func remainder(of state: ClaimState, of drain: Drain, at target: Maintained) -> DrainRemainder {
    var remainder = DrainRemainder()
    remainder.claim = state.claim.name
    remainder.function = state.assignment?.function ?? ""
    switch fate(of: state, at: target, drain) {
    case .isGoing(let why), .isLeft(let why): remainder.why = why
    case .leaves: remainder.why = "its turn has yet to come"
    case .leavesWhereItFits:
      let isForEver = drain.remainingMilliseconds == nil
      remainder.why =
        isForEver ? "it fits nowhere else, and there is no deadline" : "it fits nowhere else before the deadline"
    case .stays(let why): (remainder.why, remainder.stays) = (why, true)
    }
    return remainder
  }

  /// Functions that are there, or may be: orphans, and what was released and has yet to be cleaned.
  private func functionsOfNoClaim(at target: Maintained) -> (orphans: Set<String>, cleaned: Set<String>) {
    switch target {
    case .endNode(let id):
      let unclaimed =
        (endNodes[id]?.shares.keys).map { $0.filter { claimOfFunction[$0] == nil && !Self.isKept($0) } } ?? []
      let cleaned = Set(unclaimed.filter { abandonedWithShare[$0] != nil })
      return (Set(unclaimed).subtracting(cleaned), cleaned)
    case .host(let name):
      guard let host = hosts[name] else { return ([], []) }
      let cleaned = Set(host.abandoned.compactMap { abandoned[$0]?.functionID })
      return (Set(host.orphans.values.compactMap { $0.function?.id }).subtracting(cleaned), cleaned)
    }
  }
}
