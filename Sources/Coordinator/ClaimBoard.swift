import Messages
import Services
import Synchronization

/// The claims as they are on the disk, and those who watch them.
///
/// What is read here was committed: nobody is shown a claim that a crash could undo.
final class ClaimBoard: Sendable {
  fileprivate struct State {
    var claims: ListedClaims
    var revision: UInt64
    var epoch: UInt64
    var recent: RecentEvents
    var watchers: [UInt64: Watcher] = [:]
    var lastWatcher: UInt64 = 0
    var end: RPCError?
  }

  fileprivate struct Watcher {
    /// Empty: every claim.
    var name: String
    var events: AsyncThrowingStream<ClaimEvent, any Error>.Continuation
  }

  /// One watch: how it begins, and every change since.
  struct Watch {
    /// What there was, or what the watcher has missed.
    var beginning: [ClaimEvent]
    var events: AsyncThrowingStream<ClaimEvent, any Error>
  }

  /// How many changes a watcher may be behind.
  let bufferedEvents: Int
  private let state: Mutex<State>

  /// - Parameter keptEvents: how many changes of this run a watcher that comes back can have missed.
  init(claims: [Claim], revision: UInt64, epoch: UInt64, bufferedEvents: Int = 1024, keptEvents: Int = 8192) {
    self.bufferedEvents = bufferedEvents
    state = Mutex(
      State(
        claims: ListedClaims(claims), revision: revision, epoch: epoch,
        recent: RecentEvents(after: revision, capacity: keptEvents)))
  }

  /// The leader's epoch has risen. Revisions of the former one are no longer taken: they may be those of another store.
  func take(epoch: UInt64) { state.withLock { $0.epoch = epoch } }

  func claim(named name: String) -> Claim? { state.withLock { $0.claims[name] } }

  /// What there is, and the revision of the last change of it.
  func read<Result: Sendable>(_ body: (borrowing ListedClaims, _ revision: UInt64) -> Result) -> Result {
    state.withLock { body($0.claims, $0.revision) }
  }

  /// Takes a claim's new state and tells it; answers the former one, if there was one.
  @discardableResult
  func change(_ claim: Claim) -> Claim? {
    publish(.changed, claim) { $0.claims.put(claim) }
  }

  func remove(_ claim: Claim) {
    publish(.gone, claim) { $0.claims.remove(claim.name) }
  }

  private func publish<Result: Sendable>(
    _ kind: ClaimEventKind, _ claim: Claim, _ change: (inout State) -> Result
  ) -> Result {
    let (result, slow) = state.withLock { state in
      let result = change(&state)
      let event = ClaimEvent(kind, claim, revision: claim.revision, epoch: state.epoch)
      state.revision = max(state.revision, claim.revision)
      state.recent.append(event)
      var slow: [Watcher] = []
      for (id, watcher) in state.watchers where watcher.name.isEmpty || watcher.name == claim.name {
        guard case .dropped = watcher.events.yield(event) else { continue }
        state.watchers[id] = nil
        slow.append(watcher)
      }
      return (result, slow)
    }
    for watcher in slow {
      watcher.events.finish(
        throwing: RPCError(.resourceExhausted, "the watch fell behind; watch again from the last revision seen"))
    }
    return result
  }

  /// Begins a watch of one claim, or of all of them where `name` is empty: with what there is, or, where the request names
  /// a revision, with what came after it. Nothing is missing between how it begins and what it tells later.
  func watch(_ request: WatchClaimsRequest) throws(RPCError) -> Watch {
    let (events, continuation) = AsyncThrowingStream.makeStream(
      of: ClaimEvent.self, throwing: (any Error).self, bufferingPolicy: .bufferingOldest(bufferedEvents))
    let (id, beginning) = try state.withLock { (state) throws(RPCError) in
      if let end = state.end { throw end }
      let beginning = try state.beginning(of: request)
      state.lastWatcher += 1
      state.watchers[state.lastWatcher] = Watcher(name: request.name, events: continuation)
      return (state.lastWatcher, beginning)
    }
    // Runs also when the stream is finished from here, on the thread that finished it: the lock must not be held then.
    continuation.onTermination = { [weak self] _ in self?.forget(id) }
    return Watch(beginning: beginning, events: events)
  }

  /// Ends every watch; later ones are refused.
  func end(_ error: RPCError) {
    let watchers = state.withLock { state in
      state.end = error
      defer { state.watchers = [:] }
      return Array(state.watchers.values)
    }
    for watcher in watchers { watcher.events.finish(throwing: error) }
  }

  var watcherCount: Int { state.withLock { $0.watchers.count } }

  private func forget(_ id: UInt64) {
    _ = state.withLock { $0.watchers.removeValue(forKey: id) }
  }
}

extension ClaimBoard.State {
  /// How a watch begins.
  fileprivate func beginning(of request: WatchClaimsRequest) throws(RPCError) -> [ClaimEvent] {
    let name = request.name
    guard request.fromRevision == 0 else {
      return try missed(request).filter { name.isEmpty || $0.claim?.name == name }
    }
    let there = name.isEmpty ? Array(claims) : [claims[name]].compactMap { $0 }
    return there.map { ClaimEvent(.exists, $0, revision: $0.revision, epoch: epoch) }
      + [ClaimEvent(.synced, nil, revision: revision, epoch: epoch)]
  }

  private func missed(_ request: WatchClaimsRequest) throws(RPCError) -> [ClaimEvent] {
    let from = request.fromRevision
    guard request.epoch == epoch else {
      throw RPCError(
        .outOfRange,
        "revision \(from) is of epoch \(request.epoch) and this coordinator's is \(epoch): revisions of different epochs do "
          + "not compare; watch anew without a revision")
    }
    guard from <= revision else {
      throw RPCError(
        .outOfRange,
        "revision \(from) has not come about yet, the last one is \(revision); watch anew without a revision")
    }
    guard let events = recent.events(after: from) else {
      throw RPCError(
        .outOfRange,
        "the changes after revision \(from) are not all kept any more, only those after \(recent.floor); watch anew "
          + "without a revision")
    }
    return events
  }
}

extension ClaimEvent {
  init(_ kind: ClaimEventKind, _ claim: Claim?, revision: UInt64, epoch: UInt64) {
    self.init()
    self.kind = kind
    self.claim = claim
    self.revision = revision
    self.epoch = epoch
  }
}
