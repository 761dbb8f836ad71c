import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// What counts as proof that a host cannot use a function any more, and what follows from it.
@Suite struct ProofTests {
  private func waiting(_ world: World, _ name: String) -> String {
    world.claim(name)?.status?.pending.map(\.message).joined(separator: "\n") ?? ""
  }

  /// The consumer is told as soon as the server is cut. After a restart of the coordinator its answer may come first, and
  /// before its host can list all that it has.
  @Test func anAnswerToAReleaseOutlivesTheCompleteReportThatFollows() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.hosts["a"]?.isScrubbingForever = true
    world.hosts["b"]?.isStuck = true
    world.delete("web")
    world.settle()
    world.restart()
    world.connect("b")
    #expect(world.hosts["b"]?.work() == true)
    world.report("b")
    // Done and said; the agent forgets it, and lists what there is.
    world.hosts["b"]?.answered = [:]
    world.report("b", complete: true)
    world.hosts["a"]?.isScrubbingForever = false
    world.connect("a")
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func aHostThatIsAliveCannotBeConfirmedDead() throws {
    var world = World.rack()
    #expect(world.confirmDead("b").refusal?.code == .failedPrecondition)
    world.disconnect("b")
    #expect(world.confirmDead("b", bootID: "boot-0").refusal?.code == .failedPrecondition)
    let host = try world.confirmDead("b", bootID: "boot-1").get()
    #expect(host.state == .dead)
    #expect(host.death?.reason == "confirmed by an operator")
    try #expect(world.confirmDead("b").get() == host)
    #expect(world.confirmDead("bb").refusal?.message.contains("did you mean 'b'") == true)
  }

  @Test func nobodysWordEndsALeaseThatIsGood() throws {
    var world = World.rack()
    let word = ConfirmHostDeadRequest { $0.host = "b" }
    let ask = { (world: inout World) in
      world.ask { .hostConfirmedDead($0, word, reason: "confirmed by an operator", isKnownToBeOff: false) }
    }
    world.disconnect("b")
    world.wait(milliseconds: 5000)
    let early = ask(&world).refusal
    #expect(early?.code == .failedPrecondition)
    #expect(early?.message.contains("its lease may be good for ") == true)
    // Nor one of the coordinator's run before.
    world.restart()
    #expect(ask(&world).refusal?.code == .failedPrecondition)
    world.wait(milliseconds: 9000)
    #expect(ask(&world).refusal?.code == .failedPrecondition)
    world.wait(milliseconds: 1500)
    #expect(try ask(&world).get().host.state == .dead)
  }

  @Test func aSilentHostWithAnOpenStreamCanBeConfirmedDead() throws {
    var world = World.rack()
    let session = try #require(world.hosts["b"]?.session)
    world.wait(milliseconds: 11_000)
    try #expect(world.confirmDead("b").get().state == .dead)
    #expect(world.ended[session]?.code == .aborted)
  }

