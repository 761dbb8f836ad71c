import Messages
import Testing

@testable import Arbitration

/// What may be concluded from a host's silence: nothing, unless it is known to end with a reset, or may be ended with
/// one.
@Suite struct SilenceTests {
  @Test func aWatchdogThatHasRunOutIsADeath() throws {
    var world = World.rack()
    world.hosts["b"]?.watchdogMilliseconds = 8000
    world.connect("b")
    world.create("web")
    world.settle()
    world.hosts["b"]?.isStuck = true
    world.delete("web")
    world.settle()
    // Term, margin and watchdog: not a millisecond earlier.
    world.wait(milliseconds: 22_900)
    #expect(world.arbiter.host(named: "b")?.state == .disconnected)
    #expect(world.phase("web") == .releasing)
    world.wait(milliseconds: 200)
    #expect(world.arbiter.host(named: "b")?.death?.reason == "reset by its watchdog")
    #expect(world.claim("web") == nil)
  }

  @Test func aHostWithoutAWatchdogIsWaitedForForEver() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.hosts["b"]?.isStuck = true
    world.delete("web")
    world.settle()
    world.wait(milliseconds: 1_000_000_000)
    #expect(world.phase("web") == .releasing)
    #expect(world.arbiter.host(named: "b")?.death == nil)
  }

  @Test func aWatchdogThatWasDisarmedProvesNothing() throws {
    var world = World.rack()
    world.hosts["b"]?.watchdogMilliseconds = 8000
    world.connect("b")
    let session = try #require(world.hosts["b"]?.session)
    world.send(.heartbeatReceived(session, Heartbeat { $0.sequence = 1 }))
    world.wait(milliseconds: 1_000_000)
    #expect(world.arbiter.host(named: "b")?.death == nil)
  }

  @Test func aWatchdogOfTheCoordinatorsFormerRunProvesNothing() {
    var world = World.rack()
    world.hosts["b"]?.watchdogMilliseconds = 8000
    world.connect("b")
    world.restart()
    world.wait(milliseconds: 1_000_000)
    #expect(world.arbiter.host(named: "b")?.death == nil)
  }

  @Test func aSilentHostIsFencedOnlyWhereItIsAllowedAndSomethingWaitsForIt() {
    var world = World.rack(ArbiterSettings(automaticFenceHosts: ["b"]))
    world.create("web")
    world.create("own", host: "a")
    world.settle()
    world.crash("a")
    world.crash("b")
    world.wait(milliseconds: 60_000)
    #expect(world.fenced.isEmpty, "nothing waits for b")
    world.delete("own")
    world.wait(milliseconds: 60_000)
    #expect(world.fenced.isEmpty, "a may not be fenced")
    world.delete("web")
    world.confirmDead("a")
    world.wait(milliseconds: 1)
    #expect(world.fenced == ["b"])
    world.wait(milliseconds: 60_000)
    #expect(world.fenced == ["b"], "once for each run")
    world.confirmDead("b")
    #expect(world.arbiter.listedClaims.isEmpty)
  }

  @Test func aFenceThatFailedIsTriedAgainLaterAndLater() throws {
    var world = World.rack(ArbiterSettings(automaticFenceHosts: ["b"]))
    world.create("web")
    world.settle()
    world.crash("b")
    world.delete("web")
    world.settle()
    world.wait(milliseconds: 16_000)
    let boot = try #require(world.arbiter.host(named: "b")?.bootId)
    for delay in [10_000, 20_000, 40_000] as [UInt64] {
      let count = world.fenced.count
      world.send(.fenceFailed(host: "b", bootID: boot, message: "no route to the switch"))
      world.wait(milliseconds: delay - 100)
      #expect(world.fenced.count == count)
      world.wait(milliseconds: 200)
      #expect(world.fenced.count == count + 1)
    }
    #expect(world.claim("web")?.status?.pending.first?.message.contains("no route to the switch") == true)
    world.connect("b")
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func whenAHostWasLastSeenIsStoredOnceAMinute() throws {
    var world = World.rack()
    let session = try #require(world.hosts["b"]?.session)
    var saved = 0
    for sequence in 0..<120 {
      world.milliseconds += 1000
      let before = world.effects.count
      world.send(.heartbeatReceived(session, Heartbeat { $0.sequence = UInt64(sequence) }))
      saved += world.effects[before...].filter(\.isDurable).count
    }
    #expect(saved == 2)
  }
}
