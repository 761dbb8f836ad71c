import Messages
import Testing

@testable import Arbitration
@testable import Simulation

private let noCarrier = Health {
  $0.state = .unhealthy
  $0.message = "iov1 has no carrier"
}

extension World {
  /// What a host says of its functions that are in use.
  fileprivate mutating func say(_ host: String, _ health: Health?) {
    hosts[host]?.health = health
    settle()
  }

  fileprivate func health(of name: String) -> FunctionHealth? { claim(name)?.status?.health }

  fileprivate func changes(of name: String) -> Int {
    watched.count { if case .claimChanged(let claim) = $0 { claim.name == name } else { false } }
  }

  fileprivate func explained(_ name: String) throws -> String { try arbiter.explanation(of: name).health }

  /// On host b, by a card of its own or of host a.
  @discardableResult
  fileprivate mutating func createOnB(
    _ name: String = "web", after seconds: UInt32? = nil, _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) -> Result<Claim, Refusal> {
    create(name) {
      $0.unhealthySeconds = seconds
      change(&$0)
    }
  }
}

@Suite struct AnUnhealthyFunction {
  @Test func isToldAndKept() throws {
    var world = World.rack()
    world.createOnB()
    world.settle()
    #expect(world.health(of: "web") == nil)
    let (told, function) = (world.changes(of: "web"), world.claim("web")?.status?.assignment?.function)
    world.say("a", noCarrier)
    let health = try #require(world.health(of: "web"))
    #expect(health.state == .unhealthy && health.host == "a" && health.message == "iov1 has no carrier")
    #expect(health.since != nil && world.changes(of: "web") == told + 1)
    #expect(world.phase("web") == .ready)
    #expect(world.store[RecordKey(.claim, "web")] == world.claim("web").map { .claim($0) })
    world.pass(milliseconds: 100_000)
    #expect(world.claim("web")?.status?.assignment?.function == function && world.changes(of: "web") == told + 1)
    #expect(
      try world.explained("web").hasSuffix(
        ": a: iov1 has no carrier; it is kept, because its claim does not say how long it puts up with that"))
    world.say("a", nil)
    #expect(world.health(of: "web")?.state == .healthy && world.changes(of: "web") == told + 2)
    #expect(try world.explained("web").hasPrefix("its function is healthy again since"))
    #expect(world.arbiter.function(withID: function ?? "")?.reports.map { $0.status?.health } == [nil, nil])
  }

  @Test func isWhatItsHostCannotSetUpAgain() throws {
    var world = World.rack()
    let failure = FunctionError {
      $0.step = "connect"
      $0.message = "no such namespace"
    }
    world.createOnB()
    world.hosts["b"]?.failure = failure
    world.settle()
    // What has never been there is not unhealthy.
    #expect(world.phase("web") == .preparing && world.health(of: "web") == nil)
    world.hosts["b"]?.failure = nil
    world.settle()
    #expect(world.phase("web") == .ready)
    world.hosts["b"]?.failure = failure
    world.settle()
    #expect(world.phase("web") == .preparing)
    #expect(world.health(of: "web")?.message == "connect fails: no such namespace")
    world.hosts["b"]?.failure = nil
    world.settle()
    #expect(world.phase("web") == .ready && world.health(of: "web")?.state == .healthy)
  }

  @Test func isNotWhatNobodyLooksAt() {
    var world = World.rack()
    world.createOnB(after: 10)
    world.settle()
    let function = world.claim("web")?.status?.assignment?.function
    world.hosts["b"]?.plugins[0].state = .failed
    world.hosts["b"]?.failure = FunctionError {
      $0.step = "observe"
      $0.message = "no plugin of class ethernet serves"
    }
    world.reportInventory("b")
    world.settle()
    #expect(world.phase("web") == .preparing && world.health(of: "web") == nil)
    world.pass(milliseconds: 60_000)
    #expect(world.claim("web")?.status?.assignment?.function == function && world.health(of: "web") == nil)
  }

  @Test func isRememberedOverARestart() throws {
    var world = World.rack()
    world.createOnB()
    world.settle()
    world.say("a", noCarrier)
    let health = world.health(of: "web")
    world.pass(milliseconds: 5000)
    world.restart()
    #expect(world.health(of: "web") == health)
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.health(of: "web") == health)
    world.restart()
    world.hosts["a"]?.health = nil
    world.settle()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.health(of: "web")?.state == .healthy)
  }

  @Test func leavesNothingBehind() {
    var world = World.rack()
    world.createOnB()
    world.settle()
    world.say("a", noCarrier)
    world.delete("web")
    world.settle()
    #expect(world.arbiter.hasEmptyIndexes)
    world.say("a", nil)
    world.createOnB()
    world.settle()
    #expect(world.health(of: "web") == nil)
  }
}

