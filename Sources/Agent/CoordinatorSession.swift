import Reconciliation
import Services
import Synchronization

/// A session that the coordinator has welcomed: wanted state comes in, reports and heartbeats go out.
struct CoordinatorSession: Sendable {
  let call: BidirectionalCall<AgentMessage, CoordinatorMessage>
  let welcome: Welcome
  let outbox: Outbox
  let core: AgentCore

  /// Runs until the session is over, and throws why.
  func run(_ lease: LeaseClock) async throws {
    let lease = SharedLease(lease)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await read(lease) }
      group.addTask { try await write() }
      group.addTask { try await beat(lease) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func read(_ lease: SharedLease) async throws {
    for try await message in call.responses {
      switch message.kind {
      case .wanted(let state): core.handle(.wanted(state))
      case .rescan: core.rescan()
      case .statistics(let question): core.ask(question)
      case .heartbeat(let answer):
        // A leader of another epoch did not take this heartbeat for this session's lease.
        guard answer.epoch >= welcome.epoch else { continue }
        core.handle(.leaseRenewed(until: lease.acknowledge(answer.sequence)))
      case .welcome: throw RPCError(.internalError, "the coordinator welcomed this host twice")
      // What a newer coordinator says beside that is not for this agent.
      case nil: continue
      }
    }
    throw RPCError(.unavailable, "the coordinator ended the session")
  }

  private func write() async throws {
    try await outbox.drain { try await call.write($0) }
    try Task.checkCancellation()
    throw RPCError(.failedPrecondition, "the coordinator speaks for a deposed leader")
  }

  /// A coordinator that does not answer for a whole term is as good as gone, even if the connection has not noticed. This
  /// task does not write by itself: a peer that stopped reading must not keep it from looking at the clock.
  private func beat(_ lease: SharedLease) async throws {
    let interval = Duration.milliseconds(max(welcome.heartbeatIntervalMilliseconds, 100))
    while true {
      try await Task.sleep(for: interval, clock: .continuous)
      let now = HostClock.now()
      guard !lease.hasExpired(at: now) else {
        throw RPCError(.deadlineExceeded, "the lease ran out: no heartbeat was answered for \(lease.term)")
      }
      outbox.send(.heartbeat(Heartbeat { $0.sequence = lease.beat(at: now) }))
    }
  }
}

extension Welcome {
  /// A term that no heartbeat could keep up with is taken for a mistake.
  var leaseTerm: Duration { .milliseconds(max(leaseTermMilliseconds, 1000)) }
}

/// The lease, between the tasks that send heartbeats and read the answers.
private final class SharedLease: Sendable {
  let term: Duration
  private let clock: Mutex<LeaseClock>

  init(_ lease: LeaseClock) {
    term = lease.term
    clock = Mutex(lease)
  }

  func beat(at now: Instant) -> UInt64 { clock.withLock { $0.beat(at: now) } }

  /// Answers until when the lease is good.
  func acknowledge(_ sequence: UInt64) -> Instant {
    clock.withLock { clock in
      clock.acknowledge(sequence)
      return clock.goodUntil
    }
  }

  func hasExpired(at now: Instant) -> Bool { clock.withLock { $0.hasExpired(at: now) } }
}
