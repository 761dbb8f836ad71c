import LinuxDevices
import Logging
import Reconciliation
import Services
import Synchronization

/// The journal on its thread. One that cannot be written is complained of once; nothing is set up until it can, and the
/// rest goes on.
final class JournalKeeper: Sendable {
  private let journal: Mutex<Journal>
  private let storage: BlockingThread
  private let core: AgentCore
  private let logger: Logger

  init(_ journal: Journal, storage: BlockingThread, core: AgentCore, logger: Logger) {
    self.journal = Mutex(journal)
    self.storage = storage
    self.core = core
    self.logger = logger
  }

  func note(_ event: JournalRecord.Event) async { await note { $0.write([event]) } }
  func note(forgotten keys: [FunctionKey]) async { await note { $0.write(keys.map { .forgotten($0) }) } }
  func note(wanted entries: [WantedFunction]) async { await note { $0.write(wanted: entries) } }

  private func note(_ write: @escaping @Sendable (inout Journal) -> Bool) async {
    let (hadProblem, problem) = await onThread { journal in
      let hadProblem = journal.problem != nil
      return write(&journal) ? (hadProblem, nil) : (hadProblem, journal.problem)
    }
    if let problem, !hadProblem { complain(problem) }
  }

  /// Until the task is cancelled: says what is wrong at the start, and mends what can be mended.
  func run() async throws {
    if let problem = await onThread({ $0.problem }) { complain(problem) }
    var delay = RetryDelay(from: .seconds(1), to: .seconds(10))
    while true {
      try await Task.sleep(for: delay.next())
      guard await onThread({ $0.problem != nil && $0.rewrite() }) else { continue }
      delay.reset()
      logger.notice("the journal can be written again")
      core.handle(.written(.journal))
    }
  }

  private func complain(_ problem: String) {
    logger.error(
      "the journal cannot be written: nothing is set up on this host until it can; functions in use stay, and releases go on",
      metadata: ["error": "\(problem)"])
    core.handle(.writingFailed(.journal, reason: problem))
  }

  private func onThread<Value: Sendable>(_ body: @escaping @Sendable (inout Journal) -> Value) async -> Value {
    await withCheckedContinuation { continuation in
      storage.start { [self] in continuation.resume(returning: journal.withLock { body(&$0) }) }
    }
  }
}