@Suite struct AFunctionThatFlaps {
  @Test func isToldABoundedNumberOfTimesAndUnhealthyMeanwhile() throws {
    var world = World.rack()
    world.createOnB()
    world.settle()
    let before = world.changes(of: "web")
    for _ in 0..<20 {
      world.say("a", noCarrier)
      world.say("a", nil)
    }
    // The sixth change is told with the hold that it leads to.
    #expect(world.changes(of: "web") == before + 6)
    let health = try #require(world.health(of: "web"))
    #expect(health.state == .unhealthy && health.message == "iov1 has no carrier")
    #expect(health.damping?.flips == 6)
    #expect(try world.explained("web").contains("that has changed 6 times of late, so that no change is told until"))
    world.pass(milliseconds: 62_000)
    #expect(world.health(of: "web")?.state == .healthy && world.health(of: "web")?.damping == nil)
    #expect(world.changes(of: "web") == before + 7)
    // Twice as long by now.
    world.say("a", noCarrier)
    world.say("a", nil)
    world.pass(milliseconds: 100_000)
    #expect(world.health(of: "web")?.state == .unhealthy && world.changes(of: "web") == before + 8)
    world.pass(milliseconds: 30_000)
    #expect(world.health(of: "web")?.state == .healthy)
    // A long time in which nothing happened is a new beginning.
    world.wait(milliseconds: 3 * 3_600_000)
    #expect(world.arbiter.ailments.isEmpty)
  }

  @Test func staysSoWhileItsHostIsAway() throws {
    var world = World.rack()
    world.createOnB()
    world.settle()
    for _ in 0..<5 {
      world.say("a", noCarrier)
      world.say("a", nil)
    }
    world.disconnect("a")
    world.pass(milliseconds: 200_000)
    #expect(world.health(of: "web")?.state == .unhealthy)
    world.connect("a")
    world.pass(milliseconds: 62_000)
    #expect(world.health(of: "web")?.state == .healthy)
  }
}

