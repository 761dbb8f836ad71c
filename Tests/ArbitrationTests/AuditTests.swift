import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// What is written down of who held what. That no two entries of one function overlap, and that each grant is there once, the storms
/// look at.
@Suite struct AuditTests {
  @Test func aHoldingIsGrantedUsedAndEnded() throws {
    var world = World.rack()
    world.create("web")
    #expect(world.audit.holdings.count == 1 && world.audit.holdings[0].inUse == nil)
    world.settle()
    world.delete("web")
    #expect(world.audit.holdings[0].ended == nil)
    world.settle()
    let holding = try #require(world.audit.holdings.first)
    #expect(
      holding.claim == "web" && holding.host == "b" && holding.controllingHost == "a" && holding.path == .mediated)
    #expect(holding.tenant == "default" && holding.consumer?.kind == .host(HostConsumer()))
    #expect(holding.granted != nil && holding.inUse != nil && holding.ended != nil && holding.decision?.preference == 4)
    #expect(holding.whyEnded == "the claim was deleted; a has let go of it")
    #expect(world.audit.openKeys.isEmpty && world.audit.problems.isEmpty)
  }

  @Test func anEndIsWrittenDownWhenItIsProven() throws {
    var world = World.rack()
    world.create("web", host: "a")
    world.settle()
    world.disconnect("a")
    world.delete("web")
    world.wait(milliseconds: 60_000)
    #expect(world.audit.holdings[0].ended == nil)
    world.confirmDead("a")
    #expect(world.audit.holdings[0].whyEnded == "the claim was deleted; the run of a that had it is over")
  }

  @Test func whatIsLostAndGrantedAnewIsTwoHoldings() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.reboot("a")
    world.settle()
    world.crash("a")
    world.confirmDead("a")
    world.connect("a")
    world.settle()
    let holdings = world.audit.holdings
    #expect(holdings.map { $0.ended == nil } == [false, true] && world.audit.problems.isEmpty)
    #expect(holdings[0].whyEnded.contains("is dead"))
  }

  @Test func aPlanWritesNothingDown() throws {
    let world = World.rack()
    var arbiter = world.arbiter
    let request = ApplyClaimsRequest {
      $0.claims = [
        CreateClaimRequest {
          $0.name = "web"
          $0.specification = ClaimSpecification {
            $0.deviceClass = "ethernet"
            $0.host = "b"
          }
        }
      ]
    }
    _ = try arbiter.planClaims(request, at: world.now)
    let effects = arbiter.handle(.timePassed, at: world.now)
    #expect(effects.allSatisfy { if case .audit = $0 { false } else { true } })
  }
}
