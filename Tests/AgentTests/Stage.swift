import Glibc
import LinuxDevices
import Logging
import Services

@testable import Agent

/// A directory of one test, and the agents that run in it.
final class Stage: Sendable {
  let directory: String
  let host: String

  init(host: String = "host-a") throws {
    self.host = host
    var template = Array("/tmp/iov-agent-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw RPCError(.internalError, "mkdtemp") }
    directory = String(cString: made)
  }

  deinit {
    Self.removeTree(directory)
  }

  private static func removeTree(_ path: String) {
    for name in SmallFile.names(in: path) { removeTree(path + "/" + name) }
    remove(path)
  }

  var state: String { directory + "/state" }

  static let testPlugin = programs + "/TestPlugin"
  static let agentProgram = programs + "/iov-agent"

  /// Where the test program is, and the others beside it.
  private static let programs: String = {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count)
    let program = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let end = program.lastIndex(of: "/") ?? program.startIndex
    return String(program[..<end])
  }()

  func file(_ name: String, _ text: String, mode: mode_t = 0o600) -> String {
    let path = directory + "/" + name
    guard let file = fopen(path, "w") else { return path }
    fputs(text, file)
    fclose(file)
    chmod(path, mode)
    return path
  }

  /// A plugin that behaves as these words say.
  func plugin(_ words: String = "", name: String = "test", executable: String = Stage.testPlugin) -> PluginConfiguration
  {
    PluginConfiguration(name: name, executable: executable, configuration: file("\(name).yaml", words))
  }

  func configuration(
    _ plugins: [PluginConfiguration], coordinator: SocketEndpoint = .unix(path: "/nowhere")
  ) -> AgentConfiguration {
    AgentConfiguration(
      host: host, coordinator: coordinator, plugins: plugins, stateDirectory: state,
      runtimeDirectory: directory + "/run")
  }

  static var logger: Logger {
    var logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    logger.logLevel = .critical
    return logger
  }

  /// Runs an agent and the coordinator while `body` runs.
  func withAgent(
    _ plugins: [PluginConfiguration], _ coordinator: FakeCoordinator, probe: PluginProbe = PluginProbe(),
    _ body: @escaping @Sendable (Agent) async throws -> Void
  ) async throws {
    var limits = ServerLimits()
    limits.drainTimeout = .zero
    let server = RPCServer(services: [coordinator], limits: limits)
    let endpoint = try await server.bind(.unix(path: directory + "/coordinator.sock"))
    let agent = try Agent(
      configuration: configuration(plugins, coordinator: endpoint), probe: probe, logger: Self.logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      try await withThrowingTaskGroup(of: Void.self) { running in
        running.addTask { try await agent.run() }
        try await body(agent)
        running.cancelAll()
        try await running.waitForAll()
      }
      group.cancelAll()
    }
  }

  /// What the test plugin has made: "function-ROLE-TOKEN".
  var functionFiles: [String] {
    SmallFile.names(in: state + "/plugins/test").filter { $0.hasPrefix("function-") }
  }

  /// The process of a test plugin.
  func pid(ofPlugin name: String = "test") -> pid_t? {
    guard let file = fopen("\(state)/plugins/\(name)/pid", "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = fread(&bytes, 1, bytes.count, file)
    return pid_t(String(decoding: bytes[..<count], as: UTF8.self))
  }
}

func entry(
  _ function: String, _ role: Role = .direct, token: UInt64 = 1, revision: UInt64 = 1, released: Bool = false,
  lossPolicy: LossPolicy = .keep
) -> WantedFunction {
  WantedFunction {
    $0.role = role
    $0.revision = revision
    $0.released = released
    $0.assignment = Assignment {
      $0.function = function
      $0.endNode = "test/1"
      $0.deviceClass = "test"
      $0.lossPolicy = lossPolicy
      $0.token = FencingToken { $0.value = token }
    }
  }
}
