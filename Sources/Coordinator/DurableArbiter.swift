import Arbitration
import ClaimStore
import Logging
import Messages
import Services
import Synchronization

/// The arbiter with its store, its callers and its sessions round it: decides under a lock, makes durable on the store's
/// thread, then acts.
///
/// Effects are performed in the order of the events: batches go through one queue, also those that have nothing to
/// store, so that no answer overtakes a commit that it rests on.
final class DurableArbiter: Sendable {
  private let arbiter: Mutex<Arbiter>
  private let edge = Mutex(Edge())
  let board: ClaimBoard
  private let commits: CommitQueue
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let log: DecisionLog

  /// Those who wait for something.
  private struct Edge {
    var calls: [CallID: CheckedContinuation<Arbitration.Answer, any Error>] = [:]
    var sessions: [SessionID: Session] = [:]
    var fence: (@Sendable (_ host: String, _ bootID: String) -> Void)?
    var lastID: UInt64 = 0
    var failure: StoreError?
    var failureWaiter: CheckedContinuation<StoreError, any Error>?
  }

  private struct Session {
    var outbox: SessionOutbox
    /// As its hello says.
    var host: Host?
  }

  /// Restores the state that the store holds. Blocks on the store; nothing is served yet.
  init(
    store: any ClaimStore, settings: ArbiterSettings, now: @escaping @Sendable () -> Instant, logger: Logger
  ) throws {
    var arbiter = try Arbiter(restoring: store, version: iovmeshVersion, settings: settings)
    // The new epoch is on the disk before the first agent can hear of it.
    try store.commit(arbiter.begin().compactMap(StoreChange.init))
    board = ClaimBoard(
      claims: arbiter.listedClaims, revision: arbiter.cluster.revision, epoch: arbiter.cluster.epoch)
    commits = CommitQueue(store: store)
    log = DecisionLog(hosts: arbiter.listedHosts, logger: logger)
    self.now = now
    self.logger = logger
    self.arbiter = Mutex(arbiter)
  }

  /// What can be read at any time, decided though perhaps not yet stored.
  func read<Result: Sendable>(_ body: (borrowing Arbiter) -> Result) -> Result { arbiter.withLock { body($0) } }

  /// All that the end node is called that a request means; nothing where it means none.
  func names(ofEndNode name: String) -> Set<String> { name.isEmpty ? [] : read { $0.names(ofEndNode: name) } }

  // MARK: Events

  /// Hands one event to the arbiter; what follows from it is done later, in order.
  func submit(_ event: Event) {
    arbiter.withLock { arbiter in
      let effects = arbiter.handle(event, at: now())
      guard !effects.isEmpty else { return }
      // Queued under the lock: the order of the queue is the order of the decisions.
      commits.enqueue(effects.compactMap(StoreChange.init)) { [self] result in
        switch result {
        case .success: for effect in effects { perform(effect) }
        case .failure(let error): fail(error)
        }
      }
    }
  }

  /// A heartbeat decides nothing that is stored, so that its answer waits for no disk.
  func heartbeat(_ session: SessionID, _ heartbeat: Heartbeat) {
    let effects = arbiter.withLock { arbiter -> [Effect] in
      let effects = arbiter.handle(.heartbeatReceived(session, heartbeat), at: now())
      // The first one after an expired lease may grant something: that goes the long way.
      guard effects.contains(where: \.isDurable) else { return effects }
      commits.enqueue(effects.compactMap(StoreChange.init)) { [self] result in
        switch result {
        case .success: for effect in effects { perform(effect) }
        case .failure(let error): fail(error)
        }
      }
      return []
    }
    for effect in effects { perform(effect) }
  }

  /// Asks for a change, and waits until the answer is durable. A caller that goes away changes nothing:
  /// what was decided stays.
  func ask(_ event: (CallID) -> Event) async throws -> Arbitration.Answer {
    try await withCheckedThrowingContinuation { continuation in
      let call = edge.withLock { edge in
        edge.lastID += 1
        let call = CallID(edge.lastID)
        edge.calls[call] = continuation
        return call
      }
      submit(event(call))
    }
  }

  /// As `ask`, for an event whose answer is a claim.
  func askForClaim(_ event: (CallID) -> Event) async throws -> Claim {
    guard case .claim(let claim) = try await ask(event) else {
      preconditionFailure("the arbiter answers a request for a claim with a claim")
    }
    return claim
  }

  func askForHost(_ event: (CallID) -> Event) async throws -> Host {
    guard case .host(let host) = try await ask(event) else {
      preconditionFailure("the arbiter answers a request for a host with a host")
    }
    return host
  }

  func askForOrphans(_ event: (CallID) -> Event) async throws -> [Orphan] {
    guard case .orphans(let orphans) = try await ask(event) else {
      preconditionFailure("the arbiter answers a request for orphans with orphans")
    }
    return orphans
  }

  func askForPlan(_ event: (CallID) -> Event) async throws -> ClaimPlan {
    guard case .plan(let plan) = try await ask(event) else {
      preconditionFailure("the arbiter answers what is to be applied with what was done")
    }
    return plan
  }

  /// Tries something, and leaves everything as it is.
  func plan(_ request: ApplyClaimsRequest) throws(Refusal) -> ClaimPlan {
    let result = arbiter.withLock { arbiter in
      Result { () throws(Refusal) in try arbiter.planClaims(request, at: now()) }
    }
    return try result.get()
  }

  func askForMaintenance(_ event: (CallID) -> Event) async throws -> MaintenanceAnswer {
    guard case .maintenance(let answer) = try await ask(event) else {
      preconditionFailure("the arbiter answers a request for maintenance with what is maintained")
    }
    return answer
  }

