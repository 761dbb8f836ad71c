import Messages

/// What a host's reports say of one entry.
private enum Use {
  case inUse(FunctionStatus)
  case notInUse(FunctionStatus?)
  /// The host has not said what it has since this arbiter, or the host, began.
  case unknown

  var status: FunctionStatus? {
    switch self {
    case .inUse(let status): status
    case .notInUse(let status): status
    case .unknown: nil
    }
  }
}

/// Takes a claim from where its entries and reports are to where they lead. Level-triggered: it may be called at any
/// time and looks at what is, not at what came last.
extension Arbiter {
  mutating func settle(_ name: String) {
    guard let state = claims[name] else { return }
    switch state.phase {
    case .releasing, .reclaiming: settleRelease(state)
    case .preparing, .ready: settleGrant(state)
    case .pending, .unspecified, .unrecognized: return
    }
  }

  mutating func settle(_ names: some Sequence<String>) {
    for name in names.sorted() { settle(name) }
  }

  // MARK: Setting up: the server, then the consumer

  private mutating func settleGrant(_ before: ClaimState) {
    guard before.controlling != nil else { return }
    if let loss = loss(of: before) { return reclaim(before, because: loss) }
    if let conflict = geometryConflict(of: before) { return stop(before, because: conflict) }
    if let (entry, error) = failureForGood(of: before) { return endSetUp(of: before, entry, because: error) }
    stoppedByGeometry.remove(before.claim.name)
    var state = before
    outdoLostControl(over: state)
    attachAnew(&state)
    guard let controlling = state.controlling, var assignment = state.assignment else { return }
    takeExtent(of: &assignment, in: &state)
    connectAnew(&state)
    let controllingUse = use(of: controlling)
    if case .inUse(let status) = controllingUse, assignment.path == .mediated {
      takeServer(status, of: &assignment, in: &state)
    }
    let consumerUse = state.consumer.map { use(of: $0) }
    let uses = assignment.path == .mediated ? [controllingUse, consumerUse ?? .notInUse(nil)] : [controllingUse]

    if let arrival = arrival(controllingUse, consumerUse, assignment.path), arrival != assignment.arrival {
      assignment.arrival = arrival
    }
    var phase = phase(of: uses, before: before.phase)
    let error = lastError(of: state)
    // What is ready waits for nothing, and most of what is settled is.
    var reasons =
      phase == .ready ? [] : sourceReason(of: state).map { [$0] } ?? waitingReasons(of: state, for: "set up")
    if phase == .ready, before.phase != .ready, let mate = unattachedMate(of: state) {
      phase = .preparing
      reasons = [
        .group("it has what it is to have, and waits for '\(mate)' of its group '\(state.specification.group)'")
      ]
    }
    let waiting = reasons + formerAddresses(of: assignment)
    state.withStatus {
      $0.phase = phase
      $0.assignment = assignment
      $0.error = error
      $0.pending = waiting
    }
    takeHealth(of: &state, controllingUse.status, consumerUse?.status)
    if phase == .ready, before.phase != .ready {
      noteInUse(assignment, by: state)
      noteReady(&state)
      if state.hasGroup {
        changes.attachedGroups.insert(state.specification.group)
        forgetFailures(ofGroup: state.specification.group)
      }
    }
    if state.claim != before.claim || state.consumer != before.consumer || state.controlling != before.controlling {
      // Once a new controller has all that was another's, it can be given more.
      if controlling.isMoved { changes.openings.endNodes.insert(assignment.endNode) }
      put(&state)
      // They say that they wait for it, or why they wait by themselves.
      if phase != before.phase { for part in claims(from: state.claim.name) { settle(part.claim.name) } }
    }
  }

  /// What is there stays as it is, and nobody is told of it.
  private mutating func stop(_ before: ClaimState, because conflict: FunctionError) {
    var state = before
    stoppedByGeometry.insert(state.claim.name)
    state.withStatus {
      $0.phase = .preparing
      $0.error = conflict
      $0.pending = []
    }
    if state.claim != before.claim { put(&state) }
  }