@Suite struct AClaimThatDoesNotPutUpWithIt {
  @Test func getsAnotherFunctionElsewhere() throws {
    var world = World.cards()
    world.createOnB(after: 60)
    world.settle()
    #expect(world.endNode("web") == "ethernet/b")
    world.say("b", noCarrier)
    world.pass(milliseconds: 50_000)
    #expect(world.endNode("web") == "ethernet/b" && world.phase("web") == .ready)
    #expect(try world.explained("web").contains("it is taken away in 10 seconds if it stays so"))
    world.pass(milliseconds: 12_000)
    world.settle()
    // The faster path is not taken again.
    #expect(world.endNode("web") == "ethernet/a" && world.phase("web") == .ready && world.health(of: "web") == nil)
    let ended = try #require(world.audit.holdings.first { $0.endNode == "ethernet/b" })
    #expect(ended.whyEnded.hasPrefix("was evicted: its function was unhealthy for 60 s: b: iov1 has no carrier"))
    #expect(
      try world.arbiter.explanation(of: "web").filters.contains {
        $0.filter == "failed" && $0.messages[0].contains("the function of 'web' was unhealthy there")
      })
  }

  @Test func isNotTriedThereForLongerEachTime() throws {
    var world = World.rack()
    world.createOnB(after: 10)
    world.settle()
    world.say("a", noCarrier)
    var tokens: [UInt64] = []
    for _ in 0..<8 {
      tokens.append(world.arbiter.endNodes["ethernet/52:54:00:00:00:01"]?.record.highestToken?.value ?? 0)
      world.pass(milliseconds: 75_000)
      world.settle()
    }
    // It has nothing else, and the function is no better: after one minute, two more, four more.
    #expect(zip(tokens, tokens.dropFirst()).map { $1 - $0 } == [1, 0, 1, 0, 0, 0, 1])
    world.delete("web")
    world.settle()
    world.wait(milliseconds: 3 * 3_600_000)
    world.wait(milliseconds: 3 * 3_600_000)
    #expect(world.arbiter.hasEmptyIndexes && world.arbiter.unhealthyPlaces.isEmpty)
  }

  @Test func waitsAndIsGivenWhatIsFreeAgainLater() {
    var world = World.rack()
    world.createOnB(after: 10)
    world.settle()
    world.say("a", noCarrier)
    world.pass(milliseconds: 14_000)
    world.settle()
    #expect(world.phase("web") == .pending)
    #expect(
      world.reasons("web").last?.contains("the function of 'web' was unhealthy there (a: iov1 has no carrier)") == true)
    world.hosts["a"]?.health = nil
    // Others are not concerned.
    world.createOnB("other", after: 20)
    world.settle()
    #expect(world.phase("other") == .ready)
    world.pass(milliseconds: 62_000)
    world.settle()
    #expect(world.phase("web") == .ready && world.health(of: "web") == nil)
  }

  @Test func staysIfItGetsWellInTime() {
    var world = World.cards()
    world.createOnB(after: 60)
    world.settle()
    for _ in 0..<2 {
      world.say("b", noCarrier)
      world.pass(milliseconds: 40_000)
      world.say("b", nil)
      world.pass(milliseconds: 40_000)
    }
    #expect(world.endNode("web") == "ethernet/b")
  }

  /// Nobody could let go, and what was last heard may be otherwise by now.
  @Test func staysWhileItsHostIsAway() throws {
    var world = World.cards()
    world.createOnB(after: 60)
    world.settle()
    world.say("b", noCarrier)
    world.disconnect("b")
    world.pass(milliseconds: 200_000)
    #expect(world.phase("web") == .ready)
    #expect(try world.explained("web").hasSuffix("it is kept: b is disconnected"))
    world.connect("b")
    world.pass(milliseconds: 62_000)
    world.settle()
    #expect(world.endNode("web") == "ethernet/a")
  }

  /// It is there again, and what it said before it went may be otherwise by now.
  @Test func staysUntilItsHostHasSaidWhatItHas() throws {
    var world = World.cards()
    world.createOnB(after: 60)
    world.settle()
    world.say("b", noCarrier)
    world.disconnect("b")
    world.pass(milliseconds: 50_000)
    world.connect("b", andReports: false)
    world.pass(milliseconds: 200_000)
    #expect(world.endNode("web") == "ethernet/b" && world.phase("web") == .ready)
    let words = try world.explained("web")
    #expect(words.hasSuffix("it is kept: b has yet to say what it has"), "\(words)")
    world.report("b", complete: true)
    world.pass(milliseconds: 62_000)
    world.settle()
    #expect(world.endNode("web") == "ethernet/a")
  }

  @Test func goesWithItsGroup() throws {
    var world = World.cards()
    let group = ["a", "b"].map { host in
      member("on-\(host)", host: host) {
        $0.endNode = EndNodeSelector { $0.name = "ethernet/\(host)" }
        $0.unhealthySeconds = 10
      }
    }
    try #require(world.apply(group).refusal == nil)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.ready, .ready])
    world.say("b", noCarrier)
    world.pass(milliseconds: 14_000)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.pending, .pending])
    world.say("b", nil)
    world.pass(milliseconds: 62_000)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.ready, .ready])
  }

  @Test func doesNotLoseDataUnasked() throws {
    var world = World.rack()
    let size = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    let refusal = world.create("data", deviceClass: "sata") {
      $0.attributes = size
      $0.unhealthySeconds = 10
    }
    #expect(refusal.refusal?.message.contains("lost with it; if that is meant, name an eviction policy") == true)
    let contradiction = world.createOnB("never", after: 10) { $0.evictionPolicy = .never }
    #expect(contradiction.refusal?.code == .invalidArgument)
    for (name, seconds) in [("kept", nil), ("scratch", UInt32(10))] {
      world.create(name, deviceClass: "sata") {
        $0.attributes = size
        $0.unhealthySeconds = seconds
        if seconds != nil { $0.evictionPolicy = .deadline }
      }
    }
    world.settle()
    world.say("c", noCarrier)
    world.pass(milliseconds: 14_000)
    world.settle()
    #expect(world.phase("kept") == .ready && world.phase("scratch") == .pending)
  }
}

@Suite struct APlan {
  @Test func changesNothingOfAilments() throws {
    var world = World.rack()
    world.createOnB(after: 60)
    world.settle()
    world.say("a", noCarrier)
    world.createOnB("low", after: 60)
    world.settle()
    let request = CreateClaimRequest {
      $0.name = "web"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = "b"
      }
    }
    let plan = try world.plan([request], replace: true)
    #expect(plan.claims.first?.action == .replace)
    #expect(world.arbiter.ailments["web"] != nil)
    world.pass(milliseconds: 64_000)
    world.settle()
    #expect(world.phase("web") == .pending)
  }
}
