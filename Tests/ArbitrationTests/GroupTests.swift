import Messages
import Testing

@testable import Arbitration
@testable import Simulation

func member(
  _ name: String, of group: String = "train", host: String = "b", deviceClass: String = "ethernet",
  _ change: (inout ClaimSpecification) -> Void = { _ in }
) -> CreateClaimRequest {
  CreateClaimRequest {
    $0.name = name
    $0.specification = ClaimSpecification {
      $0.deviceClass = deviceClass
      $0.host = host
      $0.group = group
      if deviceClass == "sata" { $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } } }
      change(&$0)
    }
  }
}

extension World {
  /// Two cards, and a disk.
  static func cards(functions: UInt32 = 2, bitsPerSecond: UInt64 = 0) -> World {
    var world = World()
    for (number, name) in ["a", "b", "c"].enumerated() {
      var host = FakeHost(name, address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin(), sataPlugin()]
      host.endNodes = name == "c" ? [disk("sata/S3R1AL")] : [card("ethernet/\(name)", functions: functions)]
      if bitsPerSecond > 0 { host.endNodes[0].capacity?.bitsPerSecond = bitsPerSecond }
      world.add(host)
    }
    return world
  }

  func phases(_ names: String...) -> [ClaimPhase?] { names.map(phase) }

  @discardableResult
  mutating func deleteGroup(of name: String) -> Result<Claim, Refusal> {
    let request = DeleteClaimRequest {
      $0.name = name
      $0.wholeGroup = true
    }
    return ask { .claimDeleted($0, request) }.map(\.claim)
  }

  fileprivate mutating func evict(_ name: String, discardsData: Bool = false) -> Result<Claim, Refusal> {
    let request = EvictClaimRequest {
      $0.name = name
      $0.discardData = discardsData
    }
    return ask { .claimEvicted($0, request) }.map(\.claim)
  }
}

@Suite struct AGroupOfClaims {
  @Test func isGrantedAsAWholeOrNotAtAll() throws {
    var world = World.cards()
    world.create("alone")
    world.settle()
    let four = ["1", "2", "3", "4"].map { member("w-\($0)") }
    #expect(try world.plan(four).claims.map(\.action) == Array(repeating: .create, count: 4))
    try #require(world.apply(four).refusal == nil)
    world.settle()
    #expect(world.phases("w-1", "w-2", "w-3", "w-4") == Array(repeating: .pending, count: 4))
    #expect(world.reasons("w-1") == ["all of its group 'train' get a function at once, and 'w-4' finds none"])
    #expect(world.reasons("w-4") == ["what it could have is what the others of its group 'train' need, too"])
    // Three are free, and nobody of the group has one of them.
    world.create("another")
    world.settle()
    #expect(world.phase("another") == .ready)
    for name in ["alone", "another"] { world.delete(name) }
    world.settle()
    #expect(world.phases("w-1", "w-2", "w-3", "w-4") == Array(repeating: .ready, count: 4))
  }

  @Test func doesNotFailBecauseOneTakesWhatAnotherNeeds() throws {
    var world = World.cards()
    // The first ones would take the card that the last one must have.
    let bound = member("z") { $0.endNode = EndNodeSelector { $0.name = "ethernet/a" } }
    let others = ["p", "q", "r"].map { member($0) }
    world.create("alone") { $0.endNode = EndNodeSelector { $0.name = "ethernet/b" } }
    world.settle()
    world.delete("alone")
    world.settle()
    try #require(world.apply(others + [bound]).refusal == nil)
    world.settle()
    #expect(world.phases("p", "q", "r", "z") == Array(repeating: .ready, count: 4))
    #expect(world.endNode("z") == "ethernet/a")
  }

