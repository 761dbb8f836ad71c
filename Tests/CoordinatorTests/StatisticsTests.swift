import Services
import Testing

@testable import Coordinator

/// What functions have carried, asked of their hosts for somebody who waits.
@Suite(.timeLimit(.minutes(1))) struct StatisticsTests {
  private func withClaims(
    _ body: (TestCoordinator, _ web: Assignment, _ db: Assignment) async throws -> Void
  ) async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let claims = coordinator.claims
    var assignments: [Assignment] = []
    try await withAgents([.withCard, .withoutCard], of: coordinator) {
      for (name, host) in [("web", "a"), ("db", "b")] {
        _ = try await claims.createClaim(.ethernet(name, host: host))
        let claim = try await claims.wait(for: name, .ready)
        assignments.append(try #require(claim.status?.assignment))
      }
    }
    // Their sessions end by and by.
    while try await coordinator.inventory.listHosts(ListHostsRequest()).hosts.contains(where: { $0.state == .connected }
    ) { await Task.yield() }
    try await body(coordinator, assignments[0], assignments[1])
    try await coordinator.stop()
  }

  private func counted(_ assignment: Assignment, _ bytes: UInt64) -> FunctionStatistics {
    FunctionStatistics {
      $0.function = assignment.function
      $0.receivedBytes = bytes
    }
  }

  private func read(_ coordinator: TestCoordinator, _ function: String = "") async throws -> [FunctionReading] {
    try await coordinator.inventory.getStatistics(GetStatisticsRequest { $0.function = function }).functions
  }

  @Test func theHostOfEachConsumerIsAsked() async throws {
    try await withClaims { coordinator, web, db in
      var (a, b) = (FakeAgent.withCard, FakeAgent.withoutCard)
      // The card's host counts what it serves, too, and is not asked for it.
      a.counters = [counted(web, 10), counted(db, 99)]
      b.counters = [counted(db, 20)]
      try await withAgents([a, b], of: coordinator) {
        let all = try await read(coordinator)
        #expect(Set(all.map(\.claim)) == ["web", "db"])
        #expect(all.first { $0.claim == "web" }?.statistics?.receivedBytes == 10)
        #expect(all.first { $0.claim == "db" }?.statistics?.receivedBytes == 20)
        #expect(all.first { $0.claim == "db" }?.host == "b")
        #expect(try await read(coordinator, db.function).map(\.statistics?.receivedBytes) == [20])
        let unknown = await rpcError { _ = try await read(coordinator, "ethernet/none/1") }
        #expect(unknown?.code == .notFound)
      }
    }
  }

  @Test func aHostThatIsAwayIsNamedAndTheOthersAnswer() async throws {
    try await withClaims { coordinator, web, db in
      var a = FakeAgent.withCard
      a.counters = [counted(web, 10)]
      try await withAgents([a], of: coordinator) {
        let all = try await read(coordinator)
        #expect(all.first { $0.claim == "web" }?.statistics?.receivedBytes == 10)
        let away = try #require(all.first { $0.claim == "db" })
        #expect(away.statistics == nil && away.problem.contains("host 'b' is disconnected"))
      }
    }
  }

  @Test func aFunctionThatNothingCountsForIsSaidToBeSo() async throws {
    try await withClaims { coordinator, web, _ in
      try await withAgents([.withCard], of: coordinator) {
        let reading = try #require(try await read(coordinator, web.function).first)
        #expect(reading.statistics == nil && reading.problem.contains("nothing on host 'a' counts for it"))
      }
    }
  }

  @Test func nobodyWaitsForAHostThatHangsUp() async throws {
    try await withClaims { coordinator, web, _ in
      var agent = FakeAgent.withCard
      agent.counters = nil
      try await withAgents([agent], of: coordinator) {
        let reading = try #require(try await read(coordinator, web.function).first)
        #expect(reading.problem == "host 'a' disconnected before it answered")
      }
    }
  }
}
