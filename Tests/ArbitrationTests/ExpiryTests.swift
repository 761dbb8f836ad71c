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
