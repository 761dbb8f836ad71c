import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Claims that end by themselves.
@Suite struct ExpiryTests {
  private func rack() -> World {
    var world = World.rack()
    world.pass(milliseconds: 61_000)
    return world
  }

  private func create(_ world: inout World, _ name: String, seconds: UInt32) {
    world.create(name) { $0.timeToLiveSeconds = seconds }
    world.settle()
  }

  @Test func endWhenTheirTimeIsOverAndNotBefore() {
    var world = rack()
    create(&world, "short", seconds: 100)
    create(&world, "long", seconds: 0)
    world.pass(milliseconds: 98_000)
    #expect(world.phase("short") == .ready)
    world.pass(milliseconds: 3_000)
    world.settle()
    #expect(world.claim("short") == nil)
    #expect(world.phase("long") == .ready)
  }

  @Test func endWhilePendingAsWell() {
    var world = rack()
    world.disconnect("a")
    create(&world, "waits", seconds: 30)
    #expect(world.phase("waits") == .pending)
    world.pass(milliseconds: 31_000)
    #expect(world.claim("waits") == nil)
  }

  @Test func areExtendedFromNow() throws {
    var world = rack()
    create(&world, "web", seconds: 100)
    world.pass(milliseconds: 90_000)
    _ = try world.extend("web", seconds: 50).get()
    world.pass(milliseconds: 45_000)
    #expect(world.phase("web") == .ready)
    _ = try world.extend("web", seconds: 0).get()
    #expect(world.claim("web")?.expires == nil)
    world.pass(milliseconds: 1000_000)
    #expect(world.phase("web") == .ready)
    #expect(throws: Refusal.self) { try world.extend("wed", seconds: 1).get() }
  }

  /// Neither a clock that is set while the coordinator runs ends a claim, nor one that is wrong when it begins.
  @Test func doNotEndByAClockThatIsSet() {
    var world = rack()
    create(&world, "web", seconds: 3600)
    world.wallMillisecondsAtZero += 86_400_000
    world.pass(milliseconds: 10_000)
    #expect(world.phase("web") == .ready)
    world.restart()
    world.pass(milliseconds: 30_000)
    #expect(world.claim("web") != nil)
    world.wallMillisecondsAtZero -= 86_400_000
    world.pass(milliseconds: 60_000)
    #expect(world.claim("web") != nil)
    world.pass(milliseconds: 3600_000)
    #expect(world.phase("web") ?? .releasing == .releasing)
  }

