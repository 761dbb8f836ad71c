import Messages

/// A store that is an older copy may hold what was let go of in the history that was lost. On a multi-root end node the host that had
/// it need not have learned of that: it was cut off, and another root cleaned up in its place. Whoever lies there now, under a
/// higher token, was given the place on proof of that. So it is proven, and nothing there is the former host's to clean.
extension Arbiter {
  /// The function that has been given the place of an entry since.
  private func successor(of entry: WantedFunction) -> String? {
    guard entry.role != .consumer, let assignment = entry.assignment, let token = assignment.token,
      let node = endNodes[assignment.endNode], node.isMultiRoot, let place = place(of: assignment, on: node)
    else { return nil }
    return node.shares.keys.sorted().first { other in
      other != assignment.function && WantedFunction.madeToken(of: other) ?? 0 > token.value
        && node.shares[other]?.extent?.overlaps(place) ?? false
    }
  }

  private func place(of assignment: Assignment, on node: EndNodeState) -> Extent? {
    guard assignment.path == .direct else { return assignment.extent }
    return Extent { $0.sizeBytes = node.sizeBytes }
  }

  /// Why a claim has lost what it had; nil if nobody else has it.
  func overtaken(_ entry: WantedFunction) -> String? {
    successor(of: entry).map { other in
      "the place of \(entry.functionID) was given to \(other) since, in a history that this store does not know"
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
