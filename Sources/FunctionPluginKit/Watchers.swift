import Synchronization

/// Those who are told when something has changed.
public final class Watchers: Sendable {
  private struct State {
    var continuations: [UInt64: AsyncStream<Void>.Continuation] = [:]
    var nextKey: UInt64 = 0
  }

  private let state = Mutex(State())

  public init() {}

  /// A stream with one element for one or many changes, and the key of who reads it.
  public func add() -> (changes: AsyncStream<Void>, key: UInt64) {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let key = state.withLock { state in
      state.nextKey += 1
      state.continuations[state.nextKey] = continuation
      return state.nextKey
    }
    onEnd(of: key) {}
    return (stream, key)
  }

  /// Runs `body` when nobody reads the stream any more.
  public func onEnd(of key: UInt64, _ body: @escaping @Sendable () -> Void) {
    let continuation = state.withLock { $0.continuations[key] }
    continuation?.onTermination = { [weak self] _ in
      self?.state.withLock { $0.continuations[key] = nil }
      body()
    }
  }

  public func changed() {
    for continuation in state.withLock({ Array($0.continuations.values) }) { continuation.yield() }
  }

  /// One of them alone.
  public func changed(for key: UInt64) { state.withLock { $0.continuations[key] }?.yield() }

  /// There is nothing more to tell.
  public func end(_ key: UInt64) { state.withLock { $0.continuations[key] }?.finish() }
}