  /// The server is there: its port is known, and the consumer may connect.
  private mutating func takeServer(
    _ status: FunctionStatus, of assignment: inout Assignment, in state: inout ClaimState
  ) {
    let needsPort = assignment.mediation?.mediator == "nbd"
    guard !needsPort || status.serverPort != 0 else { return }
    guard formerUse(by: assignment) == nil else { return }
    let isNews = assignment.mediation?.serverPort != status.serverPort
    // What stays as it is is not written: it shares memory with what was told of it before.
    if isNews { assignment.mediation?.serverPort = status.serverPort }
    guard state.consumer == nil || isNews else { return }
    var entry = state.consumer ?? WantedFunction()
    var told = assignment
    if let token = state.consumer?.assignment?.token, token != told.token { told.token = token }
    if told.arrival != nil { told.arrival = nil }
    entry.assignment = told
    entry.role = .consumer
    note(&entry)
    hosts[entry.host]?.claims.insert(state.claim.name)
    state.consumer = entry
  }

  /// What a host had of the function itself, and lets go of before it uses the same by another host.
  private func formerUse(by assignment: Assignment) -> WantedFunction? {
    for name in (hosts[assignment.host]?.abandoned ?? []).sorted() {
      if let entry = abandoned[name], entry.functionID == assignment.function, entry.role != .consumer { return entry }
    }
    return nil
  }

  /// Whether its hosts say that all of it is there.
  func isAttached(_ state: ClaimState) -> Bool {
    guard let controlling = state.controlling, state.phase == .preparing || state.phase == .ready else { return false }
    let entries = [controlling, state.consumer].compactMap { $0 }
    guard entries.count == (state.assignment?.path == .mediated ? 2 : 1) else { return false }
    return entries.allSatisfy { if case .inUse = use(of: $0) { true } else { false } }
  }

  /// A claim that was ready stays so until a host says otherwise: a coordinator that was away changes nothing.
  private func phase(of uses: [Use], before: ClaimPhase) -> ClaimPhase {
    var isComplete = true
    for use in uses {
      switch use {
      case .inUse: continue
      case .notInUse: return .preparing
      case .unknown: isComplete = false
      }
    }
    return isComplete ? .ready : before
  }

  /// What the holder got, in the words of the host that it is on; limits that the other side enforces come from there.
  private func arrival(_ controlling: Use, _ consumer: Use?, _ path: Path) -> Arrival? {
    guard case .inUse(let holder) = consumer ?? controlling, path != .mediated || consumer != nil else { return nil }
    var arrival = holder.arrival ?? Arrival()
    var enforced = arrival.enforced ?? holder.function?.enforced ?? Attributes()
    if path == .mediated, case .inUse(let server) = controlling, let limits = server.function?.enforced {
      enforced.take(limitsOf: limits)
    }
    let limits = enforced.withoutEmptyParts
    if limits != arrival.enforced { arrival.enforced = limits }
    return arrival
  }

  // MARK: Tearing down: cut at the server, proof, then the consumer

  private mutating func settleRelease(_ before: ClaimState) {
    var state = before
    let inTheWay = partsInTheWay(of: state)
    if inTheWay == nil {
      heldUp.remove(state.claim.name)
      releaseControlling(of: &state)
    } else {
      heldUp.insert(state.claim.name)
    }
    if let entry = state.controlling, concluded(entry, of: state) { state.controlling = nil }
    let isCut = state.controlling.map { proof(of: $0) != nil } ?? true
    if isCut { settleParts(of: state) }
    let isKept = isCut && isKeptByConsumer(state)
    if isKept, state.controlling == nil { changes.movers.insert(state.claim.name) }
    if isCut, !isKept, var entry = state.consumer {
      if !entry.released {
        entry.released = true
        note(&entry)
        state.consumer = entry
      }
      if concluded(entry, of: state) { state.consumer = nil }
    }
    guard state.controlling != nil || state.consumer != nil else {
      return state.phase == .reclaiming ? waitAgain(state) : forget(state)
    }
    let error = lastError(of: state)
    let cause = state.claim.status?.pending.filter { PendingReason.causes.contains($0.filter) } ?? []
    let waiting = inTheWay.map { [$0] } ?? waitingReasons(of: state, for: "let go of")
    state.withStatus {
      $0.error = error
      $0.pending = cause + waiting
    }
    // The entries are read again when the effects are made, so they are stored even if the claim reads as before.
    claims[state.claim.name] = state
    if state.claim != before.claim { put(&state) }
  }

