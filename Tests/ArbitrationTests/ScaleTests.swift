import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct ScaleTests {
  /// A decision looks at the end nodes of one class, so that it must not matter how many claims there are already.
  @Test func theThousandthClaimIsGrantedLikeTheFirst() {
    var world = World()
    for number in 0..<20 {
      var host = FakeHost("host-\(number)", address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin()]
      host.endNodes = [card("ethernet/\(number)", functions: 100)]
      world.add(host)
    }
    for number in 0..<1000 { world.create("claim-\(number)", host: "host-\(number % 20)") }
    let nodes = world.arbiter.listedEndNodes
    #expect(nodes.reduce(0) { $0 + ($1.used?.functions ?? 0) } == 1000)
    #expect(nodes.allSatisfy { $0.used?.functions == 50 })
    #expect(world.arbiter.listedClaims.allSatisfy { $0.status?.assignment?.path == .directSoftware })
  }

  private func busyRack(waiting count: Int) -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 1)]
    world.reportInventory("a")
    world.create("holder", host: "a")
    world.settle()
    for number in 0..<count { world.create("claim-\(number)", host: "b") }
    return world
  }

  @Test func aReleaseGrantsToTheOldestAndLeavesTheOthersAlone() {
    var world = busyRack(waiting: 200)
    let before = world.watched.count
    world.delete("holder")
    world.settle()
    #expect(world.phase("claim-0") == .ready)
    let changed = world.watched[before...].map { effect in
      switch effect {
      case .claimChanged(let claim), .claimGone(let claim): claim.name
      default: ""
      }
    }
    #expect(Set(changed) == ["holder", "claim-0"])
  }

  @Test func manyThatWaitSayWhyLittleByLittle() {
    var world = busyRack(waiting: 200)
    world.disconnect("b")
    for _ in 0..<4 { world.wait(milliseconds: 250) }
    let reasons = world.arbiter.listedClaims.compactMap { $0.status?.pending.first?.filter }
    #expect(reasons.count == 200)
    #expect(Set(reasons) == ["host"])
  }
}
