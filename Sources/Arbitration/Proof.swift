import Messages

/// How it is known that a host cannot use the function of a released entry any more. A refusal, a missing report and
/// the end of a lease are no proof.
enum Proof {
  /// The host answered the release, under its token, that the function is not there: nothing of it is left.
  case absent
  /// It answered that nobody can reach the function, and is still cleaning it.
  case cut
  /// Another root has cut the host off at the device, cleaned what it had there, and destroyed it, or must have done so. What is
  /// left is on the host itself.
  case fenced
  /// The run of the host that held it is over. What it left on the device has yet to be cleaned.
  case runEnded
}

extension Arbiter {
  func proof(of entry: WantedFunction) -> Proof? {
    guard entry.released, let host = hosts[entry.host] else { return nil }
    // An answer to an earlier revision was given by an agent that had not yet heard of the release: it may say "absent"
    // and set the function up a moment later.
    let said = report(of: entry).flatMap { $0.revision >= entry.revision ? $0.phase : nil }
    if said == .absent { return .absent }
    if isOvertaken(entry) { return .fenced }
    if entry.role != .consumer, let assignment = entry.assignment, isCutWithItsSource(assignment) { return .fenced }
    let byFencer = entry.role == .consumer ? nil : proofByFencer(of: entry.functionID)
    if byFencer == .fenced { return .fenced }
    if said == .scrubbing { return .cut }
    // Whoever controls the end node now has cut it off at the device.
    let isCutOff = entry.assignment.flatMap { endNodes[$0.endNode] }.map { isCutOffFromControl(entry, of: $0) } ?? false
    if host.isDead { return .runEnded }
    // Only the run that was last told of it unreleased can hold it, and another one has come since.
    return entry.bootId.isEmpty || entry.bootId == host.record.bootId ? (isCutOff ? .cut : byFencer) : .runEnded
  }

  /// A host's entry of the claim is proven: gone, or left to the host to clean up. Nil while it is neither.
  mutating func concluded(_ entry: WantedFunction, of state: ClaimState) -> Bool {
    switch proof(of: entry) {
    case .absent: drop(entry, of: state)
    case .fenced: abandon(entry, of: state, isFenced: true)
    case .runEnded: abandon(entry, of: state)
    case .cut, nil: return false
    }
    return true
  }

  mutating func drop(_ entry: WantedFunction, of state: ClaimState, because proof: String? = nil) {
    changes.save(RecordKey(.wantedFunction, entry.recordName))
    detach(entry, from: state)
    noteEnded(entry, of: state, proof ?? "\(entry.host) has let go of it")
    guard entry.role != .consumer, let assignment = entry.assignment else { return }
    dropFencer(of: assignment.function)
    // The place on the end node is free, also while the consumer's host has yet to clean up.
    freeShare(of: assignment)
  }

  mutating func abandon(_ entry: WantedFunction, of state: ClaimState, isFenced: Bool = false) {
    detach(entry, from: state)
    noteEnded(
      entry, of: state, isFenced ? "\(entry.host) is cut off from it" : "the run of \(entry.host) that had it is over")
    var entry = entry
    entry.abandoned = true
    entry.fenced = isFenced
    note(&entry)
    keepAbandoned(entry)
    guard isFenced, let assignment = entry.assignment else { return }
    dropFencer(of: assignment.function, isDone: true)
    freeShare(of: assignment)
  }

  private mutating func detach(_ entry: WantedFunction, from state: ClaimState) {
    hosts[entry.host]?.claims.remove(state.claim.name)
    hosts[entry.host]?.reports[entry.recordName] = nil
  }

  // MARK: What no claim stands behind any more

  /// A released entry that outlives its claim. On the controlling side it keeps its share of the end node: the device
  /// has not been cleaned, unless another root has done that. On the consumer's side it takes nothing: names and networks died with the run that had them.
  mutating func keepAbandoned(_ entry: WantedFunction) {
    abandoned[entry.recordName] = entry
    hosts[entry.host]?.abandoned.insert(entry.recordName)
    if let id = entry.assignment?.endNode { abandonedOfEndNode[id, default: []].insert(entry.recordName) }
    guard entry.role != .consumer, !entry.fenced, let assignment = entry.assignment else { return }
    takeShare(of: assignment)
    abandonedWithShare[assignment.function] = entry.recordName
  }

  /// The device has been cleaned.
  mutating func freeShare(ofAbandoned function: String) {
    guard let name = abandonedWithShare.removeValue(forKey: function), let assignment = abandoned[name]?.assignment
    else {
      return
    }
    freeShare(of: assignment)
  }

  mutating func dropAbandoned(_ recordName: String) {
    guard let entry = abandoned[recordName] else { return }
    if abandonedWithShare[entry.functionID] == recordName {
      leaveParts(of: entry.functionID)
      freeShare(ofAbandoned: entry.functionID)
      dropFencer(of: entry.functionID)
    }
    abandoned[recordName] = nil
    if let id = entry.assignment?.endNode {
      abandonedOfEndNode[id]?.remove(recordName)
      if abandonedOfEndNode[id]?.isEmpty ?? false { abandonedOfEndNode[id] = nil }
    }
    hosts[entry.host]?.abandoned.remove(recordName)
    changes.save(RecordKey(.wantedFunction, recordName))
    // Where another root had cleaned it, the entry had no share any more.
    if isNobodys(entry.functionID) { leaveParts(of: entry.functionID) }
    if entry.fenced, let id = entry.assignment?.endNode { noteIfUnused(id) }
  }

  /// After a restart an entry that was released in this run may, if the store is an older copy, have been told
  /// unreleased to a later run of its host than the store knows. So the run that the host first comes with may hold it.
  mutating func distrustRuns(before bootID: String, on host: String) {
    for name in (hosts[host]?.claims ?? NameSet()).sorted() {
      guard var state = claims[name] else { continue }
      state.controlling = attributed(state.controlling, to: bootID, on: host)
      state.consumer = attributed(state.consumer, to: bootID, on: host)
      claims[name] = state
    }
  }

  private mutating func attributed(_ entry: WantedFunction?, to bootID: String, on host: String) -> WantedFunction? {
    guard var entry, entry.host == host, entry.revision > firstRevision, entry.bootId != bootID else { return entry }
    entry.bootId = bootID
    changes.save(RecordKey(.wantedFunction, entry.recordName))
    return entry
  }
}
