import Synchronization

/// A channel's state for those who watch it, from any thread.
final class ChannelStates: Sendable {
  private struct Board {
    var state = ChannelState.idle
    var watchers: [UInt64: AsyncStream<ChannelState>.Continuation] = [:]
    var nextWatcher: UInt64 = 0
  }

  private let board = Mutex(Board())

  var current: ChannelState { board.withLock { $0.state } }

  func change(to state: ChannelState) {
    board.withLock { board in
      guard state != board.state else { return }
      board.state = state
      for watcher in board.watchers.values { watcher.yield(state) }
    }
    guard state == .shutdown else { return }
    // Outside the lock, because a watcher's end takes it.
    let watchers = board.withLock { board in
      defer { board.watchers = [:] }
      return Array(board.watchers.values)
    }
    for watcher in watchers { watcher.finish() }
  }

  /// The state now, and each one that follows until the channel is shut down. A watcher that does not keep up misses the
  /// older ones.
  func watch() -> AsyncStream<ChannelState> {
    let (stream, watcher) = AsyncStream.makeStream(of: ChannelState.self, bufferingPolicy: .bufferingNewest(64))
    let number = board.withLock { board -> UInt64? in
      watcher.yield(board.state)
      guard board.state != .shutdown else { return nil }
      board.nextWatcher += 1
      board.watchers[board.nextWatcher] = watcher
      return board.nextWatcher
    }
    guard let number else {
      watcher.finish()
      return stream
    }
    watcher.onTermination = { [weak self] _ in self?.board.withLock { $0.watchers[number] = nil } }
    return stream
  }
}
