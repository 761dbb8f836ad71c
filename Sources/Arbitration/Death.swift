import Messages

/// Attempts to have a host fenced without an operator.
struct Fencing {
  /// The run that was to be fenced last.
  var bootID = ""
  var failures: UInt32 = 0
  /// On the arbiter's monotonic clock; nil while an attempt is under way, or was never made.
  var retryAtMilliseconds: UInt64?
  var failure = ""

  func isDue(_ bootID: String, at now: Instant) -> Bool {
    guard self.bootID == bootID else { return true }
    return retryAtMilliseconds.map { $0 <= now.monotonicMilliseconds } ?? false
  }
}

/// Who is dead: by somebody's word from outside, or by a watchdog that outlives the agent.
extension Arbiter {
  mutating func confirmDead(
    _ request: ConfirmHostDeadRequest, reason: String, isKnownToBeOff: Bool, at now: Instant
  ) throws(Refusal) -> Host {
    let state = try knownHost(request.host)
    let boot = state.record.bootId
    guard request.bootId.isEmpty || request.bootId == boot else {
      throw Refusal(
        .failedPrecondition,
        "the run \(Names.shown(request.bootId)) of host '\(request.host)' was to be confirmed dead, and the last one "
          + "known is \(boot): that one may be alive")
    }
    if state.isDead { return state.record }
    guard !state.isConnected else {
      throw Refusal(
        .failedPrecondition,
        "host '\(request.host)' is connected and its lease is good, so it is alive; if it was switched off just now, "
          + "ask again once the lease has run out, in \(settings.leaseTermMilliseconds) ms at the latest")
    }
    // An agent that has ended, and one that a coordinator has yet to hear of after its start, may be back in a moment.
    let lease = leaseEnd(of: state, at: now)
    guard isKnownToBeOff || now.monotonicMilliseconds >= lease else {
      throw Refusal(
        .failedPrecondition,
        "host '\(request.host)' is disconnected, and its lease may be good for \(lease - now.monotonicMilliseconds) ms more: what it has "
          + "may be in use; if it is off, ask again then")
    }
    declareDead(request.host, reason: reason, at: now)
    return hosts[request.host]?.record ?? state.record
  }

  func knownHost(_ name: String) throws(Refusal) -> HostState {
    guard let state = hosts[name] else {
      throw Refusal(
        .notFound,
        "there is no host '\(Names.shown(name))'" + Names.suggestion(for: name, among: Array(hosts.names), of: "hosts"))
    }
    return state
  }

  private mutating func declareDead(_ name: String, reason: String, at now: Instant) {
    guard var state = hosts[name] else { return }
    // Of a machine that is gone the stream may stay open for long; whatever still comes by it is of the dead run.
    let end = Refusal(.aborted, "host '\(name)' was taken for dead (\(reason)); begin another session")
    if let session = state.session {
      hostOfSession[session] = nil
      changes.messages.append(.endSession(session, end))
    }
    endGreeted(of: name, end)
    var death = HostDeath()
    death.bootId = state.record.bootId
    death.reason = reason
    death.at = now.timestamp
    state.record.death = death
    state.record.state = .dead
    state.record.lease = nil
    state.session = nil
    state.reports = [:]
    state.hasReportedFunctions = false
    state.fencing = Fencing()
    hosts[name] = state
    changes.save(RecordKey(.host, name))
    // Claims that it serves to others too: those have an entry here as well.
    settle(state.claims)
    settleSources(on: name)
    for id in endNodes.ids(atHost: name) where endNodes[id]?.controllingHost == name { moveControl(of: id) }
    // What waited for its word.
    changes.openings.endNodes.formUnion(
      endNodes.ids(atHost: name).filter { endNodes[$0].map { $0.isMultiRoot && $0.record.isRoot(name) } ?? false })
    changes.openings.isOtherwise = true
  }

  // MARK: What silence means

  /// Silence alone is no proof. It is one where the host had reported a watchdog that resets it; and where its operator
  /// allows it, silence is the reason to make sure.
  mutating func concludeFromSilence(at now: Instant) {
    for name in hosts.names(where: { !$0.isConnected && !$0.isDead && silence(of: $0, at: now) != nil }) {
      guard let state = hosts[name], let silence = silence(of: state, at: now) else { continue }
      // Of a run of the coordinator before this one it is not known whether the watchdog was disarmed since the record
      // was written: the store may be an older copy.
      if state.hasObeyedThisRun, state.record.watchdogMilliseconds > 0,
        silence >= UInt64(state.record.watchdogMilliseconds)
      {
        declareDead(name, reason: "reset by its watchdog", at: now)
      } else if settings.automaticFenceHosts.contains(name), state.fencing.isDue(state.record.bootId, at: now),
        isProofAwaited(from: name)
      {
        fence(name, bootID: state.record.bootId)
      }
    }
  }

