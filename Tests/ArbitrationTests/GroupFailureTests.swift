import Messages
import Testing

@testable import Arbitration
@testable import Simulation

private let noSuchVLAN = FunctionError {
  $0.step = "create"
  $0.message = "no such VLAN"
  $0.permanent = true
}

extension World {
  fileprivate mutating func fail(_ host: String, _ failure: FunctionError? = noSuchVLAN) {
    hosts[host]?.failure = failure
  }

  fileprivate func holder(of name: String) -> String? { claim(name)?.status?.assignment?.controllingHost }
}

@Suite struct AGroupOfWhichOneFailsForGood {
  /// One on each card.
  private func pair(_ world: inout World) -> [CreateClaimRequest] {
    ["a", "b"].map { host in
      member("on-\(host)", host: host) {
        $0.endNode = EndNodeSelector { $0.name = "ethernet/\(host)" }
        $0.allowedPaths = [.directSoftware]
      }
    }
  }

  @Test func isPendingAsAWholeAndSaysWhy() throws {
    var world = World.cards()
    world.fail("b")
    try #require(world.apply(pair(&world)).refusal == nil)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.pending, .pending])
    #expect(world.reasons("on-b").first == "was evicted: its function failed for good: create on b: no such VLAN")
    #expect(
      world.reasons("on-a").first
        == "was evicted: 'on-b' of its group 'train' was evicted: its function failed for good: create on b: no such VLAN"
    )
    // Nothing is left of it, and others can have it.
    #expect(world.hosts["a"]?.functions.isEmpty == true && world.hosts["b"]?.functions.isEmpty == true)
    world.fail("b", nil)
    for number in 0..<2 { world.create("other-\(number)") { $0.allowedPaths = [.directSoftware] } }
    world.settle()
    #expect(world.phases("other-0", "other-1") == [.ready, .ready])
    for number in 0..<2 { world.delete("other-\(number)") }
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.pending, .pending])
    // It is tried again after a while.
    world.pass(milliseconds: 62_000)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.ready, .ready])
    #expect(world.reasons("on-b").isEmpty)
    #expect(world.arbiter.groupFailures.isEmpty)
  }

  @Test func isTriedThereLessAndLessOften() throws {
    var world = World.cards()
    world.fail("b")
    try #require(world.apply(pair(&world)).refusal == nil)
    world.settle()
    var tokens: [UInt64] = []
    for _ in 0..<8 {
      tokens.append(world.arbiter.endNodes["ethernet/b"]?.record.highestToken?.value ?? 0)
      world.pass(milliseconds: 61_000)
      world.settle()
    }
    // After one minute, two more, four more.
    let tries = zip(tokens, tokens.dropFirst()).map { $1 > $0 }
    #expect(tries == [true, false, true, false, false, false, true])
    #expect(world.phases("on-a", "on-b") == [.pending, .pending])
    #expect(world.reasons("on-b").last?.contains("'on-b' of its group failed there for good") == true)
    world.deleteGroup(of: "on-a")
    world.settle()
    #expect(world.arbiter.groupFailures.isEmpty && world.arbiter.hasEmptyIndexes)
  }

  @Test func isGrantedAtOnceWhereThereIsAnotherPlace() throws {
    var world = World.cards()
    world.fail("a")
    try #require(world.apply([member("one", host: "c"), member("two", host: "c")]).refusal == nil)
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
    #expect(world.holder(of: "one") == "b" && world.holder(of: "two") == "b")
  }

  @Test func waitsOnceItHasFailedInManyPlaces() throws {
    var world = World.cards(functions: 1)
    world.hosts["a"]?.endNodes = (10..<40).map { card("ethernet/a\($0)", functions: 1) }
    world.reportInventory("a")
    world.fail("a")
    world.create("alone", host: "b") { $0.allowedPaths = [.directSoftware] }
    world.settle()
    try #require(world.apply([member("one", host: "c"), member("two", host: "c")]).refusal == nil)
    world.settle()
    world.settle()
    #expect(world.phases("one", "two") == [.pending, .pending])
    let tried = world.arbiter.endNodes.all.filter {
      $0.controllingHost == "a" && $0.record.highestToken?.value ?? 0 > 1
    }
    #expect(tried.count < 10)
    #expect(world.reasons("one").contains { $0.contains("it has failed in 4 places") })
  }

  @Test func keepsWhatWasInUse() throws {
    var world = World.cards()
    try #require(world.apply(pair(&world)).refusal == nil)
    world.settle()
    world.fail("b")
    world.reboot("b")
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.ready, .preparing])
    world.fail("b", nil)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.ready, .ready])
  }

  @Test func losesNothingThatItsMembersHaveOnADisk() throws {
    // Of a card of a, which serves it.
    let both = [
      member("part", deviceClass: "sata"), member("served") { $0.endNode = EndNodeSelector { $0.name = "ethernet/a" } },
    ]
    var world = World.cards()
    try #require(world.apply(both).refusal == nil)
    world.settle()
    #expect(world.phases("part", "served") == [.ready, .ready])
    let part = world.claim("part")?.status?.assignment?.function
    world.fail("a")
    world.crash("a")
    world.confirmDead("a")
    world.settle()
    #expect(world.phases("part", "served") == [.ready, .pending])
    world.connect("a")
    world.settle()
    #expect(world.phases("part", "served") == [.ready, .pending])
    #expect(world.reasons("served").first?.contains("its function failed for good: create on a") == true)
    #expect(world.claim("part")?.status?.assignment?.function == part)
    // What was granted together with the one that fails was never anybody's.
    var other = World.cards()
    other.fail("a")
    try #require(other.apply(both).refusal == nil)
    other.settle()
    #expect(other.phases("part", "served") == [.pending, .pending])
  }

  @Test func isNoReasonToTakeAnythingFromAClaimByItself() {
    var world = World.cards()
    world.fail("b")
    world.create("alone", host: "b") { $0.allowedPaths = [.directSoftware] }
    world.settle()
    #expect(world.phase("alone") == .preparing)
    #expect(world.claim("alone")?.status?.error?.message == "no such VLAN")
  }

  @Test func waitsWhereTheFailureMayPass() throws {
    var world = World.cards()
    world.fail("b", FunctionError { $0.message = "busy" })
    try #require(world.apply(pair(&world)).refusal == nil)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.preparing, .preparing])
    world.fail("b", nil)
    world.settle()
    #expect(world.phases("on-a", "on-b") == [.ready, .ready])
  }
}
