import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct RandomHistoryTests {
  /// The world itself checks that no function changes hands, no device gives more than it has, tokens only rise,
  /// nothing is sent before it is saved and no consumer is told to let go before its server was cut.
  @Test(arguments: UInt64(1)...60)
  func whateverHappensEverythingIsReleasedInTheEnd(seed: UInt64) {
    var dice = Dice(state: seed)
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 3)]
    world.reportInventory("a")
    for _ in 0..<150 { act(&world, &dice) }

    for name in world.hosts.keys.sorted() {
      world.hosts[name]?.isStuck = false
      world.hosts[name]?.isScrubbingForever = false
      world.connect(name)
    }
    world.settle()
    for claim in world.arbiter.listedClaims where claim.status?.phase == .preparing {
      Issue.record("seed \(seed): \(claim.name) never became ready")
    }
    for claim in world.arbiter.listedClaims { world.delete(claim.name) }
    world.settle()
    #expect(world.arbiter.listedClaims.isEmpty, "seed \(seed)")
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty }, "seed \(seed)")
    #expect(world.arbiter.listedEndNodes.allSatisfy { $0.used == Capacity() }, "seed \(seed)")
    #expect(
      world.arbiter.claimOfMAC.isEmpty && world.arbiter.claimOfVNI.isEmpty && world.arbiter.claimOfFunction.isEmpty)
    #expect(!world.store.keys.contains { $0.kind == .claim || $0.kind == .wantedFunction })
  }

  private func act(_ world: inout World, _ dice: inout Dice) {
    let host = ["a", "b", "c"].randomElement(using: &dice) ?? "a"
    let name = "claim-\(Int.random(in: 0..<8, using: &dice))"
    switch Int.random(in: 0..<14, using: &dice) {
    case 0, 1: world.create(name, host: host)
    case 2, 3:
      let size: UInt64? = Int.random(in: 0..<4, using: &dice) == 0 ? nil : 1 << 28
      world.create(name, host: host, deviceClass: "sata") {
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
      }
    case 4, 5: world.delete(name)
    case 6: world.update(name, transmit: UInt64.random(in: 0...5, using: &dice) * 1_000_000)
    case 7: world.disconnect(host)
    case 8: world.connect(host)
    case 9: world.hosts[host]?.isStuck.toggle()
    case 10: world.hosts[host]?.isScrubbingForever.toggle()
    case 11: world.reboot(host)
    case 12: world.restart()
    default:
      world.wait(milliseconds: UInt64.random(in: 0...15_000, using: &dice))
      world.settle()
    }
  }
}
