import Services
import Testing

@testable import Agent

@Suite struct AnAgentThatIsAskedForStatistics {
  private func withFunctions(
    _ words: String = "", _ body: @escaping @Sendable (FakeCoordinator) async throws -> Void
  ) async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1"), entry("g/2", .consumer, token: 2)])
    try await stage.withAgent([stage.plugin(words)], coordinator) { _ in
      try await coordinator.wait { $0.status("f/1")?.phase == .inUse && $0.status("g/2")?.phase == .inUse }
      try await body(coordinator)
    }
  }

  @Test func answersWhatItsPluginCounts() async throws {
    try await withFunctions { coordinator in
      try await coordinator.ask(1, of: "test")
      try await coordinator.ask(2, of: "test", function: "g/2")
      try await coordinator.wait { $0.answer(1) != nil && $0.answer(2) != nil }
      #expect(coordinator.answer(1)?.functions.map(\.receivedBytes).sorted() == [1001, 1002])
      #expect(coordinator.answer(1)?.problem == "")
      #expect(coordinator.answer(2)?.functions.map(\.function) == ["g/2"])
    }
  }

  @Test func saysThatNothingServesTheClass() async throws {
    try await withFunctions { coordinator in
      try await coordinator.ask(1, of: "sas")
      try await coordinator.wait { $0.answer(1) != nil }
      #expect(coordinator.answer(1)?.problem.contains("no plugin on host 'host-a' serves the class 'sas'") == true)
    }
  }

  @Test func saysThatItsPluginCountsNothing() async throws {
    try await withFunctions("counts-nothing") { coordinator in
      try await coordinator.ask(1, of: "test")
      try await coordinator.wait { $0.answer(1) != nil }
      #expect(coordinator.answer(1)?.problem == "the plugin of class 'test' on host 'host-a' counts nothing")
    }
  }
}
