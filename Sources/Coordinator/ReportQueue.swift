import Arbitration
import Services
import Synchronization

/// Hands hosts' reports to the arbiter in the order in which they come: at once, or, while hosts arrive, after them.
///
/// When the coordinator starts, all of a rack come back at once, and each holds a lease that runs out unless its hello, or a
/// heartbeat, is answered in time. What they report is the larger part of the work, and nothing hangs on when it is done: so
/// hellos and heartbeats overtake it.
final class ReportQueue: Sendable {
  /// A session that is this far ahead is not waited for.
  static let capacity = 256

  private struct Report {
    var event: Event
    var session: SessionID
    var dueBy: ContinuousClock.Instant
  }

  private struct State {
    var reports: [Report] = []
    /// What is queued or being handed over of each session.
    var counts: [SessionID: Int] = [:]
    var isWorking = false
  }

  private let arbiter: DurableArbiter
  private let arrivals: Arrivals
  /// So long a report waits for those that arrive: who connects and does not go on keeps nobody for ever.
  private let patience: Duration
  private let state = Mutex(State())

  init(arbiter: DurableArbiter, arrivals: Arrivals, patience: Duration) {
    self.arbiter = arbiter
    self.arrivals = arrivals
    self.patience = patience
  }

  /// - Throws: `RPCError` if too much of the session waits.
  func submit(_ event: Event, of session: SessionID) throws {
    let isQueued = try state.withLock { state in
      // What came before of any session goes before.
      guard state.isWorking || arrivals.count > 0 else { return false }
      let count = state.counts[session, default: 0]
      guard count < Self.capacity else {
        throw RPCError(.resourceExhausted, "the host reports faster than its reports are taken: \(count) wait")
      }
      state.counts[session] = count + 1
      state.reports.append(Report(event: event, session: session, dueBy: .now + patience))
      if !state.isWorking {
        state.isWorking = true
        Task { await work() }
      }
      return true
    }
    if !isQueued { arbiter.submit(event) }
  }

  /// Hands over until nothing is queued.
  private func work() async {
    while let reports = next() {
      for report in reports {
        while arrivals.count > 0, ContinuousClock.now < report.dueBy {
          // Nothing cancels this task.
          try? await Task.sleep(for: .milliseconds(20))
        }
        arbiter.submit(report.event)
        state.withLock { state in
          let left = (state.counts[report.session] ?? 1) - 1
          state.counts[report.session] = left > 0 ? left : nil
        }
      }
    }
  }

  private func next() -> [Report]? {
    state.withLock { state in
      defer { state.reports = [] }
      state.isWorking = !state.reports.isEmpty
      return state.isWorking ? state.reports : nil
    }
  }
}
