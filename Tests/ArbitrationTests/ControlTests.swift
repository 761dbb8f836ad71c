import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct ControlTests {
  private static let id = "ethernet/52:54:00:00:00:01"

  private func token(_ world: World) -> UInt64 {
    world.arbiter.endNodes[Self.id]?.record.physicalFunction?.controlToken?.value ?? 0
  }

  private func controller(_ world: World) -> String? { world.arbiter.endNodes[Self.id]?.controllingHost }

  @Test func aHostIsToldItsControlTokensAtOnceAndWithEverySession() {
    var world = World.rack()
    #expect(world.hosts["a"]?.controls[Self.id] == token(world))
    #expect(world.hosts["b"]?.controls.isEmpty == true)
    world.restart()
    world.hosts["a"]?.controls = [:]
    world.connect("a")
    #expect(world.hosts["a"]?.controls[Self.id] == token(world))
  }

  @Test func controlMovesWithADeviceThatItsHostDoesNotFindAnyMore() {
    var world = World.rack()
    let before = token(world)
    world.hosts["b"]?.endNodes = [card(Self.id, on: "eth3")]
    world.reportInventory("b")
    #expect(controller(world) == "a")
    world.hosts["a"]?.endNodes = []
    world.reportInventory("a")
    #expect(controller(world) == "b")
    #expect(token(world) > before)
    #expect(world.hosts["b"]?.controls[Self.id] == token(world))
    #expect(world.arbiter.listedEndNodes.first { $0.id == Self.id }?.health?.state == .healthy)
    world.create("web", host: "b")
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.path == .directSoftware)
  }

  @Test func controlIsTakenFromADeadHostAndNotFromASilentOne() {
    var world = World.rack()
    world.crash("a")
    world.hosts["b"]?.endNodes = [card(Self.id, on: "eth3")]
    world.reportInventory("b")
    world.wait(milliseconds: 60_000)
    #expect(controller(world) == "a")
    world.reboot("b")
    world.confirmDead("a")
    #expect(controller(world) == "b")
  }

  @Test func controlDoesNotMoveWhileSomethingOfTheDeviceMayBeInUse() {
    var world = World.rack()
    world.create("web", host: "a")
    world.settle()
    world.crash("a")
    world.hosts["b"]?.endNodes = [card(Self.id, on: "eth3")]
    world.reportInventory("b")
    world.confirmDead("a")
    #expect(controller(world) == "a")
    world.delete("web")
    world.settle()
    // Nobody holds it; what is left of it on the device has yet to be cleaned.
    #expect(world.claim("web") == nil)
    #expect(controller(world) == "a")
    world.forget("a")
    #expect(controller(world) == "b")
  }

  @Test func aHigherControlTokenThatIsInForceIsOutdone() {
    var world = World.rack()
    world.hosts["a"]?.endNodes[0].physicalFunction = PhysicalFunction {
      $0.controlToken = FencingToken { $0.value = 40 }
    }
    world.reportInventory("a")
    #expect(token(world) == 41)
    world.create("web", host: "a")
    #expect(world.claim("web")?.status?.assignment?.token?.value == 42)
    world.reportInventory("a")
    #expect(token(world) == 41)
    #expect(world.hosts["a"]?.controls[Self.id] == 41)
  }
}
