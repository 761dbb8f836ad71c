import ClaimStore
import Foundation
import Services
import Testing

@testable import Coordinator

@Suite(.timeLimit(.minutes(1))) struct MaintenanceTests {
  private let card = MaintenanceTarget { $0.kind = .endNode("a/eth1") }

  @Test func aDrainTakesFunctionsAwayAndOutlivesTheCoordinator() async throws {
    let directory = try TemporaryDirectory()
    let first = try await TestCoordinator(in: directory)
    try await withAgents([.withCard, .withoutCard], of: first) {
      _ = try await first.claims.createClaim(.ethernet("web"))
      _ = try await first.claims.wait(for: "web", .ready)
      let request = DrainRequest {
        $0.target = card
        $0.reason = "firmware"
        $0.deadlineMilliseconds = 600_000
      }
      let drain = try await first.operations.drain(request).endNode?.cordon?.drain
      #expect(drain?.remaining.map(\.claim) == ["web"])
      #expect(drain?.remaining.first?.stays == false)
      _ = try await first.operations.drain(
        DrainRequest {
          $0.target = card
          $0.evict = true
        })
      let claim = try await first.claims.wait(for: "web", .pending)
      #expect(
        claim.status?.pending.map(\.message) == [
          "was evicted: end node a/eth1 is drained: firmware", "a/eth1 is drained: firmware",
        ])
      _ = try await first.operations.taint(
        TaintRequest {
          $0.target = MaintenanceTarget { $0.kind = .host("b") }
          $0.set = [
            Taint {
              $0.key = "slow"
              $0.effect = .noSchedule
            }
          ]
        })
    }
    try await first.stop()
    let second = try await TestCoordinator(in: directory)
    try await withAgents([.withCard, .withoutCard], of: second) {
      let node = try await second.inventory.listEndNodes(ListEndNodesRequest()).endNodes.first
      #expect(node?.cordon?.reason == "firmware")
      #expect(node?.cordon?.drain?.evicted == 1)
      let host = try await second.inventory.listHosts(ListHostsRequest()).hosts.first { $0.name == "b" }
      #expect(host?.taints.map(\.key) == ["slow"])
      _ = try await second.operations.uncordon(UncordonRequest { $0.target = card })
      _ = try await second.operations.taint(
        TaintRequest {
          $0.target = MaintenanceTarget { $0.kind = .host("b") }
          $0.remove = [Taint { $0.key = "slow" }]
        })
      _ = try await second.claims.wait(for: "web", .ready)
    }
    try await second.stop()
  }

  @Test func refusalsReachTheCaller() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let operations = coordinator.operations
    let unknown = await rpcError { _ = try await operations.cordon(CordonRequest { $0.target = card }) }
    #expect(unknown?.code == .notFound)
    let claim = await rpcError { _ = try await operations.evictClaim(EvictClaimRequest { $0.name = "web" }) }
    #expect(claim?.code == .notFound)
    let rebalance = await rpcError {
      _ = try await operations.rebalance(RebalanceRequest { $0.deviceClass = "ethernet" })
    }
    #expect(rebalance?.code == .notFound)
    try await coordinator.stop()
  }
}
