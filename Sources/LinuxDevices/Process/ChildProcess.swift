import CLinux
import Glibc

/// A program that this process started, in a session of its own: it goes on when this process ends, whatever the reason.
public struct ChildProcess: Sendable {
  public let handle: ProcessHandle
  public var identity: ProcessIdentity { handle.identity }

  /// Starts a program with default signal dispositions and standard input and output from /dev/null.
  ///
  /// - Parameters:
  ///   - executable: a path, or a name to be found along PATH.
  ///   - environment: all of it; nil: this process's.
  ///   - inheriting: descriptors that the program gets under the same numbers. It gets no others.
  ///   - standardError: where its complaints go; nil: where this process's go.
  public static func spawn(
    executable: String, arguments: [String], environment: [String: String]? = nil, inheriting: [CInt] = [],
    standardError: CInt? = nil
  ) throws(SystemCallError) -> ChildProcess {
    guard let path = path(of: executable) else { throw SystemCallError("find program \(executable)", errno: ENOENT) }
    let pid = withCStrings([executable] + arguments) { argv in
      guard let environment else {
        return iov_spawn(path, argv, environ, inheriting, CInt(inheriting.count), -1, standardError ?? STDERR_FILENO)
      }
      return withCStrings(environment.map { "\($0.key)=\($0.value)" }.sorted()) { envp in
        iov_spawn(path, argv, envp, inheriting, CInt(inheriting.count), -1, standardError ?? STDERR_FILENO)
      }
    }
    try checked(pid, "start \(path)")
    return try ChildProcess(startedAs: pid, path: path)
  }

  private init(startedAs pid: pid_t, path: String) throws(SystemCallError) {
    guard let identity = ProcessIdentity(of: pid), let handle = ProcessHandle(identity) else {
      // It has ended already. Nobody else can have reaped it, so this wait does not block.
      var status: CInt = 0
      waitpid(pid, &status, 0)
      let reason = status & 0x7f == 0 ? "exit code \((status >> 8) & 0xff)" : "signal \(status & 0x7f)"
      throw SystemCallError("\(path) ended at once with \(reason)", errno: ECHILD)
    }
    self.handle = handle
  }

  /// Where a program is: the path itself, or the first match along PATH.
  public static func path(of executable: String) -> String? {
    if executable.contains("/") { return access(executable, X_OK) == 0 ? executable : nil }
    let search =
      getenv("PATH").map { String(cString: $0) } ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return search.split(separator: ":").map { "\($0)/\(executable)" }.first { access($0, X_OK) == 0 }
  }

  public func kill(_ signal: CInt) throws(SystemCallError) { try handle.kill(signal) }

  @discardableResult
  public func waitUntilExit() async throws -> ExitStatus { try await handle.waitUntilExit() }

  /// For a process that outlives its purpose here: should it end while this process lives, it does not stay as a zombie.
  /// Whoever waits for it as well may not learn how it ended.
  public func reapAtItsEnd() {
    Task.detached { [handle] in _ = try? await handle.waitUntilExit() }
  }
}

/// A null-terminated array of C strings, valid inside `body`.
func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
  var pointers = strings.map { strdup($0) } + [nil]
  defer { for pointer in pointers { free(pointer) } }
  return pointers.withUnsafeMutableBufferPointer { buffer in
    guard let base = buffer.baseAddress else { preconditionFailure("The array holds at least its terminator.") }
    return body(base)
  }
}