  /// The claim holds nothing any more: what it used is free.
  mutating func forget(_ state: ClaimState) {
    let name = state.claim.name
    var last = state.claim
    last.revision = nextRevision()
    last.status?.pending = []
    last.status?.error = nil
    if let assignment = state.assignment { free(assignment, of: state) }
    freeNames(of: state)
    noteClaim(of: state.specification, by: -1)
    evicting.remove(name)
    expiries.forget(name)
    ailments.remove(name)
    forgetUpgrade(of: state)
    claims[name] = nil
    changes.save(RecordKey(.claim, name))
    changes.gone.append(last)
  }

  // MARK: What the hosts say

  func report(of entry: WantedFunction) -> FunctionStatus? {
    guard let status = hosts[entry.host]?.reports[entry.recordName] else { return nil }
    // A report of another token is of something else.
    if let token = status.function?.token, token != entry.assignment?.token { return nil }
    return status
  }

  private func use(of entry: WantedFunction) -> Use {
    guard let status = report(of: entry) else {
      guard let host = hosts[entry.host] else { return .unknown }
      return host.hasReportedFunctions || host.isDead ? .notInUse(nil) : .unknown
    }
    return status.phase == .inUse ? .inUse(status) : .notInUse(status)
  }

  private func lastError(of state: ClaimState) -> FunctionError? {
    let fencer = state.controlling.flatMap { fencers[$0.functionID] }
    for entry in [fencer, state.controlling, state.consumer].compactMap({ $0 }) {
      guard var error = report(of: entry)?.error else { continue }
      error.host = entry.host
      return error
    }
    return nil
  }

  /// Which host has to act next.
  func waitingReasons(of state: ClaimState, for task: String) -> [PendingReason] {
    let entries = [state.controlling, state.consumer].compactMap { $0 }
    let isReleasing = state.phase == .releasing || state.phase == .reclaiming
    let next =
      isReleasing
      ? entries.first { $0.released && proof(of: $0) == nil } ?? entries.first { $0.released && proof(of: $0) == .cut }
      : entries.first { if case .inUse = use(of: $0) { false } else { true } }
    var reason = PendingReason.waiting()
    if next == nil, state.consumer == nil, let former = state.assignment.flatMap({ formerUse(by: $0) }), !isReleasing {
      let why = report(of: former)?.error.map { ": \($0.step) on \(former.host): \($0.message)" } ?? ""
      reason.message = "\(former.host) has yet to let go of \(former.functionID), which it had itself\(why)"
      return [reason]
    }
    guard let next else { return [] }
    if !isReleasing, let stranded = strandedReason(of: state) ?? whatIsInTheWay(of: state) {
      reason.message = stranded
      return [reason]
    }
    if !isReleasing, next.role != .consumer, let assignment = next.assignment, assignment.holdsData,
      let death = hosts[next.host]?.record.death
    {
      reason.message =
        "\(next.host), whose disk holds the data of '\(state.claim.name)', is dead: \(death.reason); the claim goes on "
        + "when it is back; delete the claim to give the data up"
      return [reason]
    }
    if isReleasing, next.role != .consumer, let fencer = fencers[next.functionID] {
      reason.message =
        "\(fencer.host) has yet to fence \(next.functionID) in the place of \(next.host), and to clean it"
        + absence(of: fencer.host, isProofAwaited: false)
      return [reason]
    }
    reason = .waiting(for: next.host, to: task, next.functionID)
    reason.message +=
      absence(of: next.host, isProofAwaited: isReleasing) + (isReleasing ? silence(inTheWayOfFencing: next) : "")
    return [reason]
  }

