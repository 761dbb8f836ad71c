import Arbitration
import Services
import Synchronization

/// What hosts are asked for somebody who waits, and what decides nothing: it goes past the arbiter, over the host's session,
/// and nothing of it is stored.
final class HostQuestions: Sendable {
  /// An agent gives its plugin half of this.
  private static let patience = Duration.seconds(10)

  private struct Asked {
    var session: SessionID
    var answer: AsyncStream<StatisticsAnswer>.Continuation
  }

  private let arbiter: DurableArbiter
  private let state = Mutex((lastNumber: UInt64(0), asked: [UInt64: Asked]()))

  init(arbiter: DurableArbiter) { self.arbiter = arbiter }

  /// Asks the hosts of these functions' consumers, all at once: each one question for each class. By id.
  func readings(of assignments: [Assignment]) async -> [FunctionReading] {
    let groups = Dictionary(grouping: assignments) { Place(host: $0.host, deviceClass: $0.deviceClass) }
    return await withTaskGroup(of: [FunctionReading].self) { group in
      for (place, assignments) in groups { group.addTask { await self.readings(of: assignments, at: place) } }
      return await group.reduce(into: []) { $0 += $1 }.sorted { $0.function < $1.function }
    }
  }

  private struct Place: Hashable {
    var host: String
    var deviceClass: String
  }

  private func readings(of assignments: [Assignment], at place: Place) async -> [FunctionReading] {
    let only = assignments.count == 1 ? assignments[0].function : ""
    let answer = await answer(from: place.host) {
      $0.deviceClass = place.deviceClass
      $0.function = only
    }
    let found = Dictionary(answer.functions.map { ($0.function, $0) }, uniquingKeysWith: { first, _ in first })
    return assignments.map { assignment in
      FunctionReading {
        $0.function = assignment.function
        $0.claim = assignment.claim
        $0.host = assignment.host
        $0.deviceClass = assignment.deviceClass
        $0.statistics = found[assignment.function]
        guard $0.statistics == nil else { return }
        $0.problem =
          answer.problem.isEmpty
          ? "nothing on host '\(place.host)' counts for it: it is not set up there, or its consumer drives it and its card "
            + "does not count for its functions" : answer.problem
      }
    }
  }

  /// One that holds a problem where the host does not answer.
  private func answer(
    from host: String, to question: (inout StatisticsQuestion) -> Void
  ) async -> StatisticsAnswer {
    func problem(_ text: String) -> StatisticsAnswer { StatisticsAnswer { $0.problem = text } }
    guard let session = arbiter.read({ $0.session(ofHost: host) }) else {
      return problem("host '\(host)' is disconnected: its counters can be read when it is back")
    }
    let (answers, continuation) = AsyncStream.makeStream(of: StatisticsAnswer.self)
    let number = state.withLock { state in
      state.lastNumber += 1
      state.asked[state.lastNumber] = Asked(session: session, answer: continuation)
      return state.lastNumber
    }
    defer { state.withLock { $0.asked[number] = nil } }
    let message = CoordinatorMessage {
      var asked = StatisticsQuestion()
      question(&asked)
      asked.number = number
      $0.kind = .statistics(asked)
    }
    guard arbiter.send(message, in: session) else { return problem("host '\(host)' does not read what it is sent") }
    let timer = Task {
      try await Task.sleep(for: Self.patience)
      continuation.yield(
        problem("host '\(host)' did not answer in \(Self.patience): its agent may be older than this question"))
    }
    defer { timer.cancel() }
    for await answer in answers { return answer }
    return problem("host '\(host)' disconnected before it answered")
  }

  /// A host answers what it was asked itself, and once: an answer that comes late, or was never asked for, is dropped.
  func take(_ answer: StatisticsAnswer, from session: SessionID) {
    let asked = state.withLock { state -> Asked? in
      guard state.asked[answer.number]?.session == session else { return nil }
      return state.asked.removeValue(forKey: answer.number)
    }
    asked?.answer.yield(answer)
  }

  /// Whoever waits for an answer in this session need not wait any longer.
  func end(_ session: SessionID) {
    let orphaned = state.withLock { state in state.asked.values.filter { $0.session == session } }
    for asked in orphaned { asked.answer.finish() }
  }
}
