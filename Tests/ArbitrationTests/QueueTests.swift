import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Queues of a card are given out like minimum rates.
@Suite struct QueueTests {
  private static let id = "ethernet/52:54:00:00:00:01"

  private func rack(queues: UInt32) -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card(Self.id, queues: queues)]
    world.reportInventory("a")
    return world
  }

  @discardableResult
  private func ask(_ world: inout World, _ name: String, queues: UInt32) -> Result<Claim, Refusal> {
    defer { world.settle() }
    return world.create(name) {
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.queues = queues } }
    }
  }

  private func reason(_ world: World, _ name: String) -> String {
    world.claim(name)?.status?.pending.map(\.message).joined() ?? ""
  }

  @Test func areNeverGivenTwice() {
    var world = rack(queues: 8)
    for name in ["one", "two", "three"] { ask(&world, name, queues: 3) }
    #expect(world.claim("one")?.status?.assignment?.attributes?.ethernet?.queues == 3)
    #expect(world.phase("two") == .ready)
    #expect(world.phase("three") == .pending)
    #expect(reason(world, "three").contains("2 of 8 are not promised yet"))
    #expect(world.arbiter.listedEndNodes.first { $0.id == Self.id }?.used?.queues == 6)
    world.restart()
    for name in world.hosts.keys.sorted() { world.connect(name) }
    world.settle()
    #expect(world.phase("three") == .pending)
    world.delete("one")
    world.settle()
    #expect(world.phase("three") == .ready)
  }

  @Test func ofAGroupAreRefusedAtOnceWhereThereAreNotSoMany() {
    var world = rack(queues: 8)
    let members = (1...3).map { number in
      CreateClaimRequest {
        $0.name = "w-\(number)"
        $0.specification = ClaimSpecification {
          $0.deviceClass = "ethernet"
          $0.host = "a"
          $0.group = "wide"
          $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.queues = 3 } }
        }
      }
    }
    #expect(world.apply(members).refusal?.message.contains("room for 2 of them, with 3 queues each") == true)
  }

  @Test func areNotCountedWhereTheCardDoesNotCountThem() {
    var world = rack(queues: 0)
    for name in ["one", "two"] { ask(&world, name, queues: 256) }
    #expect(world.phase("two") == .ready)
  }

  @Test func areRefusedWhereNoCardCanHaveThem() {
    var world = rack(queues: 8)
    for queues: UInt32 in [0, 257] {
      #expect(ask(&world, "wrong", queues: queues).refusal?.message.contains("a function has 1 to 256") == true)
    }
    #expect(ask(&world, "wide", queues: 9).refusal?.message.contains("9 queues is above the 8") == true)
  }
}