  /// A host that has got another mediation address does not pull what it has granted from under anybody: an entry keeps
  /// its addresses, for one token means one set of parameters. Whether it still works by the former one only its owner
  /// knows.
  private func formerAddresses(of assignment: Assignment) -> [PendingReason] {
    guard let mediation = assignment.mediation else { return [] }
    let granted = [
      (assignment.controllingHost, mediation.serverAddress), (assignment.host, mediation.consumerAddress),
    ]
    return granted.compactMap { name, address in
      guard let now = hosts[name]?.record.mediationAddress, now != address else { return nil }
      var reason = PendingReason()
      reason.filter = "mediation-address"
      reason.message =
        "it was granted with the mediation address \(address) of \(name), which is \(now.isEmpty ? "none" : now) by "
        + "now; give \(name) its address back, or delete the claim and make it anew"
      return reason
    }
  }

  /// Why no other root does it in the place of a host that is away.
  private func silence(inTheWayOfFencing entry: WantedFunction) -> String {
    guard entry.role != .consumer, hosts[entry.host]?.isConnected == false,
      let node = entry.assignment.flatMap({ endNodes[$0.endNode] }), let root = silentRoot(of: node, but: [entry.host])
    else { return "" }
    return "; another root does it once \(root) has said what it has of \(node.record.name): "
      + reasonOfSilence(of: root, on: node)
  }

  /// Why a host does not act, and how to get on without it.
  private func absence(of name: String, isProofAwaited: Bool) -> String {
    guard let host = hosts[name], !host.isConnected else { return "" }
    if let death = host.record.death { return "; it is dead: \(death.reason)" }
    let since = host.record.lastSeen.map { ", last seen \($0.minute)" } ?? ""
    guard isProofAwaited else { return "; it is disconnected\(since)" }
    let fencing = host.fencing.failures > 0 ? "; it could not be fenced: \(host.fencing.failure)" : ""
    return "; it is disconnected\(since)\(fencing); if it is off: iov host confirm-dead \(name)"
  }
}

extension PendingReason {
  static func waiting(_ message: String = "") -> PendingReason {
    var reason = PendingReason()
    reason.filter = "waiting"
    reason.message = message
    return reason
  }

  static func waiting(for host: String, to task: String, _ function: String) -> PendingReason {
    waiting(String(joining: [host, " has yet to ", task, " ", function]))
  }
}

extension Attributes {
  /// Takes what the controlling host enforces: its rates, in place of what the consumer's host was once told of them,
  /// and what is not set here.
  fileprivate mutating func take(limitsOf server: Attributes) {
    if let theirs = server.ethernet {
      var mine = ethernet ?? EthernetAttributes()
      mine.macAddress = mine.macAddress ?? theirs.macAddress
      mine.mtu = mine.mtu ?? theirs.mtu
      mine.maxTransmitBitsPerSecond = theirs.maxTransmitBitsPerSecond
      mine.maxReceiveBitsPerSecond = theirs.maxReceiveBitsPerSecond
      if mine != ethernet { ethernet = mine }
    }
    if let theirs = server.block {
      var mine = block ?? BlockAttributes()
      mine.sizeBytes = mine.sizeBytes ?? theirs.sizeBytes
      mine.readOnly = mine.readOnly ?? theirs.readOnly
      mine.maxReadOperationsPerSecond = theirs.maxReadOperationsPerSecond
      mine.maxWriteOperationsPerSecond = theirs.maxWriteOperationsPerSecond
      mine.maxReadBytesPerSecond = theirs.maxReadBytesPerSecond
      mine.maxWriteBytesPerSecond = theirs.maxWriteBytesPerSecond
      mine.burstFactor = theirs.burstFactor
      mine.burstSeconds = theirs.burstSeconds
      block = mine
    }
  }
}
