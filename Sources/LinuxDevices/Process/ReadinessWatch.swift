import CLinux
import Glibc
import Synchronization

/// Waits for descriptors to become readable (pidfds: for processes to end) or to be hung up, on one thread for all of them.
final class ReadinessWatch: Sendable {
  static let shared = ReadinessWatch()

  private typealias Waiter = CheckedContinuation<Void, any Error>
  private struct State {
    var waiters: [UInt64: Waiter] = [:]
    var nextKey: UInt64 = 1
  }

  private let epoll: CInt
  private let state = Mutex(State())

  private init() {
    epoll = iov_epoll_create()
    precondition(epoll >= 0, "epoll_create1: \(SystemCallError.reason(-epoll))")
    startThread(named: "iov-readiness", stackBytes: 128 << 10) { [self] in loop() }
  }

  /// What is waited for.
  enum Condition {
    case readable
    /// The other end of a socket has closed it.
    case hungUp
  }

  func wait(until condition: Condition, of descriptor: CInt) async throws {
    // A duplicate: several may wait for one descriptor, and epoll knows each only once.
    let duplicate = FileDescriptor(
      owning: try checkedErrno(fcntl(descriptor, F_DUPFD_CLOEXEC, 3), "duplicate descriptor"))
    let key = state.withLock { state in
      defer { state.nextKey += 1 }
      return state.nextKey
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        state.withLock { $0.waiters[key] = continuation }
        let result =
          condition == .readable
          ? iov_epoll_add_once(epoll, duplicate.number, key) : iov_epoll_add_hang_up_once(epoll, duplicate.number, key)
        if result < 0 {
          resume(key, .failure(SystemCallError("epoll_ctl", errno: -result)))
        } else if Task.isCancelled {
          // The handler may have run before there was a waiter.
          resume(key, .failure(CancellationError()))
        }
      }
    } onCancel: {
      resume(key, .failure(CancellationError()))
    }
    withExtendedLifetime(duplicate) {}
  }

  private func resume(_ key: UInt64, _ result: Result<Void, any Error>) {
    state.withLock { $0.waiters.removeValue(forKey: key) }?.resume(with: result)
  }

  private func loop() {
    var key: UInt64 = 0
    while true {
      if iov_epoll_wait(epoll, &key) == 1 { resume(key, .success(())) }
    }
  }
}
