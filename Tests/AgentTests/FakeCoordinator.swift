import Services
import Synchronization

/// A coordinator over real sockets that wants what the test says and remembers what it was told.
final class FakeCoordinator: AgentSessionsService {
  struct Session {
    let number: Int
    let hello: AgentHello
    let responses: ResponseWriter<CoordinatorMessage>
  }

  private struct State {
    var epoch: UInt64 = 1
    var clusterID = "cluster-1"
    var wanted: [WantedFunction] = []
    var controls: [WantedControl] = []
    var revision: UInt64 = 1
    var answersHeartbeats = true
    var leaseTermMilliseconds: UInt32 = 10_000
    var isAway = false
    var sessions: [Session] = []
    var messages: [(session: Int, message: AgentMessage)] = []
    var waiters: [UInt64: @Sendable () -> Void] = [:]
    var nextWaiter: UInt64 = 0
  }

  private let state = Mutex(State())

  init(
    epoch: UInt64 = 1, clusterID: String = "cluster-1", answersHeartbeats: Bool = true,
    leaseTermMilliseconds: UInt32 = 10_000
  ) {
    state.withLock {
      $0.epoch = epoch
      $0.clusterID = clusterID
      $0.answersHeartbeats = answersHeartbeats
      $0.leaseTermMilliseconds = leaseTermMilliseconds
    }
  }

  func connect(
    _ requests: RequestStream<AgentMessage>, responses: ResponseWriter<CoordinatorMessage>, call: ServerCall
  ) async throws {
    var number = 0
    for try await message in requests {
      if state.withLock({ $0.isAway }) { throw RPCError(.unavailable, "the coordinator is away") }
      switch message.kind {
      case .hello(let hello):
        let (welcome, wanted) = state.withLock { state in
          number = state.sessions.count
          state.sessions.append(Session(number: number, hello: hello, responses: responses))
          return (Self.welcome(state), Self.wanted(state, complete: true))
        }
        try await responses.write(welcome)
        try await responses.write(wanted)
      case .heartbeat(let heartbeat):
        let (epoch, answers) = state.withLock { ($0.epoch, $0.answersHeartbeats) }
        guard answers else { continue }
        try await responses.write(
          CoordinatorMessage {
            $0.kind = .heartbeat(
              HeartbeatAcknowledgement {
                $0.sequence = heartbeat.sequence
                $0.epoch = epoch
              })
          })
      default: break
      }
      note { $0.messages.append((number, message)) }
    }
  }

  private static func welcome(_ state: State) -> CoordinatorMessage {
    CoordinatorMessage {
      $0.kind = .welcome(
        Welcome {
          $0.clusterId = state.clusterID
          $0.epoch = state.epoch
          $0.leaseTermMilliseconds = state.leaseTermMilliseconds
          $0.heartbeatIntervalMilliseconds = 100
        })
    }
  }

  private static func wanted(_ state: State, complete: Bool) -> CoordinatorMessage {
    CoordinatorMessage {
      $0.kind = .wanted(
        WantedState {
          $0.epoch = state.epoch
          $0.revision = state.revision
          $0.complete = complete
          $0.functions = state.wanted
          $0.controls = state.controls
        })
    }
  }

  /// Wants this of the host, in later sessions and, unless it is away, now.
  func want(_ entries: [WantedFunction]) async throws {
    let (session, message) = state.withLock { state in
      state.wanted = entries
      state.revision += 1
      return (state.isAway ? nil : state.sessions.last, Self.wanted(state, complete: false))
    }
    try await session?.responses.write(message)
  }

  /// Asks in the last session; the answer is one of `answers`.
  func ask(_ number: UInt64, of deviceClass: String, function: String = "") async throws {
    let session = state.withLock { $0.sessions.last }
    try await session?.responses.write(
      CoordinatorMessage {
        $0.kind = .statistics(
          StatisticsQuestion {
            $0.number = number
            $0.deviceClass = deviceClass
            $0.function = function
          })
      })
  }

  /// Gives control of the test plugin's end node to the host, in later sessions.
  func giveControl(token: UInt64, after former: [UInt64] = []) {
    state.withLock {
      $0.controls = [
        WantedControl {
          $0.endNode = "test/1"
          $0.deviceClass = "test"
          $0.controlToken = FencingToken { $0.value = token }
          $0.formerControlTokens = former.map { token in FencingToken { $0.value = token } }
        }
      ]
    }
  }

  /// From now on it hears nobody and ends what sessions there are, until it is back.
  func goAway() { state.withLock { $0.isAway = true } }
  func comeBack() { state.withLock { $0.isAway = false } }

  // MARK: What it was told

  var sessionCount: Int { state.withLock { $0.sessions.count } }
  var hellos: [AgentHello] { state.withLock { $0.sessions.map(\.hello) } }
  var heartbeatCount: Int {
    state.withLock { $0.messages.count { if case .heartbeat = $0.message.kind { true } else { false } } }
  }

  var plugins: [Plugin] { inventory.plugins }
  var inventory: InventoryReport { inventories.last ?? InventoryReport() }
  var inventories: [InventoryReport] {
    state.withLock { state in
      state.messages.compactMap { if case .inventory(let report) = $0.message.kind { report } else { nil } }
    }
  }

  func answer(_ number: UInt64) -> StatisticsAnswer? {
    state.withLock { state in
      state.messages.compactMap { if case .statistics(let answer) = $0.message.kind { answer } else { nil } }
        .first { $0.number == number }
    }
  }

  /// The reports on functions of the last session.
  var reports: [FunctionReport] {
    state.withLock { state in
      state.messages.filter { $0.session == state.sessions.count - 1 }
        .compactMap { if case .functions(let report) = $0.message.kind { report } else { nil } }
    }
  }

  /// What was said last of a function in the last session.
  func status(_ function: String) -> FunctionStatus? {
    reports.flatMap(\.functions).last { $0.function?.id == function }
  }

  // MARK: Waiting

  private func note(_ change: (inout State) -> Void) {
    let waiters = state.withLock { state in
      change(&state)
      return state.waiters.values
    }
    for waiter in waiters { waiter() }
  }

  /// Waits until it is so; looked at whenever a message has come. Throws after 20 s.
  func wait(until isSo: @escaping @Sendable (FakeCoordinator) -> Bool) async throws {
    let (changes, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let number = state.withLock { state in
      state.nextWaiter += 1
      state.waiters[state.nextWaiter] = { signal.yield() }
      return state.nextWaiter
    }
    defer { state.withLock { $0.waiters[number] = nil } }
    signal.yield()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for await _ in changes where isSo(self) { return }
        throw CancellationError()
      }
      group.addTask {
        // A handshake alone may take 15.
        try await Task.sleep(for: .seconds(60))
        throw TimedOut(said: "\(self.reports), \(self.plugins)")
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  struct TimedOut: Error {
    var said: String
  }
}
