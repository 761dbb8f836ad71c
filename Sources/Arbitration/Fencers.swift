import Messages

/// Where a host is lost that holds something of a multi-root end node, another root does in its place what the device itself
/// can enforce: it cuts the lost one off, cleans what the function was, and destroys it. Its answer is as good a proof as the
/// host's own. It acts under a token of its own, higher than all before it, so that the device can tell a fencer that comes
/// too late from whoever was given the device since.
extension Arbiter {
  /// Looks at all that a multi-root end node waits for.
  mutating func chooseFencers(at now: Instant) {
    for id in endNodes.multiRoot.sorted() {
      for function in (endNodes[id]?.shares.keys).map(Array.init)?.sorted() ?? [] {
        chooseFencer(of: function, onEndNode: id, at: now)
      }
    }
  }

  private mutating func chooseFencer(of function: String, onEndNode id: String, at now: Instant) {
    guard let victim = released(function), let node = endNodes[id] else { return }
    guard !isOvertaken(victim) else { return concludeFenced(function) }
    let former = fencers[function]
    // One that has lost control of the end node meanwhile is kept out by the device itself.
    let isOver = former.map { isLost($0.host, at: now) || isCutOffFromControl($0, of: node) }
    guard isOver ?? cannotCleanUp(victim, on: node, at: now) else { return }
    // A store that is an older copy does not know whose by now is what would be cleaned.
    let parties = Set([victim.host, former?.host].compactMap { $0 })
    guard silentRoot(of: node, but: parties) == nil else { return }
    let host = possibleFencers(of: victim, on: node, again: former != nil).first
    guard let host, var assignment = victim.assignment else { return }
    if former != nil { dropFencer(of: function) }
    assignment.token = drawToken(of: id)
    assignment.controllingHost = host
    assignment.arrival = nil
    var entry = WantedFunction()
    entry.assignment = assignment
    entry.role = .fencer
    entry.released = true
    note(&entry)
    keepFencer(entry)
    if let claim = claimOfFunction[function] { settle(claim) }
  }

  mutating func keepFencer(_ entry: WantedFunction) {
    fencers[entry.functionID] = entry
    hosts[entry.host]?.fencings.insert(entry.functionID)
  }

  /// What was proven otherwise, or is another one's to do. A host that is there is told all that it is to do anew: what is not
  /// in it is left as it is.
  mutating func dropFencer(of function: String, isDone: Bool = false) {
    guard let entry = fencers.removeValue(forKey: function) else { return }
    hosts[entry.host]?.fencings.remove(function)
    hosts[entry.host]?.reports[entry.recordName] = nil
    changes.save(RecordKey(.wantedFunction, entry.recordName))
    if !isDone, hosts[entry.host]?.session != nil { changes.tellAnew(entry.host) }
  }

  /// The entry of the host that has yet to let go of a function, or to clean up what is left of it on the device.
  private func released(_ function: String) -> WantedFunction? {
    if let name = abandonedWithShare[function] { return abandoned[name] }
    guard let claim = claimOfFunction[function], let entry = claims[claim]?.controlling, entry.released else {
      return nil
    }
    return entry
  }

  private func cannotCleanUp(_ victim: WantedFunction, on node: EndNodeState, at now: Instant) -> Bool {
    isLost(victim.host, at: now) || isCutOffFromControl(victim, of: node) || isOutdoneByControl(victim, of: node)
  }

  /// The device is kept for parts under a higher token than a host had it as a whole, so that host cleans nothing on it.
  private func isOutdoneByControl(_ entry: WantedFunction, of node: EndNodeState) -> Bool {
    node.isMultiRoot && entry.assignment?.path == .direct
      && entry.assignment?.token?.value ?? 0 < node.record.physicalFunction?.controlToken?.value ?? 0
  }

  /// Parts of an end node are fenced by taking control of it, all at once; then only the host that controls it can clean.
  func isCutOffFromControl(_ entry: WantedFunction, of node: EndNodeState) -> Bool {
    node.isMultiRoot && entry.role != .consumer && entry.assignment?.path != .direct
      && entry.host != node.controllingHost
  }

  /// Lost for as long as it may take a host to learn that its lease is over, or dead.
  func isLost(_ host: String, at now: Instant) -> Bool {
    guard let state = hosts[host], !state.isDead else { return true }
    return !state.isConnected && silence(of: state, at: now) != nil
  }

  /// In the order of the roots; the host itself where a fencer has been at work, because it cannot undo that under its own
  /// token.
  private func possibleFencers(of victim: WantedFunction, on node: EndNodeState, again: Bool) -> [String] {
    let isPart = victim.assignment?.path != .direct
    let roots = node.record.roots.map(\.host).filter { !isPart || $0 == node.controllingHost }
    let others = roots.filter { $0 != victim.host }
    return (others + (again ? roots.filter { $0 == victim.host } : [])).filter { isUsable($0, asRootOf: node) }
  }

  // MARK: What a fencer says

  /// Answers the claim that it concerns, if there is one.
  mutating func takeFencer(_ status: FunctionStatus, from host: String) -> String? {
    let function = status.function?.id ?? ""
    // Of a fencer whose part was taken by somebody else nothing is to be learned.
    guard let entry = fencers[function], entry.host == host, entry.recordName == status.recordName else { return nil }
    hosts[host]?.reports[status.recordName] = status
    if proofByFencer(of: function) == .fenced { concludeFenced(function) }
    return claimOfFunction[function]
  }

  /// Of what a claim stands behind, the claim concludes it.
  private mutating func concludeFenced(_ function: String) {
    guard let name = abandonedWithShare[function], var victim = abandoned[name] else { return }
    dropFencer(of: function, isDone: true)
    victim.fenced = true
    note(&victim)
    abandoned[name] = victim
    freeShare(ofAbandoned: function)
  }

  /// Whether a host that was cut off may have the device open still. A device that nobody keeps is everybody's: what that host
  /// writes then would be found by the next one who has it.
  func hasToKeepOthersOut(_ entry: WantedFunction) -> Bool {
    guard let id = entry.assignment?.endNode, endNodes[id]?.isMultiRoot ?? false else { return false }
    return entry.role == .fencer || hasCutOff(from: id, but: entry.host)
  }

  /// Whether a host was cut off from an end node, and has not cleaned up yet.
  func hasCutOff(from id: String, but host: String = "") -> Bool {
    (abandonedOfEndNode[id] ?? []).contains { name in
      abandoned[name].map { $0.fenced && $0.role != .consumer && $0.host != host } ?? false
    }
  }

  func proofByFencer(of function: String) -> Proof? {
    guard let entry = fencers[function], let status = report(of: entry), status.revision >= entry.revision else {
      return nil
    }
    switch status.phase {
    case .absent: return .fenced
    case .scrubbing: return .cut
    default: return nil
    }
  }
}
