import Messages
import Testing

@testable import Arbitration

@Suite struct SafetyTests {
  // MARK: Proof

  @Test func anAnswerToAnEarlierRevisionProvesNothing() throws {
    var world = World.rack()
    world.create("web")
    let server = try #require(world.hosts["a"]?.wanted.values.first)
    let session = try #require(world.hosts["a"]?.session)
    world.delete("web")
    var report = try #require(world.hosts["a"]).report(complete: false)
    report.functions = [
      FunctionStatus {
        $0.function = VirtualFunction { $0.id = server.functionID }
        $0.role = .server
        $0.phase = .absent
        $0.revision = server.revision
      }
    ]
    world.send(.functionsReported(session, report))
    #expect(world.phase("web") == .releasing)
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func aFunctionThatIsMissingFromACompleteReportIsSetUpAgain() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.hosts["a"]?.functions = [:]
    world.hosts["a"]?.answered = [:]
    world.hosts["a"]?.bootId = "boot-2"
    world.connect("a")
    #expect(world.phase("web") == .preparing)
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.hosts["b"]?.wanted.values.map(\.released) == [false])
  }

  @Test func aReportFromBeforeTheHostRestartedIsIgnored() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.delete("web")
    let session = try #require(world.hosts["a"]?.session)
    _ = world.hosts["a"]?.work()
    var report = try #require(world.hosts["a"]).report(complete: false)
    report.bootId = "boot-0"
    world.send(.functionsReported(session, report))
    #expect(world.phase("web") == .releasing)
    #expect(world.hosts["b"]?.wanted.values.map(\.released) == [false])
  }

  @Test func aReleaseWaitsForAHostThatIsAwayAndSaysSo() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.disconnect("a")
    world.delete("web")
    world.settle()
    #expect(world.phase("web") == .releasing)
    #expect(world.claim("web")?.status?.pending.first?.message.contains("a has yet to let go of") == true)
    #expect(world.claim("web")?.status?.pending.first?.message.contains("disconnected") == true)
    world.wait(milliseconds: 3_600_000)
    #expect(world.hosts["b"]?.functions.count == 1)
    world.connect("a")
    world.settle()
    #expect(world.claim("web") == nil)
  }

  // MARK: Leases

  @Test func anExpiredLeaseDisconnectsAndTakesNothingAway() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.wait(milliseconds: 9_000)
    #expect(world.arbiter.listedHosts.map(\.state) == [.connected, .connected, .connected])
    let count = world.effects.count
    world.wait(milliseconds: 2_000)
    #expect(world.arbiter.listedHosts.map(\.state) == [.disconnected, .disconnected, .disconnected])
    #expect(world.phase("web") == .ready)
    #expect(world.effects.count == count)
  }

  @Test func aHeartbeatRenewsALeaseAndIsAnsweredWithItsNumber() throws {
    var world = World.rack()
    let session = try #require(world.hosts["a"]?.session)
    world.wait(milliseconds: 20_000)
    world.send(.heartbeatReceived(session, Heartbeat { $0.sequence = 7 }))
    #expect(world.arbiter.listedHosts.first?.state == .connected)
    guard case .send(session, let message)? = world.effects.last, case .heartbeat(let answer) = message.kind else {
      Issue.record("the heartbeat was not answered")
      return
    }
    #expect(answer.sequence == 7)
    #expect(answer.epoch == world.arbiter.cluster.epoch)
  }

  // MARK: Identity

  @Test func aNameBelongsToItsFirstInstance() throws {
    var world = World.rack()
    var impostor = FakeHost("a")
    impostor.instanceId = "another"
    let session = SessionID(4711)
    world.send(.hostConnected(session, impostor.hello))
    #expect(world.ended[session]?.message.contains("belongs to instance instance-of-a") == true)
    #expect(world.arbiter.listedHosts.first?.state == .connected)
    impostor = FakeHost("d")
    impostor.clusterId = "elsewhere"
    world.send(.hostConnected(session, impostor.hello))
    #expect(world.ended[session]?.message.contains("has joined cluster elsewhere") == true)
    #expect(world.arbiter.listedHosts.count == 3)
  }

  @Test func aNewSessionReplacesTheOldOneAndTheOldOnesEndChangesNothing() throws {
    var world = World.rack()
    let old = try #require(world.hosts["a"]?.session)
    world.connect("a")
    #expect(world.ended[old]?.code == .aborted)
    world.send(.hostDisconnected(old))
    #expect(world.arbiter.listedHosts.first?.state == .connected)
  }

  // MARK: Restarts and restored stores

  @Test func aRestartKeepsWhatWasAcknowledgedAndRaisesTheEpoch() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.create("data", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    let claims = world.arbiter.listedClaims
    let epoch = world.arbiter.cluster.epoch
    world.restart()
    #expect(world.arbiter.listedClaims == claims)
    #expect(world.arbiter.cluster.epoch == epoch + 1)
    #expect(world.phase("web") == .ready)
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.phase("data") == .ready)
    world.delete("web")
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func aReadyClaimStaysReadyWhileNobodyHasReportedAfterARestart() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.restart()
    world.wait(milliseconds: 60_000)
    #expect(world.phase("web") == .ready)
  }

  @Test func aRestoredCoordinatorRisesAboveWhatTheAgentsHaveSeen() throws {
    var world = World.rack()
    world.create("old")
    world.settle()
    let backup = world.store
    for name in ["one", "two"] { world.create(name) }
    world.settle()
    world.restart()
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    let highest = world.arbiter.cluster.epoch
    let token = try #require(world.claim("two")?.status?.assignment?.token?.value)

    world.store = backup
    world.restart()
    #expect(world.arbiter.cluster.epoch < highest)
    for name in ["a", "b", "c"] { world.connect(name) }
    #expect(world.arbiter.cluster.epoch > highest)
    world.settle()
    #expect(world.phase("old") == .ready)
    // Nothing is torn down because the restored store does not know of it.
    #expect(world.hosts["a"]?.functions.count == 3)
    let reported = world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }?.highestToken?.value
    #expect(reported == token)
    world.delete("old")
    world.settle()
    #expect(world.claim("old") == nil)
    #expect(world.hosts["a"]?.functions.count == 2)
  }

  @Test func theSameEventsMakeTheSameEffects() {
    #expect(history().effects == history().effects)
  }

  private func history() -> World {
    var world = World.rack()
    for name in ["one", "two", "three", "four", "five"] { world.create(name) }
    world.settle()
    world.delete("three")
    world.settle()
    world.restart()
    for name in ["c", "a", "b"] { world.connect(name) }
    world.settle()
    return world
  }
}
