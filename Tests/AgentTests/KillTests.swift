import Glibc
import LinuxDevices
import Services
import Testing

@testable import Agent

/// A point of a step: before the plugin has done it, or after that and before it has answered.
private func points(_ verbs: [String]) -> [String] { verbs.flatMap { ["before-\($0)", "after-\($0)"] } }

@Suite(.timeLimit(.minutes(3))) struct WhateverIsKilled {
  static let settingUp = points(["create", "attach"])
  static let tearingDown = points(["detach", "scrub", "destroy"])

  /// Waits until the coordinator has been told in this run that it is so.
  private func wait(_ coordinator: FakeCoordinator, for phase: FunctionPhase, revision: UInt64) async throws {
    try await coordinator.wait {
      $0.status("f/1")?.phase == phase && $0.status("f/1")?.revision == revision && $0.status("f/1")?.error == nil
    }
  }

  @Test(arguments: settingUp)
  func anAgentKilledWhileItSetsUpGoesOn(at point: String) async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    let hold = try Hold(point, in: stage)
    try await coordinator.want([entry("f/1")])
    try await stage.withCoordinator(coordinator) { endpoint in
      let first = try AgentProcess(stage, endpoint)
      try await hold.reached()
      try await first.kill(stage)
      hold.remove()
      let second = try AgentProcess(stage, endpoint)
      try await wait(coordinator, for: .inUse, revision: 1)
      #expect(stage.functionFiles == ["function-1-1"])
      try await second.kill(stage)
    }
  }

  @Test(arguments: tearingDown)
  func anAgentKilledWhileItTearsDownGoesOn(at point: String) async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1")])
    try await stage.withCoordinator(coordinator) { endpoint in
      let first = try AgentProcess(stage, endpoint)
      try await wait(coordinator, for: .inUse, revision: 1)
      let hold = try Hold(point, in: stage)
      try await coordinator.want([entry("f/1", revision: 2, released: true)])
      try await hold.reached()
      try await first.kill(stage)
      hold.remove()
      let second = try AgentProcess(stage, endpoint)
      try await wait(coordinator, for: .absent, revision: 2)
      #expect(stage.functionFiles.isEmpty)
      try await second.kill(stage)
    }
  }

  @Test(arguments: settingUp)
  func aPluginKilledWhileItSetsUpIsAskedAgain(at point: String) async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    let hold = try Hold(point, in: stage)
    try await coordinator.want([entry("f/1")])
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await hold.reached()
      kill(try #require(stage.pid()), SIGKILL)
      hold.remove()
      try await wait(coordinator, for: .inUse, revision: 1)
      #expect(stage.functionFiles == ["function-1-1"])
    }
  }

  @Test(arguments: tearingDown)
  func aPluginKilledWhileItTearsDownIsAskedAgain(at point: String) async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1")])
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await wait(coordinator, for: .inUse, revision: 1)
      let hold = try Hold(point, in: stage)
      try await coordinator.want([entry("f/1", revision: 2, released: true)])
      try await hold.reached()
      kill(try #require(stage.pid()), SIGKILL)
      hold.remove()
      try await wait(coordinator, for: .absent, revision: 2)
      #expect(stage.functionFiles.isEmpty)
    }
  }

  @Test(arguments: [SIGTERM, SIGINT])
  func anAgentThatIsStoppedDuringAStepEndsAndTheNextGoesOn(by signal: CInt) async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    let hold = try Hold("before-attach", in: stage)
    try await coordinator.want([entry("f/1")])
    try await stage.withCoordinator(coordinator) { endpoint in
      let first = try AgentProcess(stage, endpoint)
      try await hold.reached()
      try first.child.kill(signal)
      #expect(try await first.child.waitUntilExit() == .exited(0))
      #expect(stage.pid().map { kill($0, 0) } == -1)
      hold.remove()
      let second = try AgentProcess(stage, endpoint)
      try await wait(coordinator, for: .inUse, revision: 1)
      try await second.kill(stage)
    }
  }
}
