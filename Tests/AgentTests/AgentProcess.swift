import Glibc
import LinuxDevices
import Services

/// The real program in a process of its own, which can be stopped and killed as an operator's can.
struct AgentProcess {
  let child: ChildProcess

  init(_ stage: Stage, _ coordinator: SocketEndpoint, words: String = "") throws {
    let plugin = stage.plugin(words)
    let configuration = stage.file(
      "agent.yaml",
      """
      host: \(stage.host)
      coordinator: "\(coordinator)"
      stateDirectory: \(stage.state)
      runtimeDirectory: \(stage.directory)/run
      logLevel: critical
      plugins:
        - {name: test, executable: \(plugin.executable), configuration: \(plugin.configuration)}
      """)
    child = try ChildProcess.spawn(executable: Stage.agentProgram, arguments: ["--config", configuration])
  }

  /// Ends it as nothing can be warned of, and waits until it and its plugin are gone.
  func kill(_ stage: Stage) async throws {
    let plugin = stage.pid().flatMap { ProcessIdentity(of: $0) }.flatMap { ProcessHandle($0) }
    try child.kill(SIGKILL)
    try await child.waitUntilExit()
    try await plugin?.waitUntilExit()
  }
}

extension Stage {
  /// Runs the coordinator on a socket of its own while `body` runs.
  func withCoordinator(
    _ coordinator: FakeCoordinator, _ body: @escaping @Sendable (SocketEndpoint) async throws -> Void
  ) async throws {
    var limits = ServerLimits()
    limits.drainTimeout = .zero
    let server = RPCServer(services: [coordinator], limits: limits)
    let endpoint = try await server.bind(.unix(path: directory + "/coordinator.sock"))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      try await body(endpoint)
      group.cancelAll()
    }
  }
}
