import Synchronization

/// How a server and its services are. Whoever knows sets it, from any thread; `HealthFrontend` tells it.
public final class HealthBoard: Sendable {
  public typealias Status = HealthCheckResponse.ServingStatus

  private struct State {
    /// By the full name of the service; the empty name is the server as a whole.
    var statuses: [String: Status]
    var isDraining = false
    var watchers: [UInt64: AsyncStream<Void>.Continuation] = [:]
    var nextWatcher: UInt64 = 0
  }

  private let state: Mutex<State>

  /// The server as a whole and the named services are NOT_SERVING until something else is said.
  public init(services: [String] = []) {
    let names = [""] + services
    state = Mutex(State(statuses: Dictionary(names.map { ($0, Status.notServing) }) { first, _ in first }))
  }

  /// The same of all that these services serve.
  public convenience init(of services: [any RPCService]) {
    var router = Router()
    for service in services { service.register(in: &router) }
    self.init(services: router.serviceNames)
  }

  /// - Parameter service: its full name; a new one is added. Empty: the server as a whole.
  public func set(_ status: Status, for service: String) {
    change { $0.statuses[service] = status }
  }

  /// The server as a whole and all its services.
  public func setAll(_ status: Status) {
    change { state in state.statuses = state.statuses.mapValues { _ in status } }
  }

  /// The server is about to go: everything is NOT_SERVING and stays so, and watchers are told and let go, so that they do
  /// not hold up the end.
  public func drain() {
    change { state in
      state.statuses = state.statuses.mapValues { _ in .notServing }
      state.isDraining = true
    }
  }

  private func change(_ body: (inout State) -> Void) {
    let watchers = state.withLock { state in
      // Whoever still starts up while the server stops has nothing to say any more.
      if !state.isDraining { body(&state) }
      return Array(state.watchers.values)
    }
    // It says only that something may have changed: who is told reads the board, so that the order does not matter.
    for watcher in watchers { watcher.yield() }
  }

  // MARK: Asking

  /// nil: nobody has ever set it.
  func status(of service: String) -> Status? { state.withLock { $0.statuses[service] } }

  var statuses: [String: Status] { state.withLock { $0.statuses } }

  var isDraining: Bool { state.withLock { $0.isDraining } }

  /// One element at once, and one after one or more changes.
  func changes() -> AsyncStream<Void> {
    let (changes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let number = state.withLock { state in
      state.nextWatcher += 1
      state.watchers[state.nextWatcher] = continuation
      return state.nextWatcher
    }
    continuation.onTermination = { [weak self] _ in
      _ = self?.state.withLock { $0.watchers.removeValue(forKey: number) }
    }
    continuation.yield()
    return changes
  }

  var watcherCount: Int { state.withLock { $0.watchers.count } }
}
