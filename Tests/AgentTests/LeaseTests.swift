import Glibc
import LinuxDevices
import Services
import Testing

@testable import Agent

@Suite(.timeLimit(.minutes(2))) struct AnAgentThatIsCutOff {
  @Test func setsNothingUpByOldWordsAfterItWasStoppedForLongerThanItsLease() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator(leaseTermMilliseconds: 1000)
    let held = try Hold("after-create", in: stage)
    try await coordinator.want([entry("f/1")])
    try await stage.withCoordinator(coordinator) { endpoint in
      let agent = try AgentProcess(stage, endpoint)
      // The plugin has yet to answer, and the agent would attach the function next.
      try await held.reached()
      try agent.child.kill(SIGSTOP)
      coordinator.goAway()
      held.remove()
      try await leaseTermPasses()
      try await coordinator.want([entry("f/1", revision: 2, released: true)])
      let attached = try Hold("before-attach", in: stage)
      let detached = try Hold("before-detach", in: stage)
      coordinator.comeBack()
      try agent.child.kill(SIGCONT)
      // Were it attached first, this would never be reached.
      try await detached.reached()
      detached.remove()
      attached.remove()
      try await coordinator.wait { $0.status("f/1")?.phase == .absent }
      try await agent.kill(stage)
    }
  }

  /// On the host's own clock, which no test can turn: a second, as the coordinator of this test grants.
  private func leaseTermPasses() async throws {
    try await Task.sleep(for: .milliseconds(1200), clock: .continuous)
  }

  @Test func letsGoOfWhatAsksForItAndKeepsTheRest() async throws {
    let stage = try Stage()
    // Long enough that a busy machine does not let it run out before the coordinator goes.
    let coordinator = FakeCoordinator(leaseTermMilliseconds: 10_000)
    let wanted = [
      entry("f/1", lossPolicy: .selfFence), entry("g/2", token: 2),
      entry("h/3", .server, token: 3, lossPolicy: .selfFence),
    ]
    try await coordinator.want(wanted)
    try await stage.withAgent([stage.plugin()], coordinator) { agent in
      try await coordinator.wait { coordinator in
        ["f/1", "g/2", "h/3"].allSatisfy { coordinator.status($0)?.phase == .inUse }
      }
      let held = try Hold("after-detach", in: stage)
      coordinator.goAway()
      try await held.reached()
      held.remove()
      coordinator.comeBack()
      try await coordinator.wait { $0.status("f/1")?.error != nil && $0.status("f/1")?.phase == .created }
      #expect(coordinator.status("f/1")?.error?.step == "self-fence")
      #expect(coordinator.status("f/1")?.error?.highestToken?.value == 1)
      #expect(coordinator.status("g/2")?.phase == .inUse && coordinator.status("h/3")?.phase == .inUse)
    }
  }
}
