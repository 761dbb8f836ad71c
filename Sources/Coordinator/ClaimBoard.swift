import Messages
import Services
import Synchronization

/// The claims as they are on the disk, and those who watch them.
///
/// What is read here was committed: nobody is shown a claim that a crash could undo.
final class ClaimBoard: Sendable {
  private struct State {
    var claims: [String: Claim]
    var revision: UInt64
    var watchers: [UInt64: Watcher] = [:]
    var lastWatcher: UInt64 = 0
    var end: RPCError?
  }

  private struct Watcher {
    /// Empty: every claim.
    var name: String
    var events: AsyncThrowingStream<ClaimEvent, any Error>.Continuation
  }

  /// One watch: what there was when it began, and every change since.
  struct Watch {
    var claims: [Claim]
    var revision: UInt64
    var events: AsyncThrowingStream<ClaimEvent, any Error>
  }

  /// How many changes a watcher may be behind.
  let bufferedEvents: Int
  private let state: Mutex<State>

  init(claims: [Claim], revision: UInt64, bufferedEvents: Int = 1024) {
    self.bufferedEvents = bufferedEvents
    let byName = Dictionary(claims.map { ($0.name, $0) }, uniquingKeysWith: { _, last in last })
    state = Mutex(State(claims: byName, revision: revision))
  }

  func claim(named name: String) -> Claim? { state.withLock { $0.claims[name] } }

  /// By name.
  func list() -> (claims: [Claim], revision: UInt64) {
    let (claims, revision) = state.withLock { (Array($0.claims.values), $0.revision) }
    return (claims.sorted { $0.name < $1.name }, revision)
  }

  /// Takes a claim's new state and tells it; answers the former one, if there was one.
  @discardableResult
  func change(_ claim: Claim) -> Claim? {
    publish(.changed, claim) { $0.claims.updateValue(claim, forKey: claim.name) }
  }

  func remove(_ claim: Claim) {
    publish(.gone, claim) { $0.claims[claim.name] = nil }
  }

  private func publish<Result: Sendable>(
    _ kind: ClaimEventKind, _ claim: Claim, _ change: (inout State) -> Result
  ) -> Result {
    var event = ClaimEvent()
    event.kind = kind
    event.claim = claim
    event.revision = claim.revision
    let (result, slow) = state.withLock { state in
      let result = change(&state)
      state.revision = max(state.revision, claim.revision)
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
        throwing: RPCError(.resourceExhausted, "the watch fell behind; list again, then watch again"))
    }
    return result
  }

  /// Begins a watch of one claim, or of all of them where `name` is empty. Nothing is missing between what it finds and
  /// what it tells later.
  func watch(_ name: String) throws(RPCError) -> Watch {
    let (events, continuation) = AsyncThrowingStream.makeStream(
      of: ClaimEvent.self, throwing: (any Error).self, bufferingPolicy: .bufferingOldest(bufferedEvents))
    let (id, claims, revision, end) = state.withLock { state in
      state.lastWatcher += 1
      let id = state.lastWatcher
      if state.end == nil { state.watchers[id] = Watcher(name: name, events: continuation) }
      let claims = state.claims.values.filter { name.isEmpty || $0.name == name }
      return (id, claims, state.revision, state.end)
    }
    if let end { throw end }
    // Runs also when the stream is finished from here, on the thread that finished it: the lock must not be held then.
    continuation.onTermination = { [weak self] _ in self?.forget(id) }
    return Watch(claims: claims.sorted { $0.name < $1.name }, revision: revision, events: events)
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