  func askForTenant(_ event: (CallID) -> Event) async throws -> Tenant {
    guard case .tenant(let tenant) = try await ask(event) else {
      preconditionFailure("the arbiter answers a request for a tenant with a tenant")
    }
    return tenant
  }

  func askToRebalance(_ event: (CallID) -> Event) async throws -> RebalanceAnswer {
    guard case .rebalance(let answer) = try await ask(event) else {
      preconditionFailure("the arbiter answers a request to rebalance with moves")
    }
    return answer
  }

  // MARK: Sessions

  func openSession() -> (id: SessionID, messages: Mailbox<CoordinatorMessage>) {
    let outbox = SessionOutbox()
    let id = edge.withLock { edge in
      edge.lastID += 1
      let id = SessionID(edge.lastID)
      edge.sessions[id] = Session(outbox: outbox)
      return id
    }
    return (id, outbox.messages)
  }

  func begin(_ session: SessionID, _ hello: AgentHello) {
    edge.withLock { $0.sessions[session]?.host = hello.host }
    submit(.hostConnected(session, hello))
  }

  /// Sends what nothing depends on: past the queue of decisions. False if the session has ended, or its agent does not read.
  func send(_ message: CoordinatorMessage, in session: SessionID) -> Bool {
    edge.withLock { $0.sessions[session] }?.outbox.send(message) ?? false
  }

  /// Has the session's stream end once what was sent is written; with an error if there is one to tell.
  func endSession(_ session: SessionID, _ error: (any Error)?) {
    edge.withLock { $0.sessions[session] }?.outbox.end(error)
  }

  /// Ends the sessions of one run of a host, which is off: the arbiter hears of it at once.
  func endSessions(ofHost name: String, bootID: String) {
    let sessions = edge.withLock { edge in
      edge.sessions.filter { $0.value.host?.name == name && $0.value.host?.bootId == bootID }
    }
    for (id, session) in sessions.sorted(by: { $0.key.value < $1.key.value }) {
      session.outbox.end(RPCError(.aborted, "host '\(name)' was switched off"))
      submit(.hostDisconnected(id))
    }
  }

  func closeSession(_ session: SessionID) {
    let closed = edge.withLock { $0.sessions.removeValue(forKey: session) }
    closed?.outbox.end(nil)
    submit(.hostDisconnected(session))
  }

  // MARK: Effects

  private func perform(_ effect: Effect) {
    switch effect {
    case .save(.cluster(let cluster)): board.take(epoch: cluster.epoch)
    case .save(.host(let host)): log.note(host)
    case .save, .remove, .audit: return
    case .send(let session, let message):
      // A session that has ended meanwhile misses nothing: its next one begins with all that is wanted.
      let outbox = edge.withLock { $0.sessions[session]?.outbox }
      if outbox?.send(message) == false {
        outbox?.end(RPCError(.resourceExhausted, "the agent does not read what it is sent"))
      }
    case .endSession(let session, let refusal):
      logger.warning("session ended by the coordinator", metadata: ["reason": "\(refusal.message)"])
      endSession(session, RPCError(refusal))
    case .answer(let call, let answer): take(call)?.resume(returning: answer)
    case .refuse(let call, let refusal): take(call)?.resume(throwing: RPCError(refusal))
    case .claimChanged(let claim): log.note(claim, before: board.change(claim))
    case .claimGone(let claim):
      board.remove(claim)
      log.noteGone(claim)
    case .fenceHost(let host, let bootID): edge.withLock { $0.fence }?(host, bootID)
    }
  }

  /// Has `fence` called, from any thread, for each host that is to be fenced unasked. What comes of it is an event.
  func whenFenceIsWanted(_ fence: @escaping @Sendable (_ host: String, _ bootID: String) -> Void) {
    edge.withLock { $0.fence = fence }
  }

  private func take(_ call: CallID) -> CheckedContinuation<Arbitration.Answer, any Error>? {
    edge.withLock { $0.calls.removeValue(forKey: call) }
  }

  // MARK: The end

  /// The memory is ahead of the disk now, so nothing may be answered out of it any more: everybody is told, and the
  /// process ends.
  private func fail(_ error: StoreError) {
    let (calls, sessions, waiter) = edge.withLock { edge in
      edge.failure = edge.failure ?? error
      defer {
        edge.calls = [:]
        edge.failureWaiter = nil
      }
      return (Array(edge.calls.values), Array(edge.sessions.values), edge.failureWaiter)
    }
    let refusal = RPCError(.unavailable, "\(error)")
    for call in calls { call.resume(throwing: refusal) }
    for session in sessions { session.outbox.end(refusal) }
    board.end(refusal)
    waiter?.resume(returning: error)
  }

  /// Returns when the store has failed; throws when the task is cancelled.
  func storeFailure() async throws -> StoreError {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<StoreError, any Error>) in
        let failure = edge.withLock { edge -> StoreError? in
          if edge.failure == nil { edge.failureWaiter = continuation }
          return edge.failure
        }
        if let failure { continuation.resume(returning: failure) }
        if Task.isCancelled { cancelFailureWaiter() }
      }
    } onCancel: {
      cancelFailureWaiter()
    }
  }

  private func cancelFailureWaiter() {
    let waiter = edge.withLock { edge in
      defer { edge.failureWaiter = nil }
      return edge.failureWaiter
    }
    waiter?.resume(throwing: CancellationError())
  }

  /// Ends watches and makes everything durable that was decided.
  func stop() async {
    board.end(RPCError(.unavailable, "the coordinator is stopping"))
    await commits.stop()
  }
}

extension RPCError {
  init(_ refusal: Refusal) { self.init(StatusCode(rawValue: refusal.code.rawValue) ?? .unknown, refusal.message) }
}
