import CLinux
import Glibc
import LinuxDevices
import Services

/// A plugin's program with its directories, to be started, killed and started again as an agent does.
public struct PluginTrial: Sendable {
  public let program: String
  /// Holds the configuration, and the state and runtime directories.
  public let directory: String
  public let host: String
  public let mediationAddress: String
  /// The network namespace that the program runs in; nil: this process's.
  public let namespace: NetworkNamespace?

  public init(
    program: String, directory: String, configuration: String, host: String, mediationAddress: String,
    namespace: NetworkNamespace? = nil
  ) throws {
    self.program = program
    self.directory = directory
    self.host = host
    self.mediationAddress = mediationAddress
    self.namespace = namespace
    try SmallFile.makeDirectory(directory)
    try SmallFile.replace(directory + "/plugin.yaml", with: Array(configuration.utf8), durably: false)
  }

  public var stateDirectory: String { directory + "/state" }
  public var runtimeDirectory: String { directory + "/runtime" }

  /// Runs the program for the time of `body`, which may kill it. What it left in the kernel and in daemons stays.
  public func run<Value: Sendable>(
    _ body: @Sendable (RunningPlugin) async throws -> Value
  ) async throws -> Value {
    let process = try await BlockingThread.detached { try start() }
    let channel = RPCChannel(.unix(path: socketPath))
    let plugin = RunningPlugin(client: VirtualFunctionsClient(channel), process: process)
    let result: Result<Value, any Error>
    do {
      _ = try await plugin.client.describe(
        DescribeRequest {
          $0.protocolVersions = [1]
          $0.host = host
          $0.mediationAddress = mediationAddress
        })
      result = .success(try await body(plugin))
    } catch {
      result = .failure(error)
    }
    await channel.close()
    try process.kill(SIGKILL)
    try await process.waitUntilExit()
    return try result.get()
  }

  /// As `run`, with SIGKILL after a while, whatever `body` is about then. What fails because of that is no failure.
  public func runKilled(
    after delay: Duration, _ body: @escaping @Sendable (RunningPlugin) async throws -> Void
  ) async throws {
    try await run { plugin in
      let work = Task { try await body(plugin) }
      try await Task.sleep(for: delay)
      try plugin.kill()
      // A call that was not sent yet would wait for a plugin to be there again.
      work.cancel()
      _ = await work.result
    }
  }

  /// A number that the environment gives a test.
  public static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

  private var socketPath: String { directory + "/plugin.sock" }

  private func start() throws -> ChildProcess {
    let listener = iov_unix_listen(socketPath)
    guard listener >= 0 else { throw SystemCallError("listen on \(socketPath)", errno: -listener) }
    let socket = FileDescriptor(owning: listener)
    let log = try FileDescriptor(opening: directory + "/plugin.log", O_WRONLY | O_CREAT | O_APPEND)
    let arguments = [
      "--socket-fd", "\(socket.number)", "--configuration", directory + "/plugin.yaml",
      "--state-directory", stateDirectory, "--runtime-directory", runtimeDirectory,
    ]
    let spawn: @Sendable () throws -> ChildProcess = { [program] in
      try ChildProcess.spawn(
        executable: Self.path(of: program), arguments: arguments, inheriting: [socket.number],
        standardError: log.number)
    }
    return try namespace?.run(spawn) ?? spawn()
  }

  /// Beside the test program.
  private static func path(of program: String) -> String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count)
    let test = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let end = test.lastIndex(of: "/") ?? test.startIndex
    return test[..<end] + "/" + program
  }
}

/// One process of a plugin's program.
public struct RunningPlugin: Sendable {
  public let client: VirtualFunctionsClient
  public let process: ChildProcess

  public func kill() throws { try process.kill(SIGKILL) }

  /// Kibibytes of memory that the process has now.
  public var residentKibibytes: Int {
    let status = SmallFile.text("/proc/\(process.identity.pid)/status") ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    return line.flatMap { $0.split(whereSeparator: \.isWhitespace).dropFirst().first }.flatMap { Int($0) } ?? 0
  }

  public var openDescriptors: Int { SmallFile.names(in: "/proc/\(process.identity.pid)/fd").count }
}
