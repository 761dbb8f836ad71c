import Glibc
import LinuxDevices
import Services
import Testing

@testable import Agent

@Suite(.timeLimit(.minutes(2))) struct ASupervisedPlugin {
  @Test func thatHangsIsEndedAndStartedAgain() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1")])
    let probe = PluginProbe(interval: .milliseconds(50), deadline: .milliseconds(500))
    try await stage.withAgent([stage.plugin("complain")], coordinator, probe: probe) { _ in
      try await coordinator.wait { $0.status("f/1")?.phase == .inUse }
      let pid = try #require(stage.pid())
      kill(pid, SIGSTOP)
      // On a busy machine no report may tell of the time between its end and its start; what happened is still to be read then.
      try await coordinator.wait {
        stage.pid() != pid && $0.plugins.first?.state == .serving
          && $0.plugins.first?.message.contains("was stuck") == true && $0.status("f/1")?.phase == .inUse
      }
      let message = coordinator.plugins.first?.message ?? ""
      #expect(message.contains("was stuck: it did not answer for 0.5 seconds"))
      #expect(message.contains("the device is on fire"))
      #expect(kill(pid, 0) < 0)
    }
  }

  @Test func thatIsSlowButAnswersIsLeftAlone() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    let held = try Hold("before-create", in: stage)
    try await coordinator.want([entry("f/1")])
    let probe = PluginProbe(interval: .milliseconds(10), deadline: .seconds(10))
    try await stage.withAgent([stage.plugin()], coordinator, probe: probe) { _ in
      try await held.reached()
      try await coordinator.wait { $0.heartbeatCount >= 5 }
      held.remove()
      try await coordinator.wait { $0.status("f/1")?.phase == .inUse }
      #expect(coordinator.inventories.allSatisfy { $0.plugins.first?.state != .failed })
    }
  }

  @Test func thatDiesOverAndOverSaysHowOften() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await stage.withAgent([stage.plugin("complain exit")], coordinator) { _ in
      // On a busy machine one report may tell of two ends.
      try await coordinator.wait {
        let ends = $0.plugins.first?.message.firstMatch(of: /\(([0-9]+) times in the last 10 minutes\)/)?.1
        return ends.flatMap { Int($0) } ?? 0 >= 3
      }
    }
  }

  @Test func isNeverReportedAsServingWithoutItsEndNodes() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await coordinator.wait { $0.plugins.first?.state == .serving }
      let pid = try #require(stage.pid())
      kill(pid, SIGKILL)
      try await coordinator.wait {
        stage.pid() != pid && $0.plugins.first?.state == .serving && $0.plugins.first?.message.isEmpty == false
      }
      #expect(coordinator.inventories.allSatisfy { $0.endNodes.isEmpty == ($0.plugins.first?.state != .serving) })
    }
  }

  /// The test plugin, as a version of its own.
  private func executable(_ version: String, at path: String) throws {
    let source = try FileDescriptor(opening: Stage.testPlugin, O_RDONLY)
    let target = try FileDescriptor(opening: path + ".new", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o700)
    while sendfile(target.number, source.number, nil, 1 << 30) > 0 {}
    let mark = String(repeating: "\0", count: 16) + "version=\(version)"
    try SmallFile.append(Array(mark.utf8), to: target, path: path)
    guard rename(path + ".new", path) == 0 else { throw SystemCallError("rename \(path)", errno: errno) }
  }

  @Test func isUpgradedWithoutTouchingWhatIsInUse() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1")])
    let program = stage.directory + "/plugin"
    try executable("7", at: program)
    try await stage.withAgent([stage.plugin(executable: program)], coordinator) { agent in
      try await coordinator.wait { $0.status("f/1")?.phase == .inUse && $0.plugins.first?.version == "7" }
      let first = stage.pid()
      await agent.restartChangedPlugins()
      #expect(stage.pid() == first)
      let touched = try Hold("before-detach", in: stage)
      try executable("8", at: program)
      await agent.restartChangedPlugins()
      #expect(agent.plugins.first?.version == "8")
      #expect(agent.plugins.first?.message.isEmpty == true)
      #expect(stage.pid() != first)
      try await coordinator.wait { $0.plugins.first?.version == "8" }
      #expect(coordinator.inventories.allSatisfy { $0.plugins.first?.state != .failed })
      #expect(agent.functions.map(\.phase) == [.inUse])
      touched.remove()
    }
  }
}
