import Messages
import Testing

@testable import Arbitration

@Suite struct RescanTests {
  private func wasTold(_ world: World) -> Bool {
    world.effects.contains { effect in
      if case .send(_, let message) = effect, case .rescan = message.kind { true } else { false }
    }
  }

  @Test func aHostIsToldToLookAnew() throws {
    var world = World.rack()
    #expect(try world.rescan("a").get().name == "a")
    #expect(wasTold(world))
  }

  @Test func aHostThatIsAwayIsNot() {
    var world = World.rack()
    world.disconnect("a")
    guard case .failure(let refusal) = world.rescan("a") else { return #expect(Bool(false), "it was told") }
    #expect(refusal.code == .failedPrecondition)
    guard case .failure(let unknown) = world.rescan("z") else { return #expect(Bool(false), "it was told") }
    #expect(unknown.code == .notFound)
    #expect(!wasTold(world))
  }
}