  /// A machine's clock is behind until the network has set it, which may be later than the coordinator began.
  @Test func endInTimeAfterTheClockWasBehind() {
    var world = World.rack()
    let years: Int64 = 2 * 365 * 86_400_000
    world.pass(milliseconds: 61_000)
    create(&world, "before", seconds: 900)
    world.wallMillisecondsAtZero += years
    create(&world, "web", seconds: 5400)
    world.pass(milliseconds: 3_700_000)
    world.settle()
    #expect(world.claim("before") == nil)
    #expect(world.phase("web") == .ready)
    world.pass(milliseconds: 1_690_000)
    #expect(world.phase("web") == .ready)
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func knowTheirTimeAfterARestart() {
    var world = rack()
    create(&world, "web", seconds: 300)
    world.restart()
    for name in world.hosts.keys.sorted() { world.connect(name) }
    world.pass(milliseconds: 200_000)
    world.settle()
    #expect(world.phase("web") == .ready)
    world.pass(milliseconds: 101_000)
    world.settle()
    #expect(world.claim("web") == nil)
  }

  /// Claims of ten seconds and, in the order of their names, some milliseconds, of which three end at a time.
  private func rackOfMany(_ count: Int) -> World {
    var settings = ArbiterSettings()
    settings.mostExpiriesAtOnce = 3
    var world = World.rack(settings)
    world.disconnect("a")
    world.pass(milliseconds: 61_000)
    for number in 0..<count { world.create("c\(number)") { $0.timeToLiveSeconds = 10 } }
    world.wait(milliseconds: 9_900)
    world.milliseconds += 10_000
    return world
  }

  private func names(_ world: World) -> [String] { world.arbiter.listedClaims.map(\.name) }

  @Test func endSomeAtATimeInTheOrderOfTheirTime() throws {
    var world = rackOfMany(9)
    #expect(names(world).count == 9)
    world.send(.timePassed)
    #expect(names(world) == ["c3", "c4", "c5", "c6", "c7", "c8"])
    // Whoever is left is as before: it may have more time, and be asked for as ever.
    #expect(world.phase("c4") == .pending)
    _ = try world.extend("c4", seconds: 100).get()
    world.delete("c5")
    world.send(.timePassed)
    #expect(names(world) == ["c4", "c8"])
    world.send(.timePassed)
    #expect(names(world) == ["c4"])
    world.wait(milliseconds: 100_000)
    #expect(names(world).isEmpty && world.arbiter.hasEmptyIndexes)
  }

  @Test func areLeftToTheNextRun() {
    var world = rackOfMany(7)
    world.send(.timePassed)
    world.restart()
    #expect(names(world) == ["c3", "c4", "c5", "c6"])
    world.pass(milliseconds: 70_000)
    #expect(names(world).isEmpty)
  }

  /// Those that others have parts of take nobody's turn.
  @Test func whoCannotEndYetKeepsNobodyBack() throws {
    var settings = ArbiterSettings()
    settings.mostExpiriesAtOnce = 1
    var world = World.rack(settings)
    world.hosts["c"]?.endNodes[0].capabilities?.consumers = ["host", "file_server"]
    world.reportInventory("c")
    world.create("source", host: "c", deviceClass: "sata") {
      $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
      $0.timeToLiveSeconds = 100
    }
    world.create("part", host: "c", deviceClass: "sata") { $0.source = "source" }
    for name in ["x", "y"] { world.create(name) { $0.timeToLiveSeconds = 101 } }
    world.settle()
    world.pass(milliseconds: 99_000)
    world.milliseconds += 10_000
    world.send(.timePassed)
    #expect(world.phase("source") == .ready && world.phase("x") == .releasing && world.phase("y") == .ready)
    world.send(.timePassed)
    #expect(world.phase("source") == .ready && world.phase("y") == .releasing)
  }

  @Test func aGroupEndsWithTheLastOfATick() throws {
    var settings = ArbiterSettings()
    settings.mostExpiriesAtOnce = 2
    var world = World.rack(settings)
    world.disconnect("a")
    world.pass(milliseconds: 61_000)
    let members = ["g1", "g2", "g3"].map { name in
      CreateClaimRequest {
        $0.name = name
        $0.specification = ClaimSpecification {
          $0.deviceClass = "ethernet"
          $0.host = "b"
          $0.group = "g"
          $0.timeToLiveSeconds = 10
        }
      }
    }
    world.create("first") { $0.timeToLiveSeconds = 10 }
    _ = try world.apply(members).get()
    world.create("last") { $0.timeToLiveSeconds = 10 }
    world.milliseconds += 20_000
    world.send(.timePassed)
    #expect(names(world) == ["last"])
    world.send(.timePassed)
    #expect(names(world).isEmpty)
  }

  @Test func aSourceEndsAfterItsParts() throws {
    var world = rack()
    world.hosts["c"]?.endNodes[0].capabilities?.consumers = ["host", "file_server"]
    world.reportInventory("c")
    world.create("source", host: "a", deviceClass: "sata") {
      $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
    }
    world.settle()
    world.create("part", host: "b", deviceClass: "sata") {
      $0.source = "source"
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 26 } }
    }
    world.settle()
    #expect(world.phase("part") == .ready)
    _ = try world.extend("source", seconds: 10).get()
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.claim("source") != nil)
    _ = try world.delete("part").get()
    world.settle()
    world.pass(milliseconds: 1_000)
    world.settle()
    #expect(world.claim("source") == nil)
  }
}
