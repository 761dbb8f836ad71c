import CLinux
import ClusterSecurity
import Glibc
import LinuxDevices
import Logging
import Services
import Synchronization

/// A plugin's process. It gets a socket that listens already, and a pipe whose other end this agent holds: when the agent
/// is gone, however it went, the plugin reads the pipe's end and goes, too. What it made stays.
final class PluginProcess: Sendable {
  let endpoint: SocketEndpoint
  let complaints: StandardErrorReader
  private let child: ChildProcess
  private let socketPath: String
  private let parentPipe: Mutex<FileDescriptor?>
  private let exitStatus = Mutex<ExitStatus?>(nil)

  private init(
    _ child: ChildProcess, socketPath: String, parentPipe: FileDescriptor, complaints: StandardErrorReader
  ) {
    self.child = child
    self.socketPath = socketPath
    endpoint = .unix(path: socketPath)
    self.parentPipe = Mutex(parentPipe)
    self.complaints = complaints
  }

  /// Blocks shortly on the file system.
  ///
  /// - Throws: `PluginFailure` if the program ends at once; `SystemCallError` if it cannot be started.
  static func start(
    _ plugin: PluginConfiguration, of agent: AgentConfiguration, peerSubject: String?, logger: Logger
  ) async throws -> PluginProcess {
    let socketPath = agent.socketPath(ofPlugin: plugin.name)
    try SmallFile.makeDirectory(agent.stateDirectory(ofPlugin: plugin.name))
    try SmallFile.makeDirectory(agent.runtimeDirectory + "/plugins")
    let socket = try ListeningSocket.make(socketPath)
    let parent = try Pipe()
    let (child, complaints) = try spawn(plugin, of: agent, peerSubject, socket, parent, logger)
    switch child {
    case .success(let child):
      return PluginProcess(
        child, socketPath: socketPath, parentPipe: parent.writeEnd, complaints: complaints)
    case .failure(let error) where error.errno == ECHILD:
      unlink(socketPath)
      throw PluginFailure(
        "\(error.operation) before it answered the handshake", complaints: await complaints.lastWords())
    case .failure(let error):
      unlink(socketPath)
      throw error
    }
  }

  /// The writing end of standard error is the child's alone when this returns, so that its end can be read.
  private static func spawn(
    _ plugin: PluginConfiguration, of agent: AgentConfiguration, _ peerSubject: String?, _ socket: FileDescriptor,
    _ parent: Pipe, _ logger: Logger
  ) throws -> (Result<ChildProcess, SystemCallError>, StandardErrorReader) {
    let standardError = try Pipe()
    let complaints = try StandardErrorReader(standardError.readEnd, logger: logger)
    let arguments =
      plugin.arguments + [
        "--socket-fd", "\(socket.number)", "--configuration", plugin.configuration,
        "--state-directory", agent.stateDirectory(ofPlugin: plugin.name),
        "--runtime-directory", agent.runtimeDirectory(ofPlugin: plugin.name),
        "--parent-pipe-fd", "\(parent.readEnd.number)",
      ] + tlsArguments(agent.tls, peerSubject)
    let child = Result { () throws(SystemCallError) in
      try ChildProcess.spawn(
        executable: plugin.executable, arguments: arguments, inheriting: [socket.number, parent.readEnd.number],
        standardError: standardError.writeEnd.number)
    }
    return (child, complaints)
  }

  private static func tlsArguments(_ tls: TLSSettings?, _ peerSubject: String?) -> [String] {
    guard let tls, let peerSubject else { return [] }
    return [
      "--tls-certificate", tls.certificate, "--tls-key", tls.key, "--tls-trust-roots", tls.trustRoots,
      "--tls-peer-subject", peerSubject,
    ]
  }

  /// How it ended. The kernel says it once, so it is kept for whoever asks again.
  func waitUntilExit() async throws -> ExitStatus {
    if let known = exitStatus.withLock({ $0 }) { return known }
    let status = try await child.handle.waitUntilExit()
    exitStatus.withLock { $0 = status }
    return status
  }

  /// As it ended, if it does within the time.
  func waitUntilExit(atMost limit: Duration) async -> ExitStatus? {
    // Not cancelled with the caller: how a plugin ends matters most when all is being stopped.
    await Task {
      await withTaskGroup(of: ExitStatus?.self) { group in
        group.addTask { try? await self.waitUntilExit() }
        group.addTask {
          try? await Task.sleep(for: limit)
          return nil
        }
        defer { group.cancelAll() }
        return await group.next() ?? nil
      }
    }.value
  }

  /// Ends a process that does not answer. First by SIGABRT, which the Swift runtime answers with a backtrace and the kernel
  /// with a core dump where they are switched on; one that is stopped has to go on for that.
  func abort() async {
    try? child.handle.kill(SIGABRT)
    try? child.handle.kill(SIGCONT)
    if await waitUntilExit(atMost: .seconds(5)) == nil { try? child.handle.kill(SIGKILL) }
  }

  /// Lets it end by itself, and kills it if it does not.
  func stop(patience: Duration) async {
    parentPipe.withLock { $0 = nil }
    if await waitUntilExit(atMost: patience) == nil {
      try? child.handle.kill(SIGKILL)
      _ = await waitUntilExit(atMost: .seconds(5))
    }
    complaints.stop()
    unlink(socketPath)
  }
}

/// The two ends of a pipe, both close-on-exec.
struct Pipe {
  let readEnd: FileDescriptor
  let writeEnd: FileDescriptor

  init() throws {
    var ends: [CInt] = [-1, -1]
    guard iov_pipe(&ends) == 0 else { throw SystemCallError("make a pipe", errno: errno) }
    readEnd = FileDescriptor(owning: ends[0])
    writeEnd = FileDescriptor(owning: ends[1])
  }
}

enum ListeningSocket {
  /// A Unix socket that listens at `path`, which only this user can connect to. What was at the path is replaced: the
  /// directory is this agent's own.
  static func make(_ path: String) throws -> FileDescriptor {
    let number = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { throw SystemCallError("make a socket", errno: errno) }
    let descriptor = FileDescriptor(owning: number)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard path.utf8.count < room else { throw SystemCallError("listen on \(path)", errno: ENAMETOOLONG) }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    unlink(path)
    // Before bind(2): Linux gives the file the mode of the socket, so there is no moment in which others could connect.
    fchmod(number, 0o600)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0, listen(number, 16) == 0 else { throw SystemCallError("listen on \(path)", errno: errno) }
    return descriptor
  }
}
