import CLinux
import Glibc

/// How a child ended.
public enum ExitStatus: Sendable, Hashable, CustomStringConvertible {
  case exited(CInt)
  case killed(signal: CInt)
  /// It was not a child of this process, or another thread reaped it: nobody knows how it ended.
  case unknown

  public var description: String {
    switch self {
    case .exited(let code): "exit code \(code)"
    case .killed(let signal): "signal \(signal)"
    case .unknown: "unknown exit status"
    }
  }
}

/// A running process, child or not, held by a pidfd: signals cannot reach another one that got its number.
public final class ProcessHandle: Sendable {
  public let identity: ProcessIdentity
  private let pidfd: FileDescriptor

  /// The process of this identity; nil when it has ended.
  public init?(_ identity: ProcessIdentity) {
    let descriptor = iov_pidfd_open(identity.pid)
    guard descriptor >= 0 else { return nil }
    pidfd = FileDescriptor(owning: descriptor)
    self.identity = identity
    // After opening: from here on the descriptor and the number mean the same process.
    guard identity.isAlive else { return nil }
  }

  /// Sends a signal; to a process that has ended it does nothing.
  public func kill(_ signal: CInt) throws(SystemCallError) {
    let result = iov_pidfd_send_signal(pidfd.number, signal)
    if result == -ESRCH { return }
    try checked(result, "signal \(signal) to process \(identity.pid)")
  }

  /// Waits until the process has ended, and reaps it if it is a child. Throws `CancellationError` when cancelled.
  @discardableResult
  public func waitUntilExit() async throws -> ExitStatus {
    try await ReadinessWatch.shared.wait(until: .readable, of: pidfd.number)
    return reap()
  }

  /// As `waitUntilExit`, for at most so long; nil when it still runs.
  public func waitUntilExit(atMost limit: Duration) async throws -> ExitStatus? {
    try await withThrowingTaskGroup(of: ExitStatus?.self) { group in
      group.addTask { try await self.waitUntilExit() }
      group.addTask {
        try await Task.sleep(for: limit)
        return nil
      }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
  }

  /// Blocks until the process has ended and reaps it, for at most so long; nil when it still runs.
  public func blockUntilExit(milliseconds: CInt) -> ExitStatus? {
    iov_pidfd_wait(pidfd.number, milliseconds) == 1 ? reap() : nil
  }

  /// SIGKILL, and the proof that it worked. Throws when the process is still there after `limit`: it hangs in the kernel.
  public func killAndWait(atMost limit: Duration = .seconds(10)) async throws {
    try kill(SIGKILL)
    if try await waitUntilExit(atMost: limit) == nil {
      throw SystemCallError("process \(identity.pid) after SIGKILL and \(limit)", errno: ETIMEDOUT)
    }
  }

  /// The process's TCP connection with an address and port, or any port; nil when it has none, or has ended.
  ///
  /// Needs the right to trace the process (ptrace(2)), which root has over what it started.
  public func connection(to address: String, port: UInt16 = 0) throws(SystemCallError) -> ProcessConnection? {
    let descriptor = iov_process_connection(identity.pid, pidfd.number, address, port)
    if descriptor == -ENOENT || descriptor == -ESRCH { return nil }
    try checked(descriptor, "look for the connection of process \(identity.pid)")
    return ProcessConnection(FileDescriptor(owning: descriptor))
  }

  private func reap() -> ExitStatus { ExitStatus(reaping: pidfd.number) }
}

extension ExitStatus {
  /// Takes the status of a child that has ended.
  init(reaping pidfd: CInt) {
    var code: CInt = 0
    var status: CInt = 0
    guard iov_pidfd_reap(pidfd, &code, &status) == 1 else {
      self = .unknown
      return
    }
    self = code == CInt(CLD_EXITED) ? .exited(status) : .killed(signal: status)
  }
}
