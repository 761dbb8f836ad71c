import Foundation
import Services
import Testing

@testable import Coordinator

/// Sessions of agents over real sockets, when something is wrong with one of them.
@Suite(.timeLimit(.minutes(1))) struct SessionTests {
  private typealias Session = BidirectionalCall<AgentMessage, CoordinatorMessage>

  /// A session whose hello is welcomed, and which says nothing else by itself.
  private func open(_ agent: FakeAgent, _ coordinator: TestCoordinator) async throws -> Session {
    let session = try await AgentSessionsClient(coordinator.channel()).connect()
    try await session.write(AgentMessage { $0.kind = .hello(AgentHello { $0.host = agent.host }) })
    var messages = session.responses.makeAsyncIterator()
    guard case .welcome? = try await messages.next()?.kind else { throw RPCError(.aborted, "no welcome") }
    return session
  }

  private func heartbeatIsAnswered(_ session: Session, _ sequence: UInt64) async throws -> Bool {
    try await session.write(AgentMessage { $0.kind = .heartbeat(Heartbeat { $0.sequence = sequence }) })
    for try await message in session.responses {
      if case .heartbeat(let answer) = message.kind { return answer.sequence == sequence }
    }
    return false
  }

  private func state(of host: String, _ coordinator: TestCoordinator) async throws -> HostState? {
    try await coordinator.inventory.listHosts(ListHostsRequest()).hosts.first { $0.name == host }?.state
  }

  @Test func aSecondMachineOfANameIsToldWhatToDoAndTheFirstIsNotDisturbed() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let first = try await open(.withCard, coordinator)
    for attempt in 1...3 {
      let impostor = FakeAgent("a", address: "10.0.0.9", instance: "another")
      let error = await rpcError { try await impostor.run(coordinator.channel()) }
      #expect(error?.code == .failedPrecondition)
      #expect(error?.message.contains("either another machine has that name, or this agent has lost its state") == true)
      #expect(try await heartbeatIsAnswered(first, UInt64(attempt)))
    }
    let host = try await coordinator.inventory.listHosts(ListHostsRequest()).hosts.first
    #expect(host?.instanceId == "instance-of-a")
    #expect(host?.mediationAddress == "10.0.0.1")
    #expect(host?.state == .connected)
    withExtendedLifetime(first) {}
    try await coordinator.stop()
  }

  @Test func aHalfOpenSessionKeepsWhatItsHostHasAndGivesWayToTheNext() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory()) {
      $0.leaseTermMilliseconds = 1000
      $0.heartbeatIntervalMilliseconds = 200
    }
    let claims = coordinator.claims
    try await withAgents([.withCard, .withoutCard], of: coordinator) {
      _ = try await claims.createClaim(.ethernet("web", host: "a"))
      _ = try await claims.wait(for: "web", .ready)
    }
    let silent = try await open(.withCard, coordinator)
    // The connection stays; nothing comes by it.
    while try await state(of: "a", coordinator) != .disconnected { await Task.yield() }
    let kept = try await claims.getClaim(GetClaimRequest { $0.name = "web" })
    #expect(kept.status?.phase == .ready)

    let next = try await open(.withCard, coordinator)
    #expect(try await state(of: "a", coordinator) == .connected)
    let ended = await rpcError { for try await _ in silent.responses {} }
    #expect(ended?.code == .aborted)
    #expect(ended?.message.contains("has begun another session") == true)
    #expect(try await heartbeatIsAnswered(next, 1))
    #expect(
      try await claims.getClaim(GetClaimRequest { $0.name = "web" }).status?.assignment == kept.status?.assignment)
    try await coordinator.stop()
  }

  @Test func theEndDoesNotWaitForThoseWhoWatchOrDoNotRead() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let watches = try await withThrowingTaskGroup(of: ResponseStream<ClaimEvent>.self) { group in
      for _ in 0..<50 { group.addTask { try await coordinator.claims.watchClaims(WatchClaimsRequest()) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let session = try await open(.withCard, coordinator)
    try await coordinator.stop()
    for watch in watches {
      let error = await rpcError { for try await _ in watch {} }
      #expect(error?.code == .unavailable)
    }
    let ended = await rpcError { for try await _ in session.responses {} }
    #expect(ended?.code == .unavailable)
  }
}
