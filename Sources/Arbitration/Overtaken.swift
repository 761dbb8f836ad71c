import Messages

/// A store that is an older copy may hold what was let go of in the history that was lost. On a multi-root end node the host that had
/// it need not have learned of that: it was cut off, and another root cleaned up in its place. Whoever lies there now, under a
/// higher token, was given the place on proof of that. So it is proven, and nothing there is the former host's to clean.
extension Arbiter {
  /// The function that has been given the place of an entry since.
  private func successor(of entry: WantedFunction) -> String? {
    guard entry.role != .consumer, let assignment = entry.assignment, let token = assignment.token,
      let node = endNodes[assignment.endNode], node.isMultiRoot
    else { return nil }
    let all = Extent { $0.sizeBytes = node.sizeBytes }
    let place = assignment.path == .direct ? all : assignment.extent ?? reportedExtent(of: entry)
    return node.shares.keys.sorted().first { other in
      guard other != assignment.function, WantedFunction.madeToken(of: other) ?? 0 > token.value,
        let theirs = extent(of: other, on: node)
      else { return false }
      return place.map(theirs.overlaps) ?? (theirs == all)
    }
  }

  /// Where a function lies, if its host has said so, also where that cannot be.
  private func extent(of function: String, on node: EndNodeState) -> Extent? {
    node.shares[function]?.extent
      ?? claimOfFunction[function].flatMap { claims[$0]?.controlling }.flatMap { reportedExtent(of: $0) }
  }

  /// Why a claim has lost what it had; nil if nobody else has it.
  func overtaken(_ entry: WantedFunction) -> String? {
    successor(of: entry).map { other in
      "the place of \(entry.functionID) was given to \(other) since, in a history that this store does not know"
    }
  }

  /// The orphan that keeps a claim from being set up, because all of its end node is in use by that one.
  func orphanInTheWay(of state: ClaimState) -> String? {
    guard let assignment = state.assignment, let node = endNodes[assignment.endNode] else { return nil }
    guard node.isMultiRoot else { return orphanThatTakesRoom(from: assignment, on: node) }
    let all = Extent { $0.sizeBytes = node.sizeBytes }
    let whole = node.shares.keys.sorted().first { other in
      claimOfFunction[other] == nil && abandonedWithShare[other] == nil && node.shares[other]?.extent == all
    }
    guard let whole else { return nil }
    return
      "the orphan \(whole) is all of \(node.record.name), where \(assignment.function) is to lie; see: iov orphan list"
  }

  /// What an older copy of the store gives and what was given since are more together than there is. The host sets up what it
  /// has room for.
  private func orphanThatTakesRoom(from assignment: Assignment, on node: EndNodeState) -> String? {
    let capacity = node.record.capacity ?? Capacity()
    let hasTooMany = capacity.functions > 0 && node.shares.count > Int(capacity.functions)
    let isTooFull = capacity.sizeBytes > 0 && node.usedSizeBytes > capacity.sizeBytes
    guard hasTooMany || isTooFull else { return nil }
    let isOrphan = { (id: String) in claimOfFunction[id] == nil && abandonedWithShare[id] == nil }
    return node.shares.keys.filter(isOrphan).min().map { orphan in
      "\(node.record.name) has no room for \(assignment.function) beside the orphan \(orphan); see: iov orphan list"
    }
  }

  func isOvertaken(_ entry: WantedFunction) -> Bool { successor(of: entry) != nil }

  /// The claims that something which was found on an end node may have overtaken.
  func claims(besideOrphan status: FunctionStatus) -> Set<String> {
    guard status.role != .consumer, let node = endNodes[status.function?.endNode ?? ""], node.isMultiRoot else {
      return []
    }
    return Set(node.shares.keys.compactMap { claimOfFunction[$0] })
  }
}