  @Test func isGrantedHoweverManyOfItMustHaveACertainEndNode() throws {
    var world = World.cards()
    let ids = (1...5).map { "ethernet/c\($0)" }
    world.hosts["c"]?.endNodes += ids.map { card($0, functions: 1) }
    world.reportInventory("c")
    // Some name it, and of the others only placement knows that they can go nowhere else.
    let pinned = ids.prefix(4).enumerated().map { index, id in
      member("p-\(index)") { specification in
        if index < 2 {
          specification.endNode = EndNodeSelector { $0.name = id }
        } else {
          specification.selector = "id == \"\(id)\""
        }
      }
    }
    let fill = (0..<4).map { "fill-\($0)" }
    for (index, name) in fill.enumerated() {
      world.create(name) { $0.endNode = EndNodeSelector { $0.name = "ethernet/\(index < 2 ? "a" : "b")" } }
    }
    world.settle()
    try #require(world.apply([member("any")] + pinned).refusal == nil)
    world.settle()
    #expect(world.phases("any", "p-0", "p-1", "p-2", "p-3") == Array(repeating: .ready, count: 5))
    #expect(world.endNode("any") == "ethernet/c5")
  }

  @Test func isReadyWhenAllOfItAre() throws {
    var world = World.cards()
    world.hosts["b"]?.isStuck = true
    try #require(
      world.apply([
        member("one", host: "a") { $0.allowedPaths = [.directSoftware] },
        member("two", host: "b") { $0.allowedPaths = [.directSoftware] },
      ]).refusal == nil)
    world.settle()
    #expect(world.phases("one", "two") == [.preparing, .preparing])
    #expect(world.reasons("one") == ["it has what it is to have, and waits for 'two' of its group 'train'"])
    world.hosts["b"]?.isStuck = false
    world.disconnect("b")
    world.connect("b")
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
    // A coordinator that was away changes nothing.
    world.restart()
    for name in ["a", "c"] { world.connect(name) }
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
    // Nor does one whose host is away, to those that are set up again.
    world.reboot("a")
    #expect(world.phases("one", "two") == [.preparing, .ready])
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
  }

  @Test func letsGoWhenOneIsEvictedAndIsGrantedAgainAsAWhole() throws {
    var world = World.cards()
    try #require(world.apply([member("one"), member("two")]).refusal == nil)
    world.settle()
    let held = ["one", "two"].map { world.claim($0)?.status?.assignment?.token?.value ?? 0 }
    #expect(try world.evict("one").get().status?.phase == .reclaiming)
    #expect(
      world.reasons("two").first == "was evicted: 'one' of its group 'train' was evicted: an operator asked for it")
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
    let now = ["one", "two"].map { world.claim($0)?.status?.assignment?.token?.value ?? 0 }
    #expect(zip(held, now).allSatisfy { $0 < $1 })
  }

  @Test func isPendingAsAWholeOnceOneHasLostItsFunction() throws {
    var world = World.cards()
    try #require(
      world.apply([
        member("one") { $0.endNode = EndNodeSelector { $0.name = "ethernet/a" } },
        member("two") { $0.endNode = EndNodeSelector { $0.name = "ethernet/b" } },
      ]).refusal == nil)
    world.settle()
    try #require(world.phases("one", "two") == [.ready, .ready])
    world.crash("a")
    world.confirmDead("a")
    world.settle()
    #expect(world.phases("one", "two") == [.pending, .pending])
    #expect(world.reasons("two").first?.contains("'one' of its group 'train' has lost its function") == true)
    world.reboot("a")
    world.connect("a")
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
  }

  @Test func keepsWhatIsOnADiskWhenAnotherMemberLosesItsFunction() throws {
    var world = World.cards()
    try #require(
      world.apply([
        member("net") { $0.endNode = EndNodeSelector { $0.name = "ethernet/a" } },
        member("disk", deviceClass: "sata"),
      ]).refusal == nil)
    world.settle()
    let function = world.claim("disk")?.status?.assignment?.function
    world.crash("a")
    world.confirmDead("a")
    world.settle()
    #expect(world.phases("net", "disk") == [.pending, .ready])
    world.reboot("a")
    world.connect("a")
    world.settle()
    #expect(world.phases("net", "disk") == [.ready, .ready])
    #expect(world.claim("disk")?.status?.assignment?.function == function)
    #expect(world.evict("net").refusal?.message.contains("what 'disk' has on a disk would be lost") == true)
    #expect(world.evict("net", discardsData: true).refusal == nil)
    #expect(world.phases("net", "disk") == [.reclaiming, .reclaiming])
    world.settle()
    #expect(world.phases("net", "disk") == [.ready, .ready])
    #expect(world.claim("disk")?.status?.assignment?.function != function)
  }

  @Test func isDeletedAsAWhole() throws {
    var world = World.cards()
    try #require(world.apply([member("one"), member("two")]).refusal == nil)
    world.settle()
    let refusal = world.delete("one").refusal
    #expect(refusal?.message.contains("of which none is without the others (two)") == true)
    #expect(world.phases("one", "two") == [.ready, .ready])
    world.deleteGroup(of: "one")
    world.settle()
    #expect(world.phases("one", "two") == [nil, nil])
    #expect(world.arbiter.claimsOfGroup.isEmpty)
  }

  @Test func isDeletedAsAWholeWhileItWaits() throws {
    var world = World.cards()
    for name in ["a", "b"] { world.create("alone-\(name)") }
    world.settle()
    try #require(world.apply(["1", "2", "3"].map { member("w-\($0)") }).refusal == nil)
    try #require(world.phases("w-1", "w-2", "w-3") == [.pending, .pending, .pending])
    #expect(world.deleteGroup(of: "w-2").refusal == nil)
    #expect(world.phases("w-1", "w-2", "w-3") == [nil, nil, nil])
  }

  @Test func endsAsAWhole() throws {
    var world = World.cards()
    try #require(
      world.apply(["one", "two"].map { member($0) { $0.timeToLiveSeconds = 180 } }).refusal == nil)
    world.settle()
    // Who extends one extends all of them: the first that ends takes the others with it.
    world.extend("two", seconds: 360)
    world.pass(milliseconds: 185_000)
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
    #expect(world.claim("one")?.expires == world.claim("two")?.expires)
    let longer = try world.apply(["one", "two"].map { member($0) { $0.timeToLiveSeconds = 365 } }).get()
    #expect(longer.claims.map(\.action) == [.update, .update])
    #expect(longer.claims.map { $0.former?.timeToLiveSeconds } == [360, 360])
    let times = [("one", 365), ("two", 60)].map { name, seconds in member(name) { $0.timeToLiveSeconds = seconds } }
    #expect(world.apply(times).refusal?.message.contains("live for different times") == true)
    world.pass(milliseconds: 370_000)
    world.settle()
    #expect(world.phases("one", "two") == [nil, nil])
    let causes = world.audit.holdings.map { $0.whyEnded.prefix { $0 != ";" } }
    #expect(causes == ["its time to live was over", "its time to live was over"])
  }

  @Test func survivesARestart() throws {
    var world = World.cards()
    try #require(world.apply(["1", "2", "3", "4"].map { member("w-\($0)") }).refusal == nil)
    world.settle()
    try #require(world.phase("w-4") == .ready)
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.delete("w-1").refusal != nil)
    _ = world.evict("w-2")
    #expect(world.phases("w-1", "w-2", "w-3", "w-4") == Array(repeating: .reclaiming, count: 4))
  }

  @Test func isAppliedAgainWithoutAChange() throws {
    var world = World.cards()
    let file = [member("one"), member("two")]
    try #require(world.apply(file).refusal == nil)
    world.settle()
    #expect(try world.apply(file).get().claims.map(\.action) == [.unchanged, .unchanged])
  }

  private func refusal(in world: World = .cards(), of claims: [CreateClaimRequest]) -> String {
    var world = world
    let before = world.arbiter.listedClaims.count
    let words = world.apply(claims).refusal?.message ?? "not refused"
    #expect(world.arbiter.listedClaims.count == before)
    return words
  }

  @Test func thatCanNeverBeIsRefusedAtOnce() throws {
    #expect(
      refusal(of: (1...5).map { member("w-\($0)") }).contains(
        "asks for 5 functions of class ethernet at once, and the 2 end nodes that it selects have 4"))
    let half = { (name: String) in
      member(name, host: "c", deviceClass: "sata") { $0.attributes?.block?.sizeBytes = 1 << 29 }
    }
    #expect(
      refusal(of: [half("d-1"), half("d-2"), half("d-3")]).contains(
        "asks for 3 functions of class sata at once, and the only end node that it selects has room for 2 of them, with 536870912 "
          + "bytes each"))
    let whole = { (name: String) in member(name, host: "c", deviceClass: "sata") { $0.attributes = nil } }
    #expect(refusal(of: [whole("d-1"), whole("d-2")]).contains("has room for 1 of them"))
    let wide = { (name: String) in
      member(name) {
        $0.attributes = Attributes {
          $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = 600_000_000 }
        }
      }
    }
    #expect(
      refusal(in: .cards(bitsPerSecond: 1_000_000_000), of: [wide("w-1"), wide("w-2"), wide("w-3")]).contains(
        "have room for 2 of them, with at least 600000000 bit/s each"))
    #expect(
      refusal(of: [member("good"), member("bad") { $0.host = "nowhere" }]).contains(
        "its group 'train' is not made, because of 'bad'"))
    #expect(
      refusal(of: [
        member("server", deviceClass: "sata") {
          $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
        },
        member("part", deviceClass: "sata") { $0.source = "server" },
      ]).contains("so the two are never granted together"))
    let tooMany = refusal(of: (0...256).map { member("w-\($0)") })
    #expect(tooMany.contains("has 257 members") && tooMany.utf8.count < 1000)
    #expect(refusal(of: [member("one", of: "Not a name")]).contains("the name of a group"))
    #expect(
      refusal(of: [member("one"), member("two") { $0.timeToLiveSeconds = 60 }]).contains("live for different times"))
    #expect(refusal(of: [member("one"), member("two") { $0.priority = 1 }]).contains("have different priorities"))
    #expect(refusal(of: [member("one"), member("two") { $0.upgrade = true }]).contains("cannot ask for an upgrade"))
  }

  @Test func cannotAskForAnUpgradeLaterEither() {
    var world = World.cards(functions: 8)
    let members = ["one", "two"].map { name in member(name) { $0.allowedPaths = [.directSoftware, .mediated] } }
    #expect(world.apply(members).refusal == nil)
    world.settle()
    let later = ["one", "two"].map { name in
      member(name) { ($0.upgrade, $0.allowedPaths) = (true, [.directSoftware, .mediated]) }
    }
    #expect(refusal(in: world, of: later).contains("cannot ask for an upgrade"))
    #expect(world.claim("one")?.specification?.upgrade == false)
  }

  @Test func thatIsMoreThanAnyQuotaAllowsIsRefusedAtOnce() {
    var world = World.cards(functions: 8)
    world.createTenant("lab", bits: 20_000_000_000)
    world.createTenant("vast", bits: .max)
    let fast = { (name: String, tenant: String, rate: UInt64) in
      member(name) {
        $0.tenant = tenant
        $0.attributes = Attributes {
          $0.ethernet = EthernetAttributes { $0.minTransmitBitsPerSecond = rate }
        }
      }
    }
    let four = (1...4).map { fast("w-\($0)", "lab", 5_000_000_001) }
    #expect(refusal(in: world, of: four).contains("20000000004 bit/s of class ethernet at once"))
    #expect(refusal(in: world, of: four).contains("the quota of tenant 'lab' is 20000000000"))
    // A sum that is more than a number can be is above every quota.
    for name in ["a", "b"] { world.hosts[name]?.endNodes[0].capacity?.bitsPerSecond = .max }
    for name in ["a", "b"] { world.reportInventory(name) }
    #expect(
      refusal(in: world, of: (1...2).map { fast("y-\($0)", "vast", .max / 2 + 1) }).contains(
        "the quota of tenant 'vast'"))
    #expect(world.apply((1...4).map { fast("x-\($0)", "lab", 5_000_000_000) }).refusal == nil)
  }

  @Test func isRefusedWhereItsHostCanNeverHaveAllOfIt() {
    var world = World.cards()
    let own = { (name: String, host: String) in
      member(name, of: "of-\(name.prefix(1))", host: host) { $0.allowedPaths = [.directSoftware] }
    }
    #expect(
      refusal(in: world, of: (1...3).map { own("w-\($0)", "a") }).contains(
        "asks for 3 functions of class ethernet at once, and the only end node that it selects and a can use on the path "
          + "direct-software has 2"))
    let near = { (name: String) in member(name, host: "a") { $0.locality = Locality { $0.within = .host } } }
    #expect(refusal(in: world, of: (1...3).map { near("n-\($0)") }).contains("has 2"))
    let far = { (name: String) in member(name, host: "a") { $0.allowedPaths = [.mediated] } }
    #expect(refusal(in: world, of: (1...3).map { far("f-\($0)") }).contains("has 2"))
    let either = { (name: String) in
      member(name, host: "") {
        $0.hosts = ["a", "c"]
        $0.allowedPaths = [.directSoftware]
      }
    }
    #expect(refusal(in: world, of: (1...3).map { either("e-\($0)") }).contains("has 2"))
    // As many as a card has for one path.
    world.hosts["b"]?.endNodes[0] = card("ethernet/b", functions: 8)
    let capabilities = PathCapabilities {
      $0.path = .directSoftware
      $0.functions = 3
      $0.consumers = ["host"]
    }
    world.hosts["b"]?.endNodes[0].capabilities?.byPath = [capabilities]
    world.reportInventory("b")
    #expect(refusal(in: world, of: (1...4).map { own("b-\($0)", "b") }).contains("has 3"))
    // What may be: of a host that has none yet nobody knows what it will have.
    #expect(world.apply((1...3).map { own("c-\($0)", "c") }).refusal == nil)
    #expect(world.apply([own("m-1", "a"), own("m-2", "a"), own("m-3", "b")]).refusal == nil)
    #expect(world.apply((1...3).map { member("o-\($0)", host: "a") }).refusal == nil)
  }

  @Test func hasTheMembersThatItWasMadeWith() throws {
    var world = World.cards()
    world.create("alone")
    #expect(
      world.create("single") { $0.group = "train" }.refusal?.message.contains("are made together") == true)
    #expect(refusal(in: world, of: [member("alone"), member("two")]).contains("which is not of group 'train'"))
    try #require(world.apply([member("one"), member("two")]).refusal == nil)
    #expect(refusal(in: world, of: [member("three")]).contains("has the members that it was made with, one, two"))
    #expect(refusal(in: world, of: [member("one", host: "a")]).contains("no member is made anew by itself"))
  }

  @Test func thatIsBeingDeletedIsMadeAnewOnceItIsGone() throws {
    var world = World.cards()
    let file = [
      member("one", host: "a") { $0.allowedPaths = [.directSoftware] },
      member("two", host: "b") { $0.allowedPaths = [.directSoftware] },
    ]
    try #require(world.apply(file).refusal == nil)
    world.settle()
    world.hosts["b"]?.isStuck = true
    world.deleteGroup(of: "one")
    world.settle()
    try #require(world.phases("one", "two") == [nil, .releasing])
    let words = "group 'train' is being released; apply again once it is gone"
    #expect(refusal(in: world, of: file) == "nothing was done. claims one, two: \(words)")
    #expect(refusal(in: world, of: [member("other")]) == "nothing was done. claim 'other': \(words)")
    #expect(refusal(in: world, of: [member("two", of: "another")]).hasSuffix("claim 'two': \(words)"))
    world.hosts["b"]?.isStuck = false
    world.disconnect("b")
    world.connect("b")
    world.settle()
    #expect(try world.apply(file).get().claims.map(\.action) == [.create, .create])
    world.settle()
    #expect(world.phases("one", "two") == [.ready, .ready])
  }

  @Test func takesNoNameOfWhatIsBeingDeleted() throws {
    var world = World.cards()
    world.create("one")
    world.settle()
    for name in ["a", "b"] { world.hosts[name]?.isStuck = true }
    world.delete("one")
    try #require(world.phase("one") == .releasing)
    #expect(
      refusal(in: world, of: [member("one"), member("two")]).contains(
        "claim 'one': it is being released; apply again once it is gone"))
  }

  @Test func thatIsTriedLeavesNothingBehind() throws {
    var world = World.cards()
    world.create("alone")
    world.settle()
    try #require(world.apply(["1", "2", "3", "4"].map { member("w-\($0)") }).refusal == nil)
    let before = world.arbiter.listedEndNodes
    _ = try world.plan([member("x", of: "other"), member("y", of: "other")])
    let explanation = try world.arbiter.explanation(of: "w-1")
    #expect(explanation.summary.contains("all of its group 'train' get a function at once, and 'w-4' finds none"))
    world.pass(milliseconds: 5000)
    let after = world.arbiter.listedEndNodes
    #expect(after.map(\.highestToken) == before.map(\.highestToken))
    #expect(after.map { $0.used?.functions ?? 0 }.reduce(0, +) == 1)
  }
}
