import CLinux
import Glibc

/// A program that runs to its end while somebody waits: with input, a deadline, and nothing left of it afterwards.
public struct Command: Sendable {
  public var executable: String
  public var arguments: [String]
  /// On its standard input. It is never on a disk and in no list of arguments, so that secrets may be in it.
  public var input: String

  public struct Outcome: Sendable, Hashable {
    /// Nil: it was killed because the time was up.
    public var status: ExitStatus?
    /// What it said on its standard error, the last 4 KiB.
    public var complaints: String
  }

  public init(executable: String, arguments: [String] = [], input: String = "") {
    self.executable = executable
    self.arguments = arguments
    self.input = input
  }

  /// Blocks until the program has ended, or kills it and all that it started in its session.
  public func run(atMost limit: Duration) throws(SystemCallError) -> Outcome {
    guard let path = ChildProcess.path(of: executable) else {
      throw SystemCallError("find program \(executable)", errno: ENOENT)
    }
    let input = try Self.memoryFile("input")
    try SmallFile.append(Array(self.input.utf8), to: input, path: "the input of \(path)")
    try checkedErrno(lseek(input.number, 0, SEEK_SET), "rewind the input of \(path)")
    let complaints = try Self.memoryFile("complaints")
    let pid = withCStrings([executable] + arguments) {
      iov_spawn(path, $0, environ, [], 0, input.number, complaints.number)
    }
    try checked(pid, "start \(path)")
    let status = try Self.wait(for: pid, atMost: limit)
    return Outcome(status: status, complaints: Self.end(of: complaints))
  }

  private static func wait(for pid: pid_t, atMost limit: Duration) throws(SystemCallError) -> ExitStatus? {
    // Nobody has reaped it, so the number is its own, ended or not.
    let process = FileDescriptor(owning: try checked(iov_pidfd_open(pid), "watch process \(pid)"))
    let clock = ContinuousClock()
    let deadline = clock.now + limit
    while true {
      let left = (deadline - clock.now).milliseconds
      let ended = iov_pidfd_wait(process.number, CInt(clamping: max(0, left)))
      if ended == 1 || left <= 0 {
        // Its session's processes too, once it has gone or has to: their number is that of their leader, which nobody
        // else can have while it is not reaped.
        Glibc.kill(-pid, SIGKILL)
        return reap(process, isLate: ended != 1)
      }
    }
  }

  private static func reap(_ process: FileDescriptor, isLate: Bool) -> ExitStatus? {
    // After SIGKILL only a process that hangs in the kernel is still there; it is left to init then.
    guard iov_pidfd_wait(process.number, 10_000) == 1 else { return nil }
    let status = ExitStatus(reaping: process.number)
    return isLate ? nil : status
  }

  private static func memoryFile(_ name: String) throws(SystemCallError) -> FileDescriptor {
    FileDescriptor(owning: try checked(iov_memory_file(name), "make a file in memory"))
  }

  private static func end(of file: FileDescriptor) -> String {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let size = lseek(file.number, 0, SEEK_END)
    let count = pread(file.number, &bytes, bytes.count, max(0, size - off_t(bytes.count)))
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }
}

extension Duration {
  fileprivate var milliseconds: Int64 {
    components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
  }
}
