import Foundation

/// Makes batches of changes durable in the order in which they come, on a thread of its own.
///
/// A transaction costs one wait for the disk, however much is in it: what is queued while one runs is committed together
/// by the next. Completions run on the queue's thread, in order, each after its own changes are on the disk; they must
/// not block.
public final class CommitQueue: @unchecked Sendable {
  // @unchecked: `condition` guards every variable below; NSCondition is used since its wait blocks a thread, which this
  // class has for the purpose.
  private struct Batch {
    var changes: [StoreChange]
    var completion: @Sendable (Result<Void, StoreError>) -> Void
  }

  private let store: any ClaimStore
  private let condition = NSCondition()
  private var batches: [Batch] = []
  private var isStopping = false
  private var hasStopped = false
  private var waitingForStop: [CheckedContinuation<Void, Never>] = []
  /// Once a commit has failed, the state in memory is ahead of the disk: nothing later may succeed.
  private var failure: StoreError?

  public init(store: any ClaimStore) {
    self.store = store
    let thread = Thread { [self] in run() }
    thread.name = "commits"
    thread.start()
  }

  /// Queues changes; with none, the completion runs after those that were queued before.
  public func enqueue(
    _ changes: [StoreChange], completion: @escaping @Sendable (Result<Void, StoreError>) -> Void
  ) {
    condition.lock()
    let isLate = isStopping
    if !isLate {
      batches.append(Batch(changes: changes, completion: completion))
      condition.signal()
    }
    condition.unlock()
    if isLate { completion(.failure(StoreError(.closed, "the coordinator is stopping"))) }
  }

  /// Commits what is queued, then ends the thread; returns when it has ended.
  public func stop() async {
    await withCheckedContinuation { continuation in
      if !waitForStop(continuation) { continuation.resume() }
    }
  }

  /// False if the thread has ended already.
  private func waitForStop(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
    condition.lock()
    defer { condition.unlock() }
    isStopping = true
    condition.broadcast()
    guard !hasStopped else { return false }
    waitingForStop.append(continuation)
    return true
  }

  private func run() {
    while let batches = next() {
      let result = commit(batches)
      for batch in batches { batch.completion(result) }
    }
    condition.lock()
    hasStopped = true
    let waiting = waitingForStop
    waitingForStop = []
    condition.unlock()
    for continuation in waiting { continuation.resume() }
  }

  /// All that is queued; nil when the queue is to stop and is empty.
  private func next() -> [Batch]? {
    condition.lock()
    defer { condition.unlock() }
    while batches.isEmpty, !isStopping { condition.wait() }
    guard !batches.isEmpty else { return nil }
    let taken = batches
    batches = []
    return taken
  }

  private func commit(_ batches: [Batch]) -> Result<Void, StoreError> {
    if let failure { return .failure(failure) }
    do throws(StoreError) {
      try store.commit(batches.flatMap(\.changes))
      return .success(())
    } catch {
      failure = error
      return .failure(error)
    }
  }
}
