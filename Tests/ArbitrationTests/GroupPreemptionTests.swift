import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct AGroupThatNeedsWhatOthersHave {
  /// On a card.
  private func create(
    _ world: inout World, _ names: String..., on card: String, _ priority: Int32 = 0, gigabits: UInt64? = nil,
    _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) {
    for name in names {
      world.create(name) {
        $0.endNode = EndNodeSelector { $0.name = "ethernet/\(card)" }
        $0.priority = priority
        $0.attributes = gigabits.map(rate)
        change(&$0)
      }
    }
    world.settle()
  }

  private func rate(_ gigabits: UInt64) -> Attributes {
    Attributes { $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = gigabits * 1_000_000_000 } }
  }

  private func members(_ names: String..., priority: Int32 = 5) -> [CreateClaimRequest] {
    names.map { member($0) { $0.priority = priority } }
  }

  /// Those that had something and let go of it.
  private func hasLetGo(_ world: World) -> [String] {
    world.arbiter.listedClaims.filter {
      $0.status?.pending.contains { $0.message.hasPrefix("was evicted") } ?? false
    }.map(\.name)
  }

  private func victims(_ world: World, _ names: String...) -> [[String]] {
    names.map { world.claim($0)?.status?.preemption?.claims ?? ["nothing is kept"] }
  }

  /// One function is free on b, and none on a, whose host lets go of nothing.
  private func rackWithOneFree() throws -> World {
    var world = World.cards()
    create(&world, "low-1", "low-2", on: "a")
    create(&world, "high", on: "b", 9)
    world.hosts["a"]?.isStuck = true
    try #require(world.apply(members("w-1", "w-2")).refusal == nil)
    try #require(hasLetGo(world) == ["low-2"])
    return world
  }

  @Test func hasTheLowestLetGoForAllOfItsMembers() throws {
    var world = World.cards()
    create(&world, "a-1", "a-2", on: "a")
    create(&world, "b-1", "b-2", on: "b", 1)
    try #require(world.apply(members("w-1", "w-2")).refusal == nil)
    #expect(hasLetGo(world) == ["a-1", "a-2"])
    #expect(victims(world, "w-1", "w-2") == [["a-2"], ["a-1"]])
    #expect(world.reasons("a-1").first == "was evicted: group 'train' of priority 5 needs it, and its own is 0")
    #expect(world.reasons("w-1").first == "'a-2' has yet to let go of what it takes of a/eth1 for it")
    #expect(
      try world.arbiter.explanation(of: "w-2").summary
        == "it waits: 'a-1' has yet to let go of what it takes of a/eth1 for it")
    world.settle()
    #expect(world.phases("w-1", "w-2", "b-1", "b-2") == Array(repeating: .ready, count: 4))
    #expect(world.phases("a-1", "a-2") == [.pending, .pending])
    #expect(world.endNode("w-1") == "ethernet/a" && world.endNode("w-2") == "ethernet/a")
    #expect(world.claim("w-1")?.status?.preemption == nil && world.arbiter.nominations.isEmpty)
  }

  @Test func leavesThoseAloneWhoTurnOutNotToBeInTheWay() throws {
    var world = World.cards(functions: 4)
    create(&world, "wide", on: "a", gigabits: 8)
    create(&world, "narrow", on: "a", gigabits: 2)
    let group = [("w-1", 2), ("w-2", 6)].map { name, gigabits in
      member(name) {
        $0.priority = 5
        $0.endNode = EndNodeSelector { $0.name = "ethernet/a" }
        $0.attributes = rate(UInt64(gigabits))
      }
    }
    try #require(world.apply(group).refusal == nil)
    // By itself the first one would have taken what the younger one has.
    #expect(hasLetGo(world) == ["wide"])
    world.settle()
    #expect(world.phases("w-1", "w-2", "narrow", "wide") == [.ready, .ready, .ready, .pending])
  }

  @Test func countsAllOfAGroupThatWouldLetGo() throws {
    var world = World.cards()
    create(&world, "s-1", on: "a")
    create(&world, "s-2", on: "b")
    try #require(world.apply(["p-1", "p-2"].map { member($0, of: "pair") }).refusal == nil)
    world.settle()
    try #require(world.phases("p-1", "p-2") == [.ready, .ready])
    var other = world
    other.create("urgent") { $0.priority = 5 }
    #expect(hasLetGo(other) == ["s-2"], "one by itself is fewer than a pair, however young that is")
    other = world
    try #require(other.apply(members("w-1", "w-2")).refusal == nil)
    #expect(hasLetGo(other) == ["s-1", "s-2"])
    // Three need the pair, and of the others one.
    try #require(world.apply(members("w-1", "w-2", "w-3")).refusal == nil)
    #expect(hasLetGo(world) == ["p-1", "p-2", "s-2"])
    world.settle()
    #expect(world.phases("w-1", "w-2", "w-3", "s-1") == [.ready, .ready, .ready, .ready])
  }

  @Test func takesNothingFromAGroupOfWhichOneIsNeverToBeTakenAway() throws {
    var world = World.cards(functions: 1)
    let pair = ["a", "b"].map { name in
      member("p-\(name)", of: "pair") {
        $0.endNode = EndNodeSelector { $0.name = "ethernet/\(name)" }
        if name == "b" { $0.evictionPolicy = .never }
      }
    }
    try #require(world.apply(pair).refusal == nil)
    world.settle()
    let one = member("w-1") {
      $0.priority = 5
      $0.endNode = EndNodeSelector { $0.name = "ethernet/a" }
    }
    try #require(world.apply([one]).refusal == nil)
    #expect(hasLetGo(world) == [] && world.phases("p-a", "p-b", "w-1") == [.ready, .ready, .pending])
  }

  @Test func takesNothingWhereThatWouldNotHelpAllOfItOrIsNotWanted() throws {
    var world = World.cards()
    create(&world, "low", on: "a")
    create(&world, "high", on: "a", 5)
    create(&world, "b-1", "b-2", on: "b", 9)
    try #require(world.apply(members("w-1", "w-2")).refusal == nil)
    #expect(hasLetGo(world) == [] && world.arbiter.nominations.isEmpty)
    #expect(world.phases("low", "w-1", "w-2") == [.ready, .pending, .pending])
    let patient = ["x", "y"].map { name in
      member(name, of: "patient") {
        $0.priority = 9
        if name == "y" { $0.preemption = .never }
      }
    }
    try #require(world.apply(patient).refusal == nil)
    #expect(hasLetGo(world) == [] && world.phases("x", "y") == [.pending, .pending])
    // It would be enough without that word.
    try #require(world.deleteGroup(of: "x").refusal == nil)
    try #require(world.apply(["x", "y"].map { member($0, of: "urgent") { $0.priority = 9 } }).refusal == nil)
    #expect(hasLetGo(world) == ["high", "low"])
  }

  @Test func hasWhatIsFreeKeptUntilAllOfItHaveSomething() throws {
    var world = try rackWithOneFree()
    #expect(victims(world, "w-1", "w-2") == [[], ["low-2"]])
    #expect(
      world.reasons("w-1") == [
        "all of its group 'train' get a function at once, and 'low-2' has yet to let go for 'w-2'"
      ])
    world.create("lower") { $0.priority = 4 }
    world.create("equal") { $0.priority = 5 }
    #expect(world.phases("lower", "equal") == [.pending, .pending])
    #expect(world.reasons("lower").contains { $0.contains("what is free of b/eth1 is kept for 'w-1' of priority 5") })
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phases("w-1", "w-2") == [.ready, .ready] && world.arbiter.nominations.isEmpty)
    #expect(world.phase("low-2") == .pending && world.phase("lower") == .pending)
    // Who waits had another one of a strictly lower priority let go meanwhile, as any claim does.
    #expect(world.phase("low-1") == .pending && world.phase("equal") == .ready)
  }

  @Test func isPutOffByAMoreUrgentOneAndTakesNothingInVain() throws {
    var world = World.cards()
    create(&world, "low-1", "low-2", on: "a")
    create(&world, "b-1", "b-2", on: "b", 9)
    world.hosts["a"]?.isStuck = true
    try #require(world.apply(members("w-1", "w-2")).refusal == nil)
    try #require(hasLetGo(world) == ["low-1", "low-2"])
    world.create("highest") { $0.priority = 9 }
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phases("highest", "w-1", "w-2") == [.ready, .pending, .pending])
    #expect(world.arbiter.nominations.isEmpty)
    let others = world.phases("low-1", "low-2")
    #expect(Set(others) == [.ready, .pending], "what the group cannot use alone is somebody else's again")
    world.delete("highest")
    world.settle()
    #expect(world.phases("w-1", "w-2") == [.ready, .ready])
  }

  @Test func leavesWhatWasKeptToOthersOnceItIsDeletedOrItsTimeIsOver() throws {
    for isOver in [false, true] {
      var world = try rackWithOneFree()
      world.create("late") { $0.preemption = .never }
      try #require(world.phase("late") == .pending)
      if isOver {
        world.extend("w-1", seconds: 60)
        world.pass(milliseconds: 200_000)
      } else {
        try #require(world.deleteGroup(of: "w-2").refusal == nil)
      }
      #expect(world.phases("w-1", "w-2") == [nil, nil])
      #expect(world.arbiter.nominations.isEmpty)
      world.settle()
      #expect(world.phase("late") == .ready)
      world.hosts["a"]?.isStuck = false
      world.settle()
      #expect(world.phases("low-1", "low-2") == [.ready, .ready])
    }
  }

  @Test func hasItKeptAfterARestartAsWell() throws {
    var world = try rackWithOneFree()
    let kept = { (world: World) in
      ["ethernet/a", "ethernet/b"].map { (world.arbiter.nominations[$0] ?? []).map { [$0.claim] + $0.victims } }
    }
    let before = kept(world)
    #expect(before == [[["w-2", "low-2"]], [["w-1"]]])
    world.restart()
    #expect(kept(world) == before)
    for name in ["a", "b", "c"] { world.connect(name) }
    world.create("late") { $0.preemption = .never }
    world.settle()
    #expect(world.phase("late") == .pending && hasLetGo(world) == ["low-2"])
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phases("w-1", "w-2", "low-1", "late") == [.ready, .ready, .ready, .pending])
    #expect(world.arbiter.nominations.isEmpty)
  }

  @Test func isPlannedWithThoseThatWouldLetGo() throws {
    var world = World.cards()
    create(&world, "low-1", "low-2", on: "a")
    create(&world, "high", on: "b", 9)
    let before = world.arbiter.listedClaims
    let plan = try world.plan(members("w-1", "w-2"))
    #expect(plan.others.map(\.name) == ["low-2"])
    #expect(plan.others.first?.claim?.status?.phase == .reclaiming)
    #expect(plan.claims.map { $0.claim?.status?.preemption?.claims } == [[], ["low-2"]])
    #expect(world.arbiter.listedClaims == before && world.arbiter.nominations.isEmpty)
    let applied = try world.apply(members("w-1", "w-2"), planRevision: plan.revision).get()
    #expect(applied.others.map(\.name) == ["low-2"])
    world.settle()
    #expect(world.phases("w-1", "w-2", "low-1") == [.ready, .ready, .ready])
  }

  @Test func getsWhatOthersLetGoOfAnyway() throws {
    var world = World.cards()
    create(&world, "a-1", "a-2", on: "a")
    create(&world, "b-1", "b-2", on: "b")
    world.hosts["a"]?.isStuck = true
    for name in ["a-1", "a-2"] { world.delete(name) }
    try #require(world.apply(["w-1", "w-2"].map { member($0, host: "a") { $0.priority = 5 } }).refusal == nil)
    #expect(hasLetGo(world) == [])
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phases("w-1", "w-2", "b-1", "b-2") == Array(repeating: .ready, count: 4))
  }
}
