import ClaimStore
import Foundation
import Services
import Testing

@testable import Coordinator

@Suite(.timeLimit(.minutes(1))) struct OperationsTests {
  private let rack = [FakeAgent.withCard, FakeAgent.withoutCard]

  @Test func theStatusSaysWhereTheStateIs() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    let status = try await coordinator.operations.getStatus(GetStatusRequest())
    #expect(status.cluster?.epoch == 1)
    #expect(status.storePath == directory.file("claims.sqlite"))
    #expect(status.storeBytes > 4096)
    let now = try #require(status.now)
    #expect(now.seconds >= status.started?.seconds ?? .max)
    #expect(abs(Double(now.seconds) - Date().timeIntervalSince1970) < 60)
    try await coordinator.stop()
  }

  @Test func aHostThatIsConfirmedDeadIsForgotten() async throws {
    let log = TestLog()
    let coordinator = try await TestCoordinator(in: TemporaryDirectory(), logger: log.logger) {
      // Long enough for a busy machine.
      $0.leaseTermMilliseconds = 5000
      $0.heartbeatIntervalMilliseconds = 300
    }
    let operations = coordinator.operations
    let request = ConfirmHostDeadRequest { $0.host = "b" }
    try await withAgents(rack, of: coordinator) {
      let alive = await rpcError { _ = try await operations.confirmHostDead(request) }
      #expect(alive?.code == .failedPrecondition)
    }
    var death: HostDeath?
    while death == nil {
      death = try? await operations.confirmHostDead(request).death
      // The lease runs out by itself.
      try await Task.sleep(for: .milliseconds(100))
    }
    #expect(death?.reason == "confirmed by an operator")
    let other = await rpcError {
      _ = try await operations.confirmHostDead(
        ConfirmHostDeadRequest {
          $0.host = "b"
          $0.bootId = "earlier"
        })
    }
    #expect(other?.code == .failedPrecondition)
    _ = try await operations.forgetHost(ForgetHostRequest { $0.host = "b" })
    #expect(try await coordinator.inventory.listHosts(ListHostsRequest()).hosts.map(\.name) == ["a"])
    try await coordinator.stop()
    let deaths = log.lines.filter { $0.hasPrefix("notice host is dead") }
    #expect(deaths == ["notice host is dead boot=boot host=b reason=confirmed by an operator"])
    #expect(log.lines.contains { $0.hasPrefix("notice host forgotten") && $0.contains("host=b") })
  }

  @Test func whatTheStoreHasLostIsAnOrphanThatCanBeAdopted() async throws {
    let first = try await TestCoordinator(in: TemporaryDirectory())
    var claim = Claim()
    try await withAgents(rack, of: first) {
      _ = try await first.claims.createClaim(.ethernet("web", host: "a"))
      claim = try await first.claims.wait(for: "web", .ready)
    }
    try await first.stop()
    let assignment = try #require(claim.status?.assignment)

    let log = TestLog()
    let second = try await TestCoordinator(in: TemporaryDirectory(), logger: log.logger)
    var agent = FakeAgent.withCard
    agent.found = [assignment]
    try await withAgents([agent], of: second) {
      var orphans: [Orphan] = []
      while orphans.isEmpty { orphans = try await second.operations.listOrphans(ListOrphansRequest()).orphans }
      #expect(orphans.map(\.host) == ["a"])
      #expect(orphans.first?.status?.assignment == assignment)
      let adopted = try await second.operations.adoptOrphan(AdoptOrphanRequest { $0.function = assignment.function })
      #expect(adopted.name == "web")
      #expect(try await second.operations.listOrphans(ListOrphansRequest()).orphans.isEmpty)
      let again = await rpcError {
        _ = try await second.operations.purgeOrphan(PurgeOrphanRequest { $0.function = assignment.function })
      }
      #expect(again?.code == .failedPrecondition)
      #expect(again?.message.contains("'web' holds it") == true)
    }
    try await second.stop()
    let line = try #require(log.lines.first { $0.hasPrefix("notice orphan adopted") })
    for part in ["claim=web", "function=\(assignment.function)", "host=a", "token=\(assignment.token?.value ?? 0)"] {
      #expect(line.contains(part))
    }
  }

  @Test func anOrphanThatIsPurgedIsTornDownByItsHost() async throws {
    let log = TestLog()
    let coordinator = try await TestCoordinator(in: TemporaryDirectory(), logger: log.logger)
    var agent = FakeAgent.withCard
    let orphan = Assignment {
      $0.function = "ethernet/52:54:00:00:00:01/7"
      $0.endNode = "ethernet/52:54:00:00:00:01"
      $0.deviceClass = "ethernet"
      $0.host = "a"
      $0.controllingHost = "a"
      $0.path = .directSoftware
      $0.token = FencingToken { $0.value = 7 }
    }
    agent.found = [orphan]
    try await withAgents([agent], of: coordinator) {
      let operations = coordinator.operations
      while try await operations.listOrphans(ListOrphansRequest()).orphans.isEmpty { await Task.yield() }
      let purged = try await operations.purgeOrphan(PurgeOrphanRequest { $0.function = orphan.function })
      #expect(purged.orphans.map(\.releasing) == [true])
      while try await !operations.listOrphans(ListOrphansRequest()).orphans.isEmpty { await Task.yield() }
    }
    try await coordinator.stop()
    let line = try #require(log.lines.first { $0.hasPrefix("notice orphan purged") })
    for part in ["function=\(orphan.function)", "host=a", "token=7"] { #expect(line.contains(part)) }
  }
}
