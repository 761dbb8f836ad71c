import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// A card's minimum rates: what its functions may rely on to send.
@Suite struct MinimumRateTests {
  private static let id = "ethernet/52:54:00:00:00:01"

  private func rack(bitsPerSecond: UInt64 = 10_000_000_000) -> World {
    var world = World.rack()
    var node = card(Self.id)
    node.capacity?.bitsPerSecond = bitsPerSecond
    world.hosts["a"]?.endNodes = [node]
    world.reportInventory("a")
    return world
  }

  private func ask(_ world: inout World, _ name: String, gigabits: UInt64, _ guarantee: RateGuarantee = .unspecified) {
    world.create(name) {
      $0.attributes = Attributes {
        $0.ethernet = EthernetAttributes {
          $0.minTransmitBitsPerSecond = gigabits * 1_000_000_000
          $0.rateGuarantee = guarantee
        }
      }
    }
    world.settle()
  }

  private func reason(_ world: World, _ name: String) -> String {
    world.claim(name)?.status?.pending.map(\.message).joined() ?? ""
  }

  private func promised(_ world: World) -> UInt64? {
    world.arbiter.listedEndNodes.first { $0.id == Self.id }?.used?.bitsPerSecond
  }

  @Test func areNeverPromisedTwice() {
    var world = rack()
    for name in ["one", "two", "three"] { ask(&world, name, gigabits: 4) }
    #expect(world.phase("two") == .ready)
    #expect(world.phase("three") == .pending)
    #expect(reason(world, "three").contains("2000000000 of 10000000000 are not promised yet"))
    #expect(promised(world) == 8_000_000_000)
    world.restart()
    for name in world.hosts.keys.sorted() { world.connect(name) }
    world.settle()
    #expect(world.phase("three") == .pending)
    world.delete("one")
    world.settle()
    #expect(world.phase("three") == .ready)
  }

  @Test func leaveRoomForThoseThatAskForNone() {
    var world = rack()
    ask(&world, "all", gigabits: 10)
    world.create("none")
    world.settle()
    #expect(world.phase("none") == .ready)
  }

  @Test func aboveTheCardAreRefused() {
    var world = rack()
    ask(&world, "more", gigabits: 11)
    #expect(world.claim("more") == nil)
  }

  /// Whose link is down has no speed.
  @Test func waitForALinkThatHasASpeed() {
    var world = rack(bitsPerSecond: 0)
    ask(&world, "sure", gigabits: 1)
    #expect(world.phase("sure") == .pending)
    #expect(reason(world, "sure").contains("link may be down"))
    ask(&world, "tries", gigabits: 1, .bestEffort)
    #expect(world.phase("tries") == .ready)
    world.hosts["a"]?.endNodes = [card(Self.id)]
    world.reportInventory("a")
    world.settle()
    #expect(world.phase("sure") == .ready)
  }

  /// What was promised stays; no more is.
  @Test func ofALinkThatBecameSlowerAreNotPromisedAnyMore() {
    var world = rack()
    ask(&world, "one", gigabits: 6)
    var slow = card(Self.id)
    slow.capacity?.bitsPerSecond = 5_000_000_000
    world.hosts["a"]?.endNodes = [slow]
    world.reportInventory("a")
    ask(&world, "two", gigabits: 1)
    #expect(world.phase("one") == .ready)
    #expect(world.phase("two") == .pending)
    #expect(reason(world, "two").contains("0 of 5000000000 are not promised yet"))
  }
}
