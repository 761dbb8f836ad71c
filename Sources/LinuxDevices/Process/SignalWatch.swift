import CLinux

/// Signals as something to wait for, and nothing else that they do.
///
/// A handler counts them, not a signal that is ignored beside a dispatch source: the kernel drops what is ignored, and the
/// source hears nothing of what comes before it is registered, which it is on another thread. Of a signal that comes between
/// `init` and `wait` nothing is lost.
public struct SignalWatch: Sendable {
  private let eventfd: CInt

  /// Watches them for as long as the process lives; a later watch of the same signal takes it over.
  public init(_ numbers: CInt...) throws(SystemCallError) {
    let names = numbers.map(String.init).joined(separator: ", ")
    eventfd = try checked(iov_watch_signals(numbers, CInt(numbers.count)), "watch signals \(names)")
  }

  /// Returns when one of them has come since the last time: several at once are one. Throws `CancellationError` when cancelled.
  public func wait() async throws {
    while try checked(iov_take_signals(eventfd), "read signals") == 0 {
      try await ReadinessWatch.shared.wait(until: .readable, of: eventfd)
    }
  }
}
