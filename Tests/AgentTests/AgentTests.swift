import Glibc
import Services
import Testing

@testable import Agent

@Suite struct AnAgent {
  @Test func setsUpWhatIsWantedAndReleasesIt() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1"), entry("g/2", .server, token: 2), entry("h/3", .consumer, token: 3)])
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await coordinator.wait { coordinator in
        ["f/1", "g/2", "h/3"].allSatisfy { coordinator.status($0)?.phase == .inUse }
      }
      try await coordinator.want([
        entry("f/1", revision: 2, released: true), entry("g/2", .server, token: 2, revision: 2, released: true),
        entry("h/3", .consumer, token: 3, revision: 2, released: true),
      ])
      try await coordinator.wait { coordinator in
        ["f/1", "g/2", "h/3"].allSatisfy {
          coordinator.status($0)?.phase == .absent && coordinator.status($0)?.revision == 2
        }
      }
    }
  }

  @Test func reportsItsEndNodesUnderItsName() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await coordinator.wait { !$0.inventory.endNodes.isEmpty }
      let node = try #require(coordinator.inventory.endNodes.first)
      #expect(node.name == "host-a/device0")
      #expect(node.deviceClass == "test")
      #expect(node.roots.map(\.host) == ["host-a"])
      #expect(node.physicalFunction?.controllingHost == "host-a")
      #expect(coordinator.plugins.map(\.state) == [.serving])
      #expect(coordinator.plugins.map(\.protocolVersion) == [1])
    }
  }

  @Test func takesControlOfItsEndNodesAndSaysSo() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    coordinator.giveControl(token: 5)
    try await coordinator.want([entry("f/1", token: 6)])
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await coordinator.wait { coordinator in
        coordinator.inventory.endNodes.first?.physicalFunction?.controlToken?.value == 5
          && coordinator.status("f/1")?.phase == .inUse
      }
    }
  }

  @Test func leavesFunctionsWhereTheyAreAndFindsThemAgain() async throws {
    let stage = try Stage()
    let first = FakeCoordinator()
    try await first.want([entry("f/1")])
    try await stage.withAgent([stage.plugin()], first) { _ in
      try await first.wait { $0.status("f/1")?.phase == .inUse }
    }
    let second = FakeCoordinator()
    try await stage.withAgent([stage.plugin()], second) { _ in
      try await second.wait { $0.reports.contains { $0.complete } }
      let report = try #require(second.reports.first { $0.complete })
      #expect(report.functions.map(\.phase) == [.inUse])
      #expect(report.functions.first?.function?.token?.value == 1)
      #expect(!report.bootId.isEmpty)
    }
    #expect(first.hellos.first?.host?.instanceId == second.hellos.first?.host?.instanceId)
  }

  @Test func knowsAClassFromItsStartOnceItWasServed() async throws {
    let stage = try Stage()
    let first = FakeCoordinator()
    try await stage.withAgent([stage.plugin()], first) { _ in
      try await first.wait { $0.plugins.first?.state == .serving }
    }
    let second = FakeCoordinator()
    try await stage.withAgent([stage.plugin("silent")], second) { _ in
      try await second.wait { $0.plugins.first?.state == .starting }
      #expect(second.plugins.map(\.deviceClass) == ["test"])
    }
  }

  @Test func startsAPluginAgainThatWasKilled() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1")])
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await coordinator.wait { $0.status("f/1")?.phase == .inUse }
      let pid = try #require(stage.pid())
      kill(pid, SIGKILL)
      // On a busy machine the next report is of the plugin as it serves again; what it keeps saying is why it was started anew.
      try await coordinator.wait { $0.plugins.first?.message.contains("signal 9") == true }
      #expect(coordinator.status("f/1")?.phase == .inUse)
      try await coordinator.wait { $0.plugins.first?.state == .serving }
      #expect(stage.pid() != pid)
      try await coordinator.want([entry("f/1", revision: 2, released: true)])
      try await coordinator.wait { $0.status("f/1")?.phase == .absent }
    }
  }

  @Test func endsItsPluginsWhenItStops() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await stage.withAgent([stage.plugin()], coordinator) { _ in
      try await coordinator.wait { $0.plugins.first?.state == .serving }
    }
    let pid = try #require(stage.pid())
    #expect(kill(pid, 0) == -1 && errno == ESRCH)
  }

  @Test func saysWhyAPluginCouldNotDoAStep() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1")])
    try await stage.withAgent([stage.plugin("refuse")], coordinator) { _ in
      try await coordinator.wait { $0.status("f/1")?.error != nil }
      let error = try #require(coordinator.status("f/1")?.error)
      #expect(error.message == "this plugin refuses everything")
      #expect(error.step == "create")
      #expect(error.host == "host-a")
      #expect(error.permanent)
    }
  }
}

