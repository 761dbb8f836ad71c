import Services
import Testing

@testable import Coordinator

/// Claims that are explained, planned and applied, over real sockets.
@Suite(.timeLimit(.minutes(1))) struct ApplyTests {
  private let rack = [FakeAgent.withCard, FakeAgent.withoutCard]

  private func request(_ claims: [CreateClaimRequest], replace: Bool = false) -> ApplyClaimsRequest {
    ApplyClaimsRequest {
      $0.claims = claims
      $0.replace = replace
    }
  }

  @Test func aClaimIsExplained() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    try await withAgents(rack, of: coordinator) {
      _ = try await coordinator.claims.createClaim(.ethernet("web"))
      _ = try await coordinator.claims.wait(for: "web", .ready)
      let granted = try await coordinator.claims.explainClaim(ExplainClaimRequest { $0.name = "web" })
      #expect(granted.options.map(\.held) == [true] && granted.decision?.preference == 4)
      #expect(granted.summary.hasSuffix("nothing else fits"))
      var near = CreateClaimRequest.ethernet("near")
      near.specification?.allowedPaths = [.directSoftware]
      _ = try await coordinator.claims.createClaim(near)
      let waits = try await coordinator.claims.explainClaim(ExplainClaimRequest { $0.name = "near" })
      #expect(waits.nearest.first?.obstacles.map(\.remedy) == ["allow the path mediated"])
      let error = await rpcError {
        _ = try await coordinator.claims.explainClaim(ExplainClaimRequest { $0.name = "wbe" })
      }
      #expect(error?.code == .notFound && error?.message.contains("did you mean 'web'?") == true)
    }
    try await coordinator.stop()
  }

  @Test func aPlanChangesNothingAndIsThenCarriedOut() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    try await withAgents(rack, of: coordinator) {
      var file = request([.ethernet("one"), .ethernet("two", host: "a")])
      var plan = try await coordinator.claims.planClaims(file)
      // A host is connected before it has reported what it holds, and controls nothing until it has.
      while plan.claims.contains(where: { $0.claim?.status?.pending.first?.filter == "controlling-host" }) {
        await Task.yield()
        plan = try await coordinator.claims.planClaims(file)
      }
      #expect(plan.claims.map(\.action) == [.create, .create])
      #expect(plan.claims.map { $0.claim?.status?.assignment?.path } == [.mediated, .directSoftware])
      #expect(try await coordinator.claims.listClaims(ListClaimsRequest()).claims.isEmpty)
      file.planRevision = plan.revision
      let applied = try await coordinator.claims.applyClaims(file)
      #expect(
        applied.claims.map { $0.claim?.status?.assignment?.function }
          == plan.claims.map { $0.claim?.status?.assignment?.function })
      for name in ["one", "two"] { _ = try await coordinator.claims.wait(for: name, .ready) }
      let stale = await rpcError { _ = try await coordinator.claims.applyClaims(file) }
      #expect(stale?.code == .aborted && stale?.message.contains("make a new plan") == true)
    }
    try await coordinator.stop()

    // It is as durable as claims that are made one by one.
    let second = try await TestCoordinator(in: directory)
    #expect(try await second.claims.listClaims(ListClaimsRequest()).claims.map(\.name) == ["one", "two"])
    try await second.stop()
  }

  @Test func whatIsPrintedCanBeAppliedAgainAndAnythingElseIsToldApart() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    try await withAgents(rack, of: coordinator) {
      _ = try await coordinator.claims.createClaim(.ethernet("web"))
      let ready = try await coordinator.claims.wait(for: "web", .ready)
      var again = CreateClaimRequest {
        $0.name = "web"
        $0.specification = ready.specification
      }
      #expect(try await coordinator.claims.applyClaims(request([again])).claims.map(\.action) == [.unchanged])
      again.specification?.attributes = Attributes {
        $0.ethernet = EthernetAttributes { $0.maxTransmitBitsPerSecond = 1_000_000 }
      }
      #expect(try await coordinator.claims.applyClaims(request([again])).claims.map(\.action) == [.update])
      again.specification?.host = "a"
      let error = await rpcError { _ = try await coordinator.claims.applyClaims(request([again, .ethernet("more")])) }
      #expect(error?.code == .failedPrecondition && error?.message.hasPrefix("nothing was done.") == true)
      #expect(
        await rpcError { _ = try await coordinator.claims.getClaim(GetClaimRequest { $0.name = "more" }) }?.code
          == .notFound)
      let replaced = try await coordinator.claims.applyClaims(request([again], replace: true))
      #expect(replaced.claims.map(\.action) == [.replace])
      // It may be gone before a watch begins.
      while await rpcError({ _ = try await coordinator.claims.getClaim(GetClaimRequest { $0.name = "web" }) }) == nil {
        await Task.yield()
      }
      #expect(try await coordinator.claims.applyClaims(request([again])).claims.map(\.action) == [.create])
      #expect(try await coordinator.claims.wait(for: "web", .ready).status?.assignment?.host == "a")
    }
    try await coordinator.stop()
  }
}
