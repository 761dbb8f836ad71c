import Messages
import Testing

@testable import Arbitration
@testable import Simulation

extension World {
  fileprivate mutating func rebalance(planOnly: Bool = false, stop: Bool = false) -> RebalanceAnswer {
    let request = RebalanceRequest {
      $0.deviceClass = "ethernet"
      $0.planOnly = planOnly
      $0.stop = stop
    }
    guard case .success(.rebalance(let answer)) = ask({ .rebalanced($0, request) }) else { return RebalanceAnswer() }
    return answer
  }

  fileprivate func count(_ id: String) -> UInt32? { arbiter.listedEndNodes.first { $0.id == id }?.used?.functions }
}

/// Six claims on the card of a, and a card of c that comes later.
private func world(_ policy: EvictionPolicy = .anyTime) -> World {
  var world = World.rack()
  world.hosts["a"]?.endNodes = [card("ethernet/a", functions: 8)]
  world.reportInventory("a")
  for number in 1...6 { world.create("claim-\(number)") { $0.evictionPolicy = policy } }
  world.settle()
  world.hosts["c"]?.endNodes.append(card("ethernet/c", functions: 8))
  world.reportInventory("c")
  world.settle()
  return world
}

@Suite struct Rebalancing {
  @Test func isPlannedWithTheFewestMoves() {
    var world = world()
    let before = world.arbiter.listedClaims
    let plan = world.rebalance(planOnly: true)
    #expect(plan.moves.count == 3)
    #expect(Set(plan.moves.map(\.claim)).count == 3)
    #expect(plan.moves.allSatisfy { $0.fromEndNode == "ethernet/a" && $0.toEndNode == "ethernet/c" })
    #expect(plan.loads.map(\.functions).sorted() == [0, 0, 6] || plan.loads.map(\.functions).sorted() == [0, 6])
    #expect(!plan.running)
    #expect(plan.fixed == 0)
    #expect(world.arbiter.listedClaims == before)
  }

  @Test func leavesThoseWhoseTenantHasMoreThanItsQuota() throws {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/a", functions: 8)]
    world.reportInventory("a")
    world.createTenant("lab")
    for number in 1...6 { world.create("claim-\(number)") { ($0.evictionPolicy, $0.tenant) = (.anyTime, "lab") } }
    world.settle()
    world.hosts["c"]?.endNodes.append(card("ethernet/c", functions: 8))
    world.reportInventory("c")
    world.settle()
    _ = try world.setTenant("lab", functions: 5, force: true).get()
    #expect(world.rebalance(planOnly: true).moves.isEmpty)
    _ = try world.setTenant("lab", functions: 6).get()
    #expect(world.rebalance(planOnly: true).moves.count == 3)
  }

  @Test func isDoneOneMoveAfterTheOther() {
    var world = world()
    #expect(world.rebalance().running)
    #expect(world.arbiter.listedClaims.filter { $0.status?.phase != .ready }.count == 1)
    // Asking again does not send a second one on its way.
    #expect(world.rebalance().running)
    #expect(world.arbiter.listedClaims.filter { $0.status?.phase != .ready }.count == 1)
    for _ in 0..<6 {
      world.settle()
      world.pass(milliseconds: 1000)
      #expect(world.arbiter.listedClaims.filter { $0.status?.phase != .ready }.count <= 1)
    }
    world.settle()
    #expect(world.count("ethernet/a") == 3)
    #expect(world.count("ethernet/c") == 3)
    let plan = world.rebalance(planOnly: true)
    #expect(plan.moves.isEmpty)
    #expect(!plan.running)
  }

  @Test func movesOnlyWhatAllowsIt() {
    var world = world(.drain)
    let answer = world.rebalance()
    #expect(answer.moves.isEmpty)
    #expect(!answer.running)
    #expect(answer.fixed == 5)
    world.create("willing") { $0.evictionPolicy = .anyTime }
    world.settle()
    #expect(world.endNode("willing") == "ethernet/c")
    #expect(world.rebalance().moves.isEmpty)
  }

  @Test func endsWhenItIsStopped() {
    var world = world()
    _ = world.rebalance()
    #expect(!world.rebalance(stop: true).running)
    for _ in 0..<4 {
      world.settle()
      world.pass(milliseconds: 1000)
    }
    #expect(world.count("ethernet/c") == 1)
  }

  @Test func endsWhereAMoveDoesNot() {
    var world = world()
    world.hosts["a"]?.isStuck = true
    _ = world.rebalance()
    world.pass(milliseconds: 130_000)
    world.hosts["a"]?.isStuck = false
    world.settle()
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(world.count("ethernet/c") == 1)
    #expect(!world.rebalance(planOnly: true).running)
  }

  @Test func ofNothingIsRefused() {
    var world = World.rack()
    let refusal = world.ask { .rebalanced($0, RebalanceRequest { $0.deviceClass = "nvme" }) }.refusal
    #expect(refusal?.code == .notFound)
  }
}