  /// How long ago the host's lease and the margin ran out; nil if they have not.
  func silence(of state: HostState, at now: Instant) -> UInt64? {
    let end = leaseEnd(of: state, at: now) + UInt64(settings.fenceMarginMilliseconds)
    return now.monotonicMilliseconds >= end ? now.monotonicMilliseconds - end : nil
  }

  /// On the coordinator's clock.
  private func leaseEnd(of state: HostState, at now: Instant) -> UInt64 {
    guard !state.hasObeyedThisRun else { return state.leaseEndsAtMilliseconds }
    // A host that this run has not seen may have a lease of the run before.
    return (began ?? now).monotonicMilliseconds + UInt64(settings.leaseTermMilliseconds)
  }

  private func isProofAwaited(from host: String) -> Bool {
    (hosts[host]?.claims ?? NameSet()).contains { name in
      guard let state = claims[name] else { return false }
      return [state.controlling, state.consumer].contains { entry in
        guard let entry, entry.host == host, entry.released, fencers[entry.functionID] == nil else { return false }
        return proof(of: entry) == nil
      }
    }
  }

  private mutating func fence(_ host: String, bootID: String) {
    if hosts[host]?.fencing.bootID != bootID { hosts[host]?.fencing = Fencing(bootID: bootID) }
    hosts[host]?.fencing.retryAtMilliseconds = nil
    changes.fences.append(.fenceHost(host: host, bootID: bootID))
  }

  mutating func noteFailedFence(of host: String, _ bootID: String, _ message: String, at now: Instant) {
    // Of an earlier run: the host has come back meanwhile.
    guard let state = hosts[host], state.fencing.bootID == bootID else { return }
    let failures = state.fencing.failures + 1
    // 10 s, 20 s, … up to about ten minutes: a power switch that is away is not to be flooded.
    let delay = UInt64(10_000) << UInt64(min(failures - 1, 6))
    hosts[host]?.fencing.failures = failures
    hosts[host]?.fencing.failure = message
    hosts[host]?.fencing.retryAtMilliseconds = now.monotonicMilliseconds + delay
    settle(state.claims)
  }

  // MARK: Hosts that are to look anew

  mutating func rescan(_ request: RescanHostRequest) throws(Refusal) -> Host {
    let state = try knownHost(request.host)
    guard let session = state.session else {
      throw Refusal(.failedPrecondition, "host '\(request.host)' is disconnected; it looks anew when it comes back")
    }
    changes.messages.append(.send(session, CoordinatorMessage { $0.kind = .rescan(Rescan()) }))
    return state.record
  }

  // MARK: Hosts that will not come back

  mutating func forgetHost(_ request: ForgetHostRequest) throws(Refusal) -> Host {
    let name = request.host
    let state = try knownHost(name)
    guard state.isDead else {
      throw Refusal(
        .failedPrecondition,
        "host '\(name)' is not known to be dead; if it is off for good: iov host confirm-dead \(name)")
    }
    let concerned = claims.values.filter { $0.host == name }.map(\.claim.name) + state.claims
    guard concerned.isEmpty else {
      throw Refusal(
        .failedPrecondition,
        "claims are for host '\(name)' or held by it: \(Names.list(Set(concerned))); delete them first")
    }
    try checkNothingIsToBeCleaned(of: state)
    for function in state.fencings.sorted() { dropFencer(of: function) }
    for recordName in state.abandoned.sorted() { dropAbandoned(recordName) }
    for recordName in state.orphans.keys.sorted() { dropOrphan(recordName, on: name) }
    hosts[name] = nil
    changes.save(RecordKey(.host, name))
    // Its end nodes are shown no more. Their token counters are kept: a disk that comes back in another host goes on
    // there.
    for id in endNodes.ids {
      endNodes[id]?.conflicting[name] = nil
      dropRoot(name, of: id)
      moveControl(of: id)
      if endNodes[id]?.controllingHost == name { forgetServedEndNode(id) }
    }
    changes.openings.isOtherwise = true
    return state.record
  }

  /// What it left on a device that others see is not given on uncleaned. A device of its own is gone with it.
  private func checkNothingIsToBeCleaned(of state: HostState) throws(Refusal) {
    for name in state.abandoned.sorted() {
      guard let entry = abandoned[name], abandonedWithShare[entry.functionID] == name,
        let node = entry.assignment.flatMap({ endNodes[$0.endNode] }), node.isMultiRoot,
        node.record.roots.contains(where: { $0.host != state.record.name })
      else { continue }
      throw Refusal(
        .failedPrecondition,
        "what host '\(state.record.name)' had of \(node.record.name) has yet to be cleaned by another root of it: "
          + (fencers[entry.functionID].map { "\($0.host) is at it" } ?? "none is there"))
    }
  }
}