@Suite struct ASession {
  @Test func isRenewedByHeartbeats() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await stage.withAgent([], coordinator) { _ in
      try await coordinator.wait { $0.heartbeatCount >= 3 }
    }
    #expect(coordinator.sessionCount == 1)
  }

  @Test func endsWhenNoHeartbeatIsAnsweredForATerm() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator(answersHeartbeats: false, leaseTermMilliseconds: 1000)
    try await stage.withAgent([], coordinator) { _ in
      try await coordinator.wait { $0.sessionCount >= 2 }
    }
  }

  @Test func ofADeposedLeaderIsRefusedAlsoAfterARestart() async throws {
    let stage = try Stage()
    let leader = FakeCoordinator(epoch: 7)
    try await stage.withAgent([stage.plugin()], leader) { _ in
      try await leader.wait { !$0.reports.isEmpty }
    }
    let deposed = FakeCoordinator(epoch: 6)
    try await deposed.want([entry("f/1")])
    try await stage.withAgent([stage.plugin()], deposed) { agent in
      try await deposed.wait { $0.sessionCount >= 2 }
      #expect(agent.functions.isEmpty)
    }
    #expect(deposed.hellos.first?.highestEpoch == 7)
  }

  @Test func withAnotherClusterIsRefused() async throws {
    let stage = try Stage()
    let own = FakeCoordinator()
    try await stage.withAgent([], own) { _ in
      try await own.wait { !$0.reports.isEmpty }
    }
    let foreign = FakeCoordinator(clusterID: "cluster-2")
    try await stage.withAgent([], foreign) { _ in
      try await foreign.wait { $0.sessionCount >= 2 }
    }
    #expect(foreign.hellos.allSatisfy { $0.clusterId == "cluster-1" })
    #expect(foreign.reports.isEmpty)
  }
}

@Suite struct APluginThat {
  /// The message that the plugin's failure is reported with.
  private func failure(of plugin: (Stage) -> PluginConfiguration) async throws -> String {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    let plugin = plugin(stage)
    try await stage.withAgent([plugin], coordinator) { _ in
      try await coordinator.wait { $0.plugins.first?.state == .failed }
    }
    return coordinator.plugins.first?.message ?? ""
  }

  @Test func isNotExecutableIsNamed() async throws {
    let message = try await failure { stage in
      stage.plugin(executable: stage.file("text", "hello", mode: 0o644))
    }
    #expect(message.contains("is not executable (mode 644): chmod +x it"))
  }

  @Test func isNotThereIsNamed() async throws {
    let message = try await failure { $0.plugin(executable: "/nowhere/plugin") }
    #expect(message.contains("/nowhere/plugin"))
    #expect(message.contains("No such file"))
  }

  @Test func isFalseIsNamed() async throws {
    let message = try await failure { $0.plugin(executable: "/bin/false") }
    #expect(message.contains("/bin/false ended"))
    #expect(message.contains("exit code 1"))
  }

  @Test func diesInTheHandshakeIsQuoted() async throws {
    let message = try await failure { $0.plugin("complain exit") }
    #expect(message.contains("exit code 3 before it answered the handshake"))
    #expect(message.contains("the device is on fire"))
  }

  @Test func neverAnswersIsGivenUp() async throws {
    let message = try await failure { $0.plugin("silent") }
    #expect(message.contains("did not answer the handshake within 15"))
  }

  @Test func speaksAnotherVersionIsRefused() async throws {
    let message = try await failure { $0.plugin("future") }
    #expect(message.contains("speaks versions [9]"))
    #expect(message.contains("this agent speaks [1]"))
  }

  @Test func saysNoClassIsRefused() async throws {
    #expect(try await failure { $0.plugin("no-class") }.contains("says no device class"))
  }

  @Test func isOfAnotherClassThanConfiguredIsRefused() async throws {
    let message = try await failure { stage in
      var plugin = stage.plugin()
      plugin.deviceClass = "sata"
      return plugin
    }
    #expect(message.contains("is of class 'test', and its configuration says deviceClass: 'sata'"))
  }

  @Test func servesAClassThatIsServedAlreadyIsRefused() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await stage.withAgent([stage.plugin(), stage.plugin(name: "twin")], coordinator) { _ in
      try await coordinator.wait {
        $0.plugins.map(\.state).sorted { $0.rawValue < $1.rawValue } == [.serving, .failed]
      }
      let failed = try #require(coordinator.plugins.first { $0.state == .failed })
      #expect(failed.message.contains("serves already"))
    }
  }
}
