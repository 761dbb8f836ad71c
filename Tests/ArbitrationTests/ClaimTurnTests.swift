import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct AClaimThatNeedsMoreThanBecomesFreeAtOnce {
  private static let turn: UInt64 = 10_000
  private static let gigabit: UInt64 = 1_000_000_000

  private func create(_ world: inout World, _ name: String, gigabits: UInt64, host: String = "a") {
    world.create(name, host: host) {
      $0.attributes = Attributes {
        $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = gigabits * Self.gigabit }
      }
    }
  }

  /// Of a disk.
  private func createHalf(_ world: inout World, _ name: String) {
    world.create(name, host: "b", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 29 } }
    }
  }

  /// A card of 10 Gbit/s, all of which ten claims have.
  private func fullCard() -> World {
    var settings = ArbiterSettings()
    settings.turnMilliseconds = Self.turn
    var world = World(settings)
    for (number, name) in ["a", "b"].enumerated() {
      var host = FakeHost(name, address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin(), sataPlugin()]
      host.endNodes = name == "a" ? [card("ethernet/a", functions: 16)] : [disk("sata/b")]
      world.add(host)
    }
    for index in 1...10 { create(&world, "s-\(index)", gigabits: 1) }
    world.settle()
    return world
  }

  private func small(_ world: World, _ phase: ClaimPhase) -> [String] {
    world.arbiter.listedClaims.filter { $0.status?.phase == phase && $0.name.hasPrefix("s-") }.map(\.name)
      .sorted { Int($0.dropFirst(2))! < Int($1.dropFirst(2))! }
  }

  /// One goes and one comes, a number of times.
  private func stream(_ world: inout World, _ numbers: ClosedRange<Int>) {
    for number in numbers {
      create(&world, "s-\(number + 10)", gigabits: 1)
      if let oldest = small(world, .ready).first { world.delete(oldest) }
      world.settle()
      world.pass(milliseconds: 2000)
      world.settle()
    }
  }

  private func kept(_ world: World) -> [String] { world.arbiter.nominations.values.joined().map(\.claim) }

  @Test func hasItsTurnHoweverManySmallerOnesCome() {
    var world = fullCard()
    create(&world, "big", gigabits: 9)
    stream(&world, 1...4)
    #expect(world.phase("big") == .pending && small(world, .ready).count == 10 && kept(world).isEmpty)
    stream(&world, 5...20)
    #expect(world.phase("big") == .ready && world.arbiter.claimTurns.isEmpty && world.arbiter.nominations.isEmpty)
    for claim in world.arbiter.listedClaims { world.delete(claim.name) }
    world.settle()
    #expect(world.arbiter.hasEmptyIndexes)
  }

  @Test func ofAWholeDiskHasItsTurn() {
    var world = fullCard()
    for name in ["p-1", "p-2"] { createHalf(&world, name) }
    world.settle()
    world.create("whole", host: "b", deviceClass: "sata")
    for (old, new) in [("p-1", "p-3"), ("p-2", "p-4")] {
      createHalf(&world, new)
      world.delete(old)
      world.settle()
      world.pass(milliseconds: 2000)
      world.settle()
    }
    #expect(world.phase("whole") == .pending && world.phase("p-3") == .ready && world.phase("p-4") == .ready)
    world.pass(milliseconds: Self.turn)
    for (old, new) in [("p-3", "p-5"), ("p-4", "p-6")] {
      createHalf(&world, new)
      world.delete(old)
      world.settle()
      world.pass(milliseconds: 2000)
      world.settle()
    }
    #expect(world.phase("whole") == .ready && world.phase("p-5") == .pending)
  }

  @Test func saysSoAndSoDoesWhoeverWaitsForThat() throws {
    var world = fullCard()
    create(&world, "big", gigabits: 9)
    world.pass(milliseconds: Self.turn + 4000)
    #expect(kept(world) == ["big"])
    #expect(world.reasons("big").first == "what becomes free of a/eth1 is kept for it, which has waited longest")
    world.delete("s-1")
    world.settle()
    create(&world, "s-11", gigabits: 1)
    let words = "what is free of a/eth1 is kept for 'big' of priority 0, which has waited longest"
    #expect(world.phase("s-11") == .pending && world.reasons("s-11").contains(words))
    let obstacles = try world.arbiter.explanation(of: "s-11").nearest.flatMap(\.obstacles)
    #expect(obstacles.map(\.message).contains(words))
    // One of a higher priority may take it before.
    world.create("urgent", host: "a") { $0.priority = 1 }
    world.settle()
    #expect(world.phase("urgent") == .ready && kept(world) == ["big"])
    world.delete("big")
    world.settle()
    #expect(world.phase("s-11") == .ready && kept(world).isEmpty)
  }

  @Test func keepsNothingForEver() {
    var world = fullCard()
    create(&world, "big", gigabits: 9)
    world.pass(milliseconds: Self.turn + 4000)
    world.delete("s-1")
    world.settle()
    create(&world, "s-11", gigabits: 1)
    // It may go on for as long after each that is gone.
    world.pass(milliseconds: Self.turn - 4000)
    #expect(world.phase("s-11") == .pending && kept(world) == ["big"])
    world.pass(milliseconds: 8000)
    world.settle()
    #expect(world.phase("s-11") == .ready && kept(world).isEmpty)
    #expect(!world.reasons("big").contains { $0.contains("longest") })
    // Then it has another one.
    var later: Set<[String]> = []
    for _ in 0..<20 {
      world.pass(milliseconds: 2000)
      later.insert(kept(world))
    }
    #expect(later == [[], ["big"]])
  }

  @Test func passesByWhomNobodyCanHelp() {
    var world = fullCard()
    world.create("lost") { $0.allowedPaths = [.directSoftware] }
    create(&world, "big", gigabits: 9)
    world.pass(milliseconds: Self.turn + 6000)
    #expect(world.phase("lost") == .pending && kept(world) == ["big"])
  }

  @Test func hasAsManyTurnsAsOthers() {
    var world = fullCard()
    for name in ["big-1", "big-2", "big-3"] { create(&world, name, gigabits: 9) }
    var turns: [String] = []
    for _ in 0..<60 {
      world.pass(milliseconds: 2000)
      turns += kept(world).filter { $0 != turns.last }
    }
    #expect(turns.prefix(4) == ["big-1", "big-2", "big-3", "big-1"])
  }

  @Test func hasItOfAnotherEndNodeAfterOneInVain() {
    var world = fullCard()
    world.hosts["a"]?.endNodes.append(card("ethernet/other", on: "eth2", functions: 16))
    world.reportInventory("a")
    create(&world, "fixed", gigabits: 2)
    world.settle()
    #expect(world.endNode("fixed") == "ethernet/other")
    create(&world, "big", gigabits: 9)
    var places: [String] = []
    for _ in 0..<60 {
      world.pass(milliseconds: 2000)
      places += world.arbiter.nominations.values.joined().map(\.endNode).filter { $0 != places.last }
    }
    #expect(places.prefix(3) == ["ethernet/other", "ethernet/a", "ethernet/other"])
  }

  @Test func keepsWhatOthersLetGoOfForItInTheMeantime() {
    var world = fullCard()
    for name in small(world, .ready) { world.delete(name) }
    world.settle()
    func create(_ name: String, gigabits: UInt64, priority: Int32) {
      world.create(name, host: "a") {
        $0.priority = priority
        $0.attributes = Attributes {
          $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = gigabits * Self.gigabit }
        }
      }
      world.settle()
    }
    create("fixed", gigabits: 5, priority: 5)
    create("low", gigabits: 5, priority: 0)
    create("big", gigabits: 6, priority: 5)
    world.pass(milliseconds: Self.turn + 4000)
    #expect(world.arbiter.claimsWithTurn == ["big"])
    create("late", gigabits: 5, priority: 5)
    world.delete("fixed")
    world.settle()
    #expect(world.phases("big", "late", "low") == [.ready, .pending, .pending])
  }

  @Test func hasNoneWhereTheNextFunctionThatGoesWillDo() {
    var world = fullCard()
    for index in 11...16 { world.create("s-\(index)", host: "a") }
    world.settle()
    world.create("next", host: "a")
    world.pass(milliseconds: 3 * Self.turn)
    #expect(world.phase("next") == .pending && world.arbiter.claimsWithTurn.isEmpty)
    #expect(world.arbiter.nextInOrder["next"]?.isShort == false)
  }

  @Test func waitsUntilNoGroupHasItsTurnAndNoGroupBeginsMeanwhile() throws {
    var world = fullCard()
    let train = ["t-1", "t-2"].map { name in
      member(name, host: "a") {
        $0.attributes = Attributes {
          $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = 4 * Self.gigabit }
        }
      }
    }
    create(&world, "big", gigabits: 9)
    world.pass(milliseconds: Self.turn / 2)
    try #require(world.apply(train).refusal == nil)
    world.pass(milliseconds: Self.turn / 2 + 4000)
    #expect(world.arbiter.claimsWithTurn == ["big"])
    world.pass(milliseconds: Self.turn / 2 + 2000)
    #expect(world.arbiter.claimsWithTurn == ["big"] && world.arbiter.groupsWithTurn.isEmpty)
    world.pass(milliseconds: Self.turn / 2)
    #expect(world.arbiter.claimsWithTurn.isEmpty && world.arbiter.groupsWithTurn == ["train"])
  }
}