  @Test func aDeadConsumersNetworkIsFreeAndItsHostCleansUpWhenItComesBack() throws {
    var world = World.rack()
    world.create("web") { $0.consumer = Consumer { $0.interfaceName = "data0" } }
    world.settle()
    world.disconnect("b")
    world.delete("web")
    world.settle()
    #expect(world.phase("web") == .releasing)
    #expect(waiting(world, "web").contains("b has yet to let go of"))
    #expect(waiting(world, "web").hasSuffix("if it is off: iov host confirm-dead b"))
    world.confirmDead("b")
    #expect(world.claim("web") == nil)
    #expect(world.arbiter.listedOrphans.map(\.releasing) == [true])
    #expect(world.arbiter.listedOrphans.map(\.host) == ["b"])
    // What it holds survives a restart of the coordinator, too.
    world.restart()
    #expect(world.arbiter.listedOrphans.count == 1)
    for name in ["a", "b", "c"] { world.connect(name) }
    world.create("web") { $0.consumer = Consumer { $0.interfaceName = "data0" } }
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.arbiter.listedOrphans.isEmpty)
    #expect(world.hosts["b"]?.functions.count == 1)
  }

  @Test func theEndNodesShareIsFreeWhileTheConsumersHostIsStillAway() throws {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 1)]
    world.reportInventory("a")
    let mac = "02:00:00:00:00:77"
    world.create("one") { $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = mac } } }
    world.settle()
    world.disconnect("b")
    world.create("two", host: "a")
    #expect(world.phase("two") == .pending)
    world.delete("one")
    world.settle()
    #expect(world.phase("one") == .releasing)
    #expect(world.phase("two") == .ready)
    // The address is not: the consumer's host may still be using it.
    let other = world.create("three") {
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = mac } }
    }
    #expect(other.refusal?.message.contains("in use by claim 'one'") == true)
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.claim("one") == nil)
    #expect(world.phase("two") == .ready)
  }

  @Test func aClaimServedByADeadHostGetsAnotherFunction() throws {
    var world = World.rack()
    var c = try #require(world.hosts["c"])
    c.endNodes.append(card("ethernet/c", on: "eth9"))
    world.create("web")
    world.settle()
    let before = try #require(world.claim("web"))
    world.hosts["c"] = c
    world.reportInventory("c")
    world.crash("a")
    world.settle()
    #expect(world.phase("web") == .ready, "silence alone changes nothing")
    world.confirmDead("a")
    // Its consumer's host is there, and goes on with the interface that it has.
    #expect(world.phase("web") == .preparing)
    #expect(world.claim("web")?.status?.assignment?.takesOver == before.status?.assignment?.function)
    world.settle()
    let after = try #require(world.claim("web"))
    #expect(world.phase("web") == .ready)
    #expect(after.uid == before.uid)
    #expect(after.status?.assignment?.controllingHost == "c")
    // What is left on the dead host's card takes its place there until that host has cleaned up.
    let card = { world.arbiter.endNodes["ethernet/52:54:00:00:00:01"]?.shares.count }
    #expect(card() == 1)
    world.connect("a")
    world.settle()
    #expect(card() == 0)
    #expect(world.hosts["a"]?.functions.isEmpty == true)
  }

  @Test func aClaimForADeadHostWaitsForItAndIsSetUpAgainUnderTheSameToken() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let token = world.claim("web")?.status?.assignment?.token
    world.crash("b")
    world.confirmDead("b")
    #expect(world.phase("web") == .preparing)
    #expect(waiting(world, "web").contains("b is dead") || waiting(world, "web").contains("it is dead"))
    world.connect("b")
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.claim("web")?.status?.assignment?.token == token)
    #expect(world.arbiter.host(named: "b")?.death == nil)
  }

  @Test func aRebootAfterTheReleaseIsProof() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.disconnect("a")
    world.delete("web")
    world.settle()
    #expect(world.phase("web") == .releasing)
    world.hosts["a"]?.isStuck = true
    world.reboot("a")
    world.settle()
    #expect(world.claim("web") == nil)
    #expect(world.arbiter.listedOrphans.map(\.releasing) == [true])
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.arbiter.listedOrphans.isEmpty)
  }

  /// It was said before the host restarted, and nobody is there to answer the welcome.
  @Test func aHelloOfAnEarlierRunIsNoProofThatALaterOneIsOver() throws {
    var world = World.rack()
    let late = try #require(world.hosts["a"]?.hello)
    world.reboot("a")
    world.create("web")
    world.settle()
    #expect(world.phase("web") == .ready)
    world.hosts["a"]?.isStuck = true
    world.delete("web")
    world.settle()
    let session = try #require(world.hosts["a"]?.session)
    world.send(.hostConnected(SessionID(1000), late))
    world.wait(milliseconds: 1000)
    world.settle()
    #expect(world.phase("web") == .releasing)
    #expect(world.ended[session] == nil)
    #expect(world.arbiter.host(named: "a")?.bootId == "boot-1'")
    // Whatever it might have answered was asked before the host was heard as it is.
    world.connect("a")
    #expect(world.ended[SessionID(1000)]?.code == .aborted)
    world.send(.heartbeatReceived(SessionID(1000), Heartbeat()))
    world.settle()
    #expect(world.phase("web") == .releasing)
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func whoSaysThatItRunsAnewIsHeardOnceItAnswers() throws {
    var world = World.rack()
    let former = try #require(world.hosts["b"]?.session)
    var hello = try #require(world.hosts["b"]?.hello)
    hello.host?.bootId = "boot-2"
    let session = SessionID(1000)
    world.send(.hostConnected(session, hello))
    #expect(world.arbiter.host(named: "b")?.bootId == "boot-1")
    #expect(world.ended.isEmpty)
    let said = world.effects.compactMap { effect -> CoordinatorMessage.Kind? in
      if case .send(session, let message) = effect { message.kind } else { nil }
    }
    #expect(said.count == 1)
    if case .welcome = said.first {} else { Issue.record("\(said)") }
    world.send(.heartbeatReceived(session, Heartbeat { $0.sequence = 7 }))
    #expect(world.arbiter.host(named: "b")?.bootId == "boot-2")
    #expect(world.ended[former]?.code == .aborted)
  }

  @Test func aHostThatIsTakenForDeadHasNoSessionThatCouldAnswer() throws {
    var world = World.rack()
    var hello = try #require(world.hosts["b"]?.hello)
    hello.host?.bootId = "boot-2"
    world.disconnect("b")
    world.send(.hostConnected(SessionID(1000), hello))
    world.confirmDead("b")
    #expect(world.ended[SessionID(1000)]?.code == .aborted)
    world.send(.heartbeatReceived(SessionID(1000), Heartbeat()))
    #expect(world.arbiter.host(named: "b")?.state == .dead)
  }

  @Test func aRebootBeforeTheReleaseIsNoProof() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.reboot("a")
    world.settle()
    world.hosts["a"]?.isStuck = true
    world.delete("web")
    world.settle()
    #expect(world.phase("web") == .releasing)
    #expect(world.hosts["b"]?.wanted.values.map(\.released) == [false])
  }

  @Test func aHostIsForgottenOnceItIsDeadAndNothingIsForIt() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    #expect(world.forget("a").refusal?.message.contains("iov host confirm-dead a") == true)
    world.crash("a")
    world.confirmDead("a")
    world.settle()
    #expect(world.phase("web") == .pending)
    #expect(world.arbiter.listedOrphans.count == 1)
    try #expect(world.forget("a").get().name == "a")
    #expect(world.arbiter.listedOrphans.isEmpty)
    #expect(world.arbiter.listedHosts.map(\.name) == ["b", "c"])
    #expect(world.arbiter.listedEndNodes.map(\.id) == ["sata/S3R1AL"])
    world.crash("b")
    world.confirmDead("b")
    #expect(world.forget("b").refusal?.message.contains("web") == true)
    world.restart()
    #expect(world.arbiter.listedHosts.map(\.name) == ["b", "c"])
    // The tokens of its card go on from where they were, in whatever host it comes back.
    let highest = world.arbiter.endNodes["ethernet/52:54:00:00:00:01"]?.record.highestToken?.value ?? 0
    world.connect("a")
    #expect(world.arbiter.endNodes["ethernet/52:54:00:00:00:01"]?.record.highestToken?.value ?? 0 >= highest)
  }
}
