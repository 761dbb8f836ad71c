import Foundation
import Services
import Testing

@testable import Coordinator

/// Who held what, as a coordinator tells it and keeps it.
@Suite(.timeLimit(.minutes(1))) struct AuditTests {
  private let rack = [FakeAgent.withCard, FakeAgent.withoutCard]

  private func holdings(
    of coordinator: TestCoordinator, _ change: (inout ListHoldingsRequest) -> Void = { _ in }
  ) async throws -> ListHoldingsResponse {
    try await coordinator.claims.listHoldings(ListHoldingsRequest(change))
  }

  private func release(_ name: String, of coordinator: TestCoordinator) async throws {
    _ = try await coordinator.claims.deleteClaim(DeleteClaimRequest { $0.name = name })
    // It may be gone before a watch begins.
    while await rpcError({ _ = try await coordinator.claims.getClaim(GetClaimRequest { $0.name = name }) }) == nil {
      await Task.yield()
    }
  }

  @Test func aHoldingIsWrittenDownFromItsGrantToItsProvenEnd() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    try await withAgents(rack, of: coordinator) {
      _ = try await coordinator.claims.createClaim(.ethernet("web"))
      _ = try await coordinator.claims.wait(for: "web", .ready)
      _ = try await coordinator.claims.createClaim(.ethernet("stays"))
      _ = try await coordinator.claims.wait(for: "stays", .ready)
      try await release("web", of: coordinator)
    }
    try await coordinator.stop()

    let second = try await TestCoordinator(in: directory)
    let all = try await holdings(of: second).holdings
    #expect(all.map(\.claim) == ["stays", "web"])
    let (held, ended) = (all[0], all[1])
    #expect(held.ended == nil && held.inUse != nil)
    #expect(ended.granted != nil && ended.inUse != nil && ended.ended != nil)
    #expect(ended.host == "b" && ended.controllingHost == "a" && ended.path == .mediated && ended.token != nil)
    #expect(ended.decision?.preference == 4 && ended.whyEnded == "the claim was deleted; a has let go of it")
    #expect(try await holdings(of: second) { $0.claim = "web" }.holdings == [ended])
    #expect(try await holdings(of: second) { $0.endNode = "a/eth1" }.holdings.count == 2)
    #expect(try await holdings(of: second) { $0.endNode = "ethernet/52:54:00:00:00:01" }.holdings.count == 2)
    #expect(try await holdings(of: second) { $0.host = "z" }.holdings.isEmpty)
    #expect(try await holdings(of: second) { $0.to = Timestamp(seconds: 1) }.holdings.isEmpty)
    let page = try await holdings(of: second) { $0.pageSize = 1 }
    #expect(page.holdings == [held])
    let rest = try await holdings(of: second) { $0.pageToken = page.nextPageToken }
    #expect(rest.holdings == [ended] && rest.nextPageToken.isEmpty)
    let error = await rpcError { _ = try await holdings(of: second) { $0.pageToken = "x" } }
    #expect(error?.code == .invalidArgument)
    try await second.stop()
  }

  @Test func whatIsTooMuchIsForgotten() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    try await withAgents(rack, of: coordinator) {
      _ = try await coordinator.claims.createClaim(.ethernet("web"))
      _ = try await coordinator.claims.wait(for: "web", .ready)
      try await release("web", of: coordinator)
      #expect(try await holdings(of: coordinator).holdings.count == 1)
    }
    try await coordinator.stop()
    let second = try await TestCoordinator(in: directory) { $0.audit.keepHoldings = 0 }
    while try await !holdings(of: second).holdings.isEmpty { await Task.yield() }
    try await second.stop()
  }
}
