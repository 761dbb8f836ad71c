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

  /// What keeps a claim from being set up, because its place on the end node is in use by that.
  func whatIsInTheWay(of state: ClaimState) -> String? {
    guard let assignment = state.assignment, let node = endNodes[assignment.endNode] else { return nil }
    if let other = orphanUnderItsToken(assignment) { return other }
    guard node.isMultiRoot else { return whatTakesRoom(from: assignment, on: node) }
    if let orphan = orphanThatKeeps(state.controlling, from: node) { return orphan }
    let all = Extent { $0.sizeBytes = node.sizeBytes }
    let orphan = node.shares.keys.sorted().first { other in
      guard claimOfFunction[other] == nil, abandonedWithShare[other] == nil, let theirs = node.shares[other]?.extent
      else {
        return false
      }
      return theirs == all || assignment.extent.map(theirs.overlaps) ?? false
    }
    guard let orphan else { return nil }
    let place = node.shares[orphan]?.extent == all ? "all" : "a part"
    return
      "the orphan \(orphan) is \(place) of \(node.record.name), where \(assignment.function) is to lie; see: iov orphan list"
  }

  /// Two histories that were both lost may have given one function to different claims.
  private func orphanUnderItsToken(_ assignment: Assignment) -> String? {
    let host = assignment.controllingHost
    let other = orphans(of: assignment.function, on: host).first {
      $0.role != .consumer && $0.assignment.map { $0.claimUid != assignment.claimUid } ?? false
    }
    return other.map {
      "\(host) has \(assignment.function) for the claim '\($0.assignment?.claim ?? "")' of a history that this store does not know; see: "
        + "iov orphan list"
    }
  }

  /// A disk that several hosts see keeps out whoever comes with a lower token than one of them has it under.
  private func orphanThatKeeps(_ entry: WantedFunction?, from node: EndNodeState) -> String? {
    guard let entry, report(of: entry)?.error?.highestToken != nil else { return nil }
    let others = orphanIndex.hosts.lazy.flatMap { host in
      (self.hosts[host]?.orphans.values.filter { $0.role != .consumer && $0.function?.endNode == node.record.id } ?? [])
        .compactMap(\.function?.id).sorted().map { (host, $0) }
    }
    return others.first.map { host, orphan in
      "\(host) keeps \(node.record.name) from others, for the orphan \(orphan); see: iov orphan list"
    }
  }

  /// What an older copy of the store gives and what was given since are more together than there is. The host sets up what it
  /// has room for.
  private func whatTakesRoom(from assignment: Assignment, on node: EndNodeState) -> String? {
    guard isOverfull(node) else { return nil }
    let others = node.shares.keys.filter {
      $0 != assignment.function && abandonedWithShare[$0] == nil && !Self.isKept($0)
    }
    let words = "\(node.record.name) has no room for \(assignment.function) beside"
    if let orphan = others.filter({ claimOfFunction[$0] == nil }).min() {
      return "\(words) the orphan \(orphan); see: iov orphan list"
    }
    // They were adopted.
    let claims = others.compactMap { claimOfFunction[$0] }.filter { isSetUp($0) }
    guard !claims.isEmpty else { return nil }
    let names = Names.list(claims.map { "'\($0)'" })
    return "\(words) what is set up there for \(names); delete the claim that can be done without"
  }

  private func isOverfull(_ node: EndNodeState) -> Bool {
    let capacity = node.record.capacity ?? Capacity()
    return capacity.functions > 0 && node.shares.count > Int(capacity.functions)
      || capacity.sizeBytes > 0 && node.usedSizeBytes > capacity.sizeBytes
  }

  private func isSetUp(_ claim: String) -> Bool {
    guard let phase = claims[claim]?.controlling.flatMap({ report(of: $0) })?.phase else { return false }
    return phase == .created || phase == .inUse
  }

  /// The claims that may have no room any more beside something that was adopted.
  func claims(besideAdopted function: String, on id: String) -> Set<String> {
    guard let node = endNodes[id], isOverfull(node) else { return [] }
    return Set(node.shares.keys.filter { $0 != function }.compactMap { claimOfFunction[$0] })
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
