import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct AGroupAmongClaimsByThemselves {
  private static let turn: UInt64 = 10_000

  /// Two cards with two functions each, all of which are in use.
  private func fullRack() -> World {
    var settings = ArbiterSettings()
    settings.turnMilliseconds = Self.turn
    var world = World(settings)
    for (number, name) in ["a", "b"].enumerated() {
      var host = FakeHost(name, address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin(), sataPlugin()]
      host.endNodes = [card("ethernet/\(name)", functions: 2)]
      world.add(host)
    }
    for index in 1...4 { world.create("s-\(index)") }
    world.settle()
    return world
  }

  private func apply(
    _ world: inout World, _ group: String, of count: Int = 3,
    _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) throws {
    let members = (1...count).map { member("\(group)-\($0)", of: group, change) }
    try #require(world.apply(members).refusal == nil)
  }

  private func arePending(_ world: World, _ group: String) -> Bool {
    world.arbiter.members(of: group).allSatisfy { $0.phase == .pending }
  }

  private func areReady(_ world: World, _ group: String) -> Bool {
    world.arbiter.members(of: group).allSatisfy { $0.phase == .ready }
  }

  /// One goes and one comes, a number of times.
  private func stream(_ world: inout World, _ numbers: ClosedRange<Int>) {
    for number in numbers {
      world.create("s-\(number + 4)")
      let oldest = world.arbiter.listedClaims.filter { $0.status?.phase == .ready && $0.name.hasPrefix("s-") }
        .min { Int($0.name.dropFirst(2))! < Int($1.name.dropFirst(2))! }
      if let oldest { world.delete(oldest.name) }
      world.settle()
      world.pass(milliseconds: 2000)
      world.settle()
    }
  }

  /// What is kept for members of each group.
  private func kept(_ world: World) -> [String: Int] {
    Dictionary(grouping: world.arbiter.nominations.values.joined(), by: \.group).mapValues(\.count)
  }

  private let words = "what is free of a/eth1 is kept for group 'train' of priority 0, which has waited longest"

  @Test func hasItsTurnHoweverManyOfThoseCome() throws {
    var world = fullRack()
    try apply(&world, "train")
    stream(&world, 1...4)
    #expect(arePending(world, "train"))
    stream(&world, 5...8)
    #expect(areReady(world, "train"))
    #expect(world.arbiter.waitingGroups.isEmpty && world.arbiter.nominations.isEmpty)
  }

  @Test func isNotPreferredBeforeItHasWaited() throws {
    var world = fullRack()
    try apply(&world, "train")
    world.create("next")
    world.delete("s-1")
    world.settle()
    #expect(world.phase("next") == .ready && kept(world).isEmpty)
  }

  @Test func whoeverWaitsForWhatIsKeptForItSaysSo() throws {
    var world = fullRack()
    try apply(&world, "train")
    world.pass(milliseconds: Self.turn)
    world.delete("s-3")
    world.settle()
    #expect(kept(world) == ["train": 1])
    world.create("next") { $0.endNode = EndNodeSelector { $0.name = "ethernet/a" } }
    let free = world.arbiter.listedEndNodes.first { $0.used?.functions == 1 }?.id
    try #require(free == "ethernet/a")
    #expect(world.phase("next") == .pending)
    #expect(world.reasons("next").contains(words))
    let nearest = try world.arbiter.explanation(of: "next").nearest
    #expect(nearest.flatMap(\.obstacles).map(\.message).contains(words))
    #expect(
      world.reasons("train-2").last == "what becomes free is kept for its group 'train', which has waited longest")
    let other = CreateClaimRequest {
      $0.name = "other"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = "b"
      }
    }
    let plan = try world.plan([other])
    #expect(plan.claims[0].claim?.status?.pending.map(\.message).contains(words) == true)
    #expect(kept(world) == ["train": 1])
    // One of a higher priority may take it before.
    world.create("urgent") { $0.priority = 1 }
    world.settle()
    #expect(world.phase("urgent") == .ready && kept(world).isEmpty == false)
    world.pass(milliseconds: 2000)
    #expect(kept(world).isEmpty)
  }

  @Test func keepsNothingForEverWhereItCannotHaveAll() throws {
    var world = fullRack()
    try apply(&world, "train", of: 4)
    world.pass(milliseconds: Self.turn)
    for name in ["s-1", "s-2"] { world.delete(name) }
    world.settle()
    for name in ["next", "later"] { world.create(name) }
    #expect(kept(world) == ["train": 2])
    // It may go on for as long after each more that it has come by.
    world.pass(milliseconds: Self.turn - 2000)
    #expect(world.phases("next", "later") == [.pending, .pending])
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(world.phases("next", "later") == [.ready, .ready] && kept(world).isEmpty)
    #expect(!world.reasons("train-1").contains { $0.contains("longest") })
    // Then it has another one.
    for name in ["next", "later", "s-3"] { world.delete(name) }
    world.settle()
    #expect(kept(world).isEmpty)
    world.pass(milliseconds: 2 * Self.turn + 4000)
    #expect(kept(world) == ["train": 3])
    world.delete("s-4")
    world.settle()
    #expect(areReady(world, "train"))
  }

  @Test func hasItsTurnAfterTheOneThatHasWaitedLonger() throws {
    var world = fullRack()
    for name in ["zug", "train"] {
      try apply(&world, name)
      world.pass(milliseconds: 2000)
    }
    var most = 0
    for number in 1...40 where !areReady(world, "train") {
      stream(&world, number...number)
      most = max(most, kept(world).count)
      if areReady(world, "zug"), world.claim("zug-1")?.status?.phase == .ready { world.deleteGroup(of: "zug-1") }
      #expect(world.claim("zug-1") == nil || arePending(world, "train"))
    }
    #expect(areReady(world, "train") && most == 1, "they never keep something at the same time")
  }

  @Test func hasItOnceItHasItInAllClasses() throws {
    var world = fullRack()
    var host = FakeHost("c", address: "10.0.0.3")
    host.plugins = [ethernetPlugin(), sataPlugin()]
    host.endNodes = [disk("sata/S3R1AL", sizeBytes: 2 << 20)]
    world.add(host)
    for name in ["d-1", "d-2"] {
      world.create(name, deviceClass: "sata") {
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
      }
    }
    world.settle()
    // One that needs a disk as well comes after one that needs cards.
    try apply(&world, "cards", of: 4)
    world.pass(milliseconds: 2000)
    try #require(
      world.apply([member("both-1", of: "both"), member("both-2", of: "both", deviceClass: "sata")]).refusal == nil)
    world.pass(milliseconds: Self.turn + 2000)
    for name in ["s-1", "d-1"] { world.delete(name) }
    world.settle()
    #expect(areReady(world, "both") == false && kept(world) == ["cards": 1])
    for name in ["s-2", "s-3", "s-4"] { world.delete(name) }
    world.settle()
    #expect(areReady(world, "cards"))
    world.deleteGroup(of: "cards-1")
    world.settle()
    #expect(areReady(world, "both"))
  }

  @Test func losesNothingButItsTurnWhenTheCoordinatorBeginsAnew() throws {
    var world = fullRack()
    try apply(&world, "train")
    world.pass(milliseconds: Self.turn)
    world.delete("s-1")
    world.settle()
    #expect(kept(world) == ["train": 1])
    world.restart()
    for name in ["a", "b"] { world.connect(name) }
    world.settle()
    #expect(kept(world).isEmpty)
    world.create("next")
    world.settle()
    #expect(world.phase("next") == .ready)
    world.pass(milliseconds: Self.turn + 2000)
    for name in ["s-2", "s-3", "s-4"] {
      world.create("after-\(name)")
      world.delete(name)
      world.settle()
    }
    #expect(areReady(world, "train"))
  }

  @Test func leavesNothingKeptWhenItIsDeleted() throws {
    var world = fullRack()
    try apply(&world, "train")
    world.pass(milliseconds: Self.turn)
    for name in ["s-1", "s-2"] { world.delete(name) }
    world.settle()
    world.create("next")
    #expect(world.phase("next") == .pending && kept(world) == ["train": 2])
    world.deleteGroup(of: "train-1")
    world.settle()
    #expect(world.phase("next") == .ready)
    #expect(world.arbiter.waitingGroups.isEmpty && world.arbiter.queuesOfGroups.isEmpty && kept(world).isEmpty)
  }

  @Test func isNotKeptAnythingWhereItsQuotaIsUsedUp() throws {
    var world = fullRack()
    world.createTenant("lab", functions: 3)
    for name in ["s-1", "s-2"] { world.delete(name) }
    world.settle()
    world.create("own") { $0.tenant = "lab" }
    world.settle()
    try apply(&world, "train") { $0.tenant = "lab" }
    world.pass(milliseconds: 2 * Self.turn)
    #expect(kept(world).isEmpty && world.arbiter.groupsWithTurn.isEmpty)
    world.create("next")
    world.settle()
    #expect(world.phase("next") == .ready)
  }
}
