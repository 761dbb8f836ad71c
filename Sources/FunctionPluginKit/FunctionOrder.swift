import Synchronization

/// Lets one verb at a time run for each function, in the order of their arrival.
final class FunctionOrder: Sendable {
  /// Those that wait for each function that is busy.
  private let waiting = Mutex<[String: [CheckedContinuation<Void, Never>]]>([:])

  func inTurn<Value: Sendable>(_ function: String, _ body: () async throws -> Value) async rethrows -> Value {
    await enter(function)
    defer { leave(function) }
    return try await body()
  }

  private func enter(_ function: String) async {
    await withCheckedContinuation { continuation in
      let isFree = waiting.withLock { waiting in
        if waiting[function] == nil {
          waiting[function] = []
          return true
        }
        waiting[function]?.append(continuation)
        return false
      }
      if isFree { continuation.resume() }
    }
  }

  private func leave(_ function: String) {
    let next = waiting.withLock { waiting -> CheckedContinuation<Void, Never>? in
      guard let queue = waiting[function], !queue.isEmpty else {
        waiting[function] = nil
        return nil
      }
      return waiting[function]?.removeFirst()
    }
    next?.resume()
  }
}
