import CLinux

/// A TCP connection of another process, watched through a duplicate of its socket.
///
/// A process that has nothing to send does not notice that the other end is gone; the kernel has known it at once. While
/// this value lives the connection stays open, also when the process has ended: hold it no longer than the process.
public struct ProcessConnection: Sendable {
  private let socket: FileDescriptor

  init(_ socket: FileDescriptor) { self.socket = socket }

  /// Whether the other end has closed the connection or is gone.
  public var isHungUp: Bool { iov_is_hung_up(socket.number) == 1 }

  /// Returns when it has. Throws `CancellationError` when cancelled.
  public func waitUntilHungUp() async throws {
    try await ReadinessWatch.shared.wait(until: .hungUp, of: socket.number)
  }
}
