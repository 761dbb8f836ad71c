import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Who waits is served by priority, and may have others of lower ones let go.
@Suite struct PreemptionTests {
  private static let id = "ethernet/52:54:00:00:00:01"

  /// A card of which all is taken, by claims of these priorities.
  private func fullRack(_ priorities: [Int32]) -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card(Self.id, functions: UInt32(priorities.count))]
    world.reportInventory("a")
    for (number, priority) in priorities.enumerated() { create(&world, "low-\(number)", priority) }
    world.settle()
    return world
  }

  private func create(
    _ world: inout World, _ name: String, _ priority: Int32, _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) {
    world.create(name) {
      $0.priority = priority
      change(&$0)
    }
  }

  private func endNode(_ claim: String, _ world: World) -> String? {
    world.claim(claim)?.status?.assignment?.endNode
  }

  private func hasLetGo(_ world: World) -> [String] {
    world.arbiter.listedClaims.filter { $0.status?.phase == .reclaiming || $0.status?.phase == .pending }.map(\.name)
  }

  /// Who lets go for a claim has another one let go, and a plan tells of both.
  @Test func aPlanSaysWhatComesOfItInTheEnd() throws {
    var world = fullRack([1])
    world.hosts["c"]?.endNodes = [card("ethernet/c", functions: 1)]
    world.reportInventory("c")
    world.settle()
    create(&world, "least", 0)
    world.settle()
    try #require(endNode("least", world) == "ethernet/c")
    let request = CreateClaimRequest {
      $0.name = "urgent"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = "b"
        $0.priority = 2
        $0.selector = "id == '\(Self.id)'"
      }
    }
    let plan = try world.plan([request])
    #expect(plan.claims.map { $0.claim?.status?.phase } == [.pending])
    #expect(plan.claims.map { $0.later?.status?.assignment?.endNode } == [Self.id])
    #expect(plan.claims.map { $0.later?.uid } == [""])
    #expect(plan.others.map(\.name) == ["low-0", "least"])
    #expect(plan.others.map { $0.claim?.status?.phase } == [.reclaiming, .ready])
    #expect(plan.others.map { $0.later?.status?.assignment?.endNode } == ["ethernet/c", nil])
    #expect(
      plan.others[1].later?.status?.pending.first?.message
        == "was evicted: claim 'low-0' of priority 1 needs it, and its own is 0")
    #expect(world.phase("low-0") == .ready && world.phase("least") == .ready && world.claim("urgent") == nil)

    world.apply([request])
    world.settle()
    #expect(endNode("urgent", world) == Self.id && endNode("low-0", world) == "ethernet/c")
    #expect(world.phase("least") == .pending)
  }

  @Test func theHighestThatWaitsIsNext() {
    var world = fullRack([5])
    for (name, priority) in [("old", 1), ("urgent", 4), ("middle", 3)] as [(String, Int32)] {
      create(&world, name, priority)
    }
    world.delete("low-0")
    world.settle()
    #expect(world.phase("urgent") == .ready)
    world.delete("urgent")
    world.settle()
    #expect(world.phase("middle") == .ready && world.phase("old") == .pending)
  }

  @Test func aHigherOneTakesFromTheLowestAndOfThoseFromTheYoungest() throws {
    var world = fullRack([1, 0, 0, 2])
    create(&world, "urgent", 2)
    #expect(hasLetGo(world) == ["low-2", "urgent"])
    #expect(world.claim("urgent")?.status?.preemption?.claims == ["low-2"])
    #expect(
      world.reasons("urgent").first?.hasPrefix("'low-2' has yet to let go of what it takes of a/eth1 for it") == true)
    let summary = try world.arbiter.explanation(of: "urgent").summary
    #expect(summary == "it waits: \(world.reasons("urgent")[0])")
    #expect(
      world.reasons("low-2").first == "was evicted: claim 'urgent' of priority 2 needs it, and its own is 0")
    world.settle()
    #expect(world.phase("urgent") == .ready && world.claim("urgent")?.status?.preemption == nil)
    #expect(world.phase("low-2") == .pending)
    let ended = world.audit.holdings.first { $0.claim == "low-2" }?.whyEnded
    #expect(ended?.hasPrefix("was evicted: claim 'urgent' of priority 2 needs it") == true)
    #expect(world.arbiter.nominations.isEmpty)
  }

  /// It would not fit where nobody was left.
  @Test func oneThatAsksForWhatOthersUseHasOneOfThemLetGo() {
    var world = fullRack([0, 0])
    create(&world, "urgent", 1) { $0.selector = "used.functions > 0" }
    #expect(world.claim("urgent")?.status?.preemption?.claims == ["low-1"])
    world.settle()
    #expect(world.phase("urgent") == .ready && world.phase("low-0") == .ready)
    // Both would have to go.
    create(&world, "more", 1) {
      $0.selector = "used.functions > 1"
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = 10_000_000_000 } }
    }
    #expect(world.phase("more") == .pending && world.claim("more")?.status?.preemption == nil)
  }

  @Test func nobodyIsTakenAnythingWhereThatWouldNotBeAllowedOrNotHelp() {
    var world = fullRack([1, 1])
    create(&world, "equal", 1)
    create(&world, "patient", 5) { $0.preemption = .never }
    create(&world, "wide", 5) { $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.mtu = 9000 } } }
    create(&world, "elsewhere", 5) { $0.selector = "used.functions > 7" }
    #expect(hasLetGo(world) == ["elsewhere", "equal", "patient"])
    var kept = fullRack([])
    kept.hosts["a"]?.endNodes = [card(Self.id, functions: 1)]
    kept.reportInventory("a")
    create(&kept, "kept", 0) { $0.evictionPolicy = .never }
    kept.settle()
    create(&kept, "urgent", 5)
    #expect(kept.phase("kept") == .ready && kept.claim("urgent")?.status?.preemption == nil)
  }

  @Test func whatIsLetGoOfIsKeptForTheOneThatNeedsItUnlessAHigherOneCame() {
    var world = fullRack([0, 0])
    create(&world, "urgent", 5)
    world.hosts["a"]?.isStuck = true
    // One is free before the one that is to let go has done so: it is what was needed.
    create(&world, "same", 5)
    #expect(world.claim("same")?.status?.preemption?.claims == ["low-0"])
    create(&world, "highest", 9)
    #expect(world.claim("highest")?.status?.preemption == nil)
    create(&world, "lower", 4)
    #expect(world.claim("lower")?.status?.preemption == nil)
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phase("highest") == .ready && world.phase("lower") == .pending)
    // It took what was kept for one of the two; the other one has what was kept for it.
    #expect(Set([world.phase("urgent"), world.phase("same")]) == [.ready, .pending])
    #expect(world.arbiter.nominations.isEmpty)
  }

  @Test func whatIsKeptIsGivenToOthersOnceTheClaimIsDeleted() {
    var world = fullRack([0])
    create(&world, "urgent", 5)
    world.delete("urgent")
    #expect(world.arbiter.nominations.isEmpty)
    world.settle()
    #expect(world.phase("low-0") == .ready)
  }

  @Test func afterARestartItIsKeptAsWell() {
    var world = fullRack([0])
    world.disconnect("a")
    create(&world, "urgent", 5)
    #expect(world.claim("urgent")?.status?.preemption == nil, "no path to it is open")
    world.connect("a")
    #expect(world.claim("urgent")?.status?.preemption?.claims == ["low-0"])
    world.restart()
    #expect(world.arbiter.nominations[Self.id]?.map(\.claim) == ["urgent"])
    for name in ["a", "b", "c"] { world.connect(name) }
    world.create("late", host: "b")
    world.settle()
    #expect(world.phase("urgent") == .ready && world.phase("late") == .pending)
  }

  @Test func ratesTakeAsFewAsWillDo() {
    var world = fullRack([])
    var node = card(Self.id, functions: 8)
    node.capacity?.bitsPerSecond = 10_000_000_000
    world.hosts["a"]?.endNodes = [node]
    world.reportInventory("a")
    let asking = { (gigabits: UInt64) in
      { (specification: inout ClaimSpecification) in
        specification.attributes = Attributes {
          $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = gigabits * 1_000_000_000 }
        }
      }
    }
    for (name, rate) in [("one", 1), ("two", 2), ("three", 3), ("four", 4)] as [(String, UInt64)] {
      create(&world, name, 0, asking(rate))
    }
    world.settle()
    create(&world, "urgent", 1, asking(3))
    #expect(world.claim("urgent")?.status?.preemption?.claims == ["four"] || hasLetGo(world) == ["three", "urgent"])
    world.settle()
    create(&world, "more", 2, asking(7))
    #expect(world.claim("more")?.status?.preemption?.claims.count == 2)
    world.settle()
    #expect(world.phase("more") == .ready)
  }

  @Test func aPlanSaysWhoWouldLetGoAndChangesNothing() throws {
    var world = fullRack([0, 0])
    let request = CreateClaimRequest {
      $0.name = "urgent"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = "b"
        $0.priority = 3
      }
    }
    let before = world.arbiter.listedClaims
    let plan = try world.plan([request])
    #expect(plan.others.map(\.name) == ["low-1"])
    #expect(plan.others.first?.claim?.status?.phase == .reclaiming)
    #expect(plan.claims.first?.claim?.status?.preemption?.claims == ["low-1"])
    #expect(world.arbiter.listedClaims == before && world.arbiter.nominations.isEmpty)
    let applied = try world.apply([request], planRevision: plan.revision).get()
    #expect(applied.others.map(\.name) == ["low-1"])
    world.settle()
    #expect(world.phase("urgent") == .ready)
  }
}
