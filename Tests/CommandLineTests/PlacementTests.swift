import ArgumentParser
import Services
import Testing

@testable import iov

/// What is said of where a function is to be.
@Suite struct PlacementTests {
  private func asked(_ arguments: String...) async throws -> ClaimSpecification {
    try await ClaimCommand.Create.asyncParse(["web", "--class", "ethernet", "--host", "a"] + arguments).specification
  }

  @Test func becomesWhatTheClaimAsksFor() async throws {
    let near = try await asked("--locality", "numa", "--numa-node", "1", "--nearest")
    #expect(near.locality?.within == .numaNode && near.locality?.numaNode == 1 && near.locality?.nearest == true)
    #expect(near.placement == nil && !near.upgrade)
    #expect(try await asked("--placement", "pack").placement?.rule == .pack)
    let spread = try await asked("--peers", "mail", "--upgrade")
    #expect(spread.placement?.peers == "mail" && spread.upgrade && spread.locality == nil)
  }

  @Test func whatContradictsItselfIsAnError() async {
    for arguments in [
      ["--locality", "numa"], ["--placement", "pack", "--peers", "mail"], ["--locality", "far"],
      ["--placement", "any"],
    ] {
      await #expect(throws: (any Error).self) {
        _ = try await ClaimCommand.Create.asyncParse(["web", "--class", "ethernet", "--host", "a"] + arguments)
      }
    }
  }

  @Test func isTold() {
    let locality = Locality {
      $0.within = .rack
      $0.nearest = true
    }
    #expect(locality.words == "within the rack, the nearest first")
    #expect(Placement { $0.peers = "mail" }.words == "spread over the peers mail")
    let explanation = ClaimExplanation {
      $0.claim = "web"
      $0.upgrade = "it has the path mediated and wants a better one (direct)"
      $0.options = [
        PlacementOption {
          $0.name = "a/eth1"
          $0.nearness = .rack
          $0.peers = 2
        }
      ]
    }
    #expect(explanation.lines.contains("it has the path mediated and wants a better one (direct)"))
    #expect(explanation.lines.contains { $0.contains("NEARNESS") && $0.contains("PEERS") })
  }
}
