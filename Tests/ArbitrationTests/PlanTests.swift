import Messages
import Testing

@testable import Arbitration
@testable import Simulation

private func wanted(
  _ name: String, host: String = "b", deviceClass: String = "ethernet",
  _ change: (inout ClaimSpecification) -> Void = { _ in }
) -> CreateClaimRequest {
  CreateClaimRequest {
    $0.name = name
    $0.specification = ClaimSpecification {
      $0.deviceClass = deviceClass
      $0.host = host
      change(&$0)
    }
  }
}

/// What a file of claims comes to: a plan of it, and the thing itself.
@Suite struct PlanTests {
  @Test func newOnesAreMadeAndOthersStay() throws {
    var world = World.rack()
    let file = [wanted("one"), wanted("two", host: "a")]
    let plan = try world.plan(file)
    #expect(plan.claims.map(\.action) == [.create, .create])
    #expect(plan.claims.map { $0.claim?.status?.assignment?.path } == [.mediated, .directSoftware])
    #expect(world.arbiter.listedClaims.isEmpty)
    let applied = try world.apply(file, planRevision: plan.revision).get()
    #expect(
      applied.claims.map { $0.claim?.status?.assignment?.function }
        == plan.claims.map { $0.claim?.status?.assignment?.function })
    world.settle()
    #expect(world.phase("one") == .ready && world.phase("two") == .ready)
    #expect(try world.apply(file).get().claims.map(\.action) == [.unchanged, .unchanged])
  }

  @Test func ratesAreChangedInPlace() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let token = world.claim("web")?.status?.assignment?.token
    let file = [
      wanted("web") {
        $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.maxTransmitBitsPerSecond = 1_000_000 } }
      }
    ]
    #expect(try world.plan(file).claims.map(\.action) == [.update])
    #expect(world.claim("web")?.specification?.attributes == nil)
    world.apply(file)
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.attributes?.ethernet?.maxTransmitBitsPerSecond == 1_000_000)
    #expect(world.claim("web")?.status?.assignment?.token == token)
    // What the file does not say any more has no limit.
    #expect(try world.apply([wanted("web")]).get().claims.map(\.action) == [.update])
    #expect(world.claim("web")?.status?.assignment?.attributes?.ethernet?.maxTransmitBitsPerSecond == nil)
  }

  @Test func whatCannotBeChangedIsMadeAnewIfThatIsAskedFor() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let file = [wanted("web", host: "c"), wanted("more")]
    let plan = try world.plan(file)
    #expect(plan.claims.map(\.action) == [.replace, .create])
    #expect(
      plan.claims[0].refusal.contains("only rates, the time to live and whether it is upgraded can be changed in place")
    )
    guard case .failure(let refusal) = world.apply(file) else {
      Issue.record("it was not refused")
      return
    }
    #expect(
      refusal.code == .failedPrecondition && refusal.message.hasPrefix("nothing was done. claim 'web': only rates"))
    #expect(world.claim("more") == nil)

    let replacing = try world.plan(file, replace: true)
    #expect(replacing.claims[0].refusal.isEmpty && replacing.claims[0].claim?.status?.assignment?.host == "c")
    let applied = try world.apply(file, replace: true, planRevision: replacing.revision).get()
    #expect(applied.claims.map { $0.claim?.status?.phase } == [.releasing, .preparing])
    world.settle()
    #expect(world.claim("web") == nil)
    #expect(try world.apply(file).get().claims.map(\.action) == [.create, .unchanged])
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.host == "c")
  }

  /// Who asked for it and had no answer finds by that what has become of it.
  @Test func aPlanShowsWhatIsBeingReleased() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let file = [wanted("web", host: "c"), wanted("more")]
    world.hosts["a"]?.isStuck = true
    let released = try world.apply(file, replace: true).get().claims[0].claim
    let plan = try world.plan(file, replace: true)
    #expect(plan.claims.map(\.action) == [.refuse, .unchanged])
    #expect(plan.claims[0].claim?.uid == released?.uid && plan.claims[0].claim?.status?.phase == .releasing)
  }

  /// By size, by rate, and by what of the new one alone is selected.
  @Test(arguments: [false, true])
  func nothingIsReleasedForWhatCanNeverBe(isForAny: Bool) throws {
    var world = World.rack()
    func disk(_ size: UInt64, _ selector: String = "") -> CreateClaimRequest {
      wanted("data", host: isForAny ? "" : "c", deviceClass: "sata") {
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
        $0.selector = selector
        if isForAny { $0.hosts = ["a", "c"] }
      }
    }
    world.apply([disk(1 << 20, "used.functions >= 0"), wanted("web")])
    world.settle()
    let function = world.claim("data")?.status?.assignment?.function
    #expect(function != nil)
    for selector in ["", "used.functions >= 0", "free.functions >= 0"] {
      let file = [disk(1 << 60, selector), wanted("web", host: "c")]
      let plan = try world.plan(file, replace: true)
      #expect(plan.claims[0].refusal.contains("a size of \(1 << 60) bytes is above"))
      let refusal = world.apply(file, replace: true).refusal
      #expect(refusal?.message.hasPrefix("nothing was done. claim 'data': a size of \(1 << 60) bytes is above") == true)
      #expect(world.phase("data") == .ready && world.phase("web") == .ready)
    }
    #expect(world.claim("data")?.status?.assignment?.function == function)
    // What it fits into it is made anew for, and nothing is left of what was tried.
    #expect(throws: Never.self) { try world.apply([disk(1 << 21, "free.functions >= 0")], replace: true).get() }
    world.settle()
    world.delete("web")
    world.settle()
    #expect(world.arbiter.listedClaims.isEmpty && world.arbiter.hasEmptyIndexes)
  }

  @Test func oneThatIsRefusedHasNoneDone() throws {
    var world = World.rack()
    let file = [wanted("one"), wanted("two", host: "z"), wanted("three", deviceClass: "tape")]
    #expect(try world.plan(file).claims.map(\.action) == [.create, .refuse, .refuse])
    guard case .failure(let refusal) = world.apply(file) else {
      Issue.record("it was not refused")
      return
    }
    #expect(refusal.message.contains("claim 'two': there is no host 'z'"))
    #expect(refusal.message.contains("claim 'three': no host has a plugin for the class 'tape'"))
    #expect(world.arbiter.listedClaims.isEmpty && world.arbiter.hasEmptyIndexes)
  }

  @Test func aSourceMayStandBehindItsParts() throws {
    var world = World.rack()
    world.hosts["c"]?.endNodes[0].capabilities?.consumers = ["host", "file_server"]
    world.reportInventory("c")
    let file = [
      wanted("part", deviceClass: "sata") { $0.source = "source" },
      wanted("source", host: "c", deviceClass: "sata") {
        $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
      },
    ]
    #expect(try world.plan(file).claims.map(\.action) == [.create, .create])
    world.apply(file)
    world.settle()
    #expect(world.phase("source") == .ready && world.phase("part") == .ready)
  }

  private func source(_ name: String, from source: String = "") -> CreateClaimRequest {
    wanted(name, host: "c", deviceClass: "sata") {
      $0.source = source
      $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
    }
  }

  private func member(_ name: String, from source: String = "") -> CreateClaimRequest {
    wanted(name, deviceClass: source.isEmpty ? "ethernet" : "sata") {
      $0.group = "g"
      $0.source = source
    }
  }

  private var rackWithFileServer: World {
    var world = World.rack()
    world.hosts["c"]?.endNodes[0].capabilities?.consumers = ["host", "file_server"]
    world.reportInventory("c")
    return world
  }

  /// Of the first member, of another one, or nowhere near: whatever stands first in the file.
  @Test(arguments: [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
  func theSourceOfAMemberMayStandAnywhere(order: [Int]) throws {
    var world = rackWithFileServer
    let file = [member("one"), member("two", from: "disk"), source("disk")]
    let applied = try world.apply(order.map { file[$0] }).get()
    #expect(applied.claims.map(\.action) == [.create, .create, .create])
    world.settle()
    for name in ["one", "two", "disk"] { #expect(world.phase(name) == .ready) }
  }

  @Test func sourcesInACircleAreRefusedAsSuch() throws {
    var world = rackWithFileServer
    let file = [source("c", from: "a"), source("a", from: "b"), source("b", from: "a"), wanted("web")]
    let plan = try world.plan(file)
    #expect(plan.claims.map(\.action) == [.refuse, .refuse, .refuse, .create])
    #expect(plan.claims[0].refusal.contains("there is no claim 'a' that could be the source of 'c'"))
    for claim in plan.claims[1...2] {
      #expect(
        claim.refusal
          == "their sources go in a circle: a -> b -> a; name another source for one of them, or none")
    }
    let refusal = world.apply(file).refusal
    #expect(refusal?.message.contains("claims a, b: their sources go in a circle: a -> b -> a;") == true)
    #expect(world.arbiter.listedClaims.isEmpty && world.arbiter.hasEmptyIndexes)
  }

  /// A member waits for what is a part of another member.
  @Test func aGroupMayBePartOfACircle() throws {
    let file = [member("one", from: "disk"), member("two"), source("disk", from: "two")]
    let plan = try rackWithFileServer.plan(file)
    #expect(plan.claims.map(\.action) == [.refuse, .refuse, .refuse])
    for claim in plan.claims {
      #expect(
        claim.refusal.contains("in a circle: one -> disk -> two (made together with one, of its group);"))
    }
  }

  /// Not what is as it is to be.
  @Test func inACircleWithWhatIsThereTheNewOneAloneIsRefused() throws {
    var world = rackWithFileServer
    _ = try world.apply([source("a"), source("b", from: "a")]).get()
    world.settle()
    let plan = try world.plan([source("b", from: "a"), source("a", from: "b")], replace: true)
    #expect(plan.claims.map(\.action) == [.unchanged, .refuse])
    #expect(plan.claims[1].refusal.contains("claim 'a' would be its own source: a from b from a"))
  }

  @Test func aLongCircleIsNotNamedInFull() throws {
    let file = (0..<20).map { source("s\($0)", from: "s\(($0 + 1) % 20)") }
    let refusals = try rackWithFileServer.plan(file).claims.map(\.refusal)
    #expect(Set(refusals).count == 1)
    #expect(refusals[0].contains("s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> s8 -> ... -> s0;"))
  }

  @Test func aListThatNobodyNeedsIsRefusedAsItIs() throws {
    let paths = [Path](repeating: .mediated, count: 17)
    let tooMany = wanted("many") {
      $0.allowedPaths = paths
      $0.group = "g"
    }
    let plan = try World.rack().plan([
      member("one"), tooMany, wanted("web") { $0.allowedPaths = [.mediated, .mediated] },
    ])
    #expect(plan.claims.map(\.action) == [.refuse, .refuse, .create])
    #expect(plan.claims[0].refusal == "its group 'g' is not made, because of 'many'")
    #expect(plan.claims[1].refusal.hasPrefix("17 allowed paths are asked for; 16 are the most"))
    #expect(plan.claims[1].specification?.allowedPaths == paths)
    #expect(plan.claims[2].specification?.allowedPaths == [.mediated])
  }

  @Test func aThousandClaimsAreTheMost() throws {
    var world = World.rack()
    let file = (0..<1001).map { wanted("claim-\($0)", deviceClass: "tape") }
    let most = try world.plan(Array(file.dropLast()))
    #expect(most.claims.count == 1000)
    #expect(throws: Refusal.self) { try world.plan(file) }
    let refusal = world.apply(file).refusal
    #expect(refusal?.code == .invalidArgument)
    #expect(
      refusal?.message.hasPrefix("1001 claims are to be applied at once; 1000 are the most: split the file") == true)
  }

  @Test func aStalePlanIsRefusedAsSuch() throws {
    var world = World.rack()
    let file = [wanted("one")]
    let plan = try world.plan(file)
    world.create("other")
    guard case .failure(let refusal) = world.apply(file, planRevision: plan.revision) else {
      Issue.record("it was not refused")
      return
    }
    #expect(refusal.code == .aborted && refusal.message.contains("the plan was made on the revision \(plan.revision)"))
    #expect(world.claim("one") == nil)
    // A host that goes is no new revision of any claim, and a plan may come to something else without it.
    let second = try world.plan(file)
    world.disconnect("c")
    #expect(throws: Refusal.self) { try world.apply(file, planRevision: second.revision).get() }
    #expect(throws: Never.self) { try world.apply(file, planRevision: try world.plan(file).revision).get() }
  }

  @Test func aClaimThatStandsTwiceIsRefused() {
    #expect(throws: Refusal.self) { try World.rack().plan([wanted("one"), wanted("one")]) }
  }
}

@Suite struct PlannedStormTests {
  /// Whatever the state is, a plan changes nothing of it.
  @Test(arguments: UInt64(1)...12)
  func aPlanLeavesEverythingAsItIs(seed: UInt64) throws {
    var storm = try Storm(seed: seed, hasFileServers: seed % 2 == 0, isHarsh: true)
    for step in 0..<120 {
      storm.act()
      guard step % 8 == 0 else { continue }
      let request = storm.wanted()
      storm.arbiter.noteServedClasses()
      let before = contents(storm.arbiter)
      _ = try storm.arbiter.planClaims(
        request, at: Instant(monotonicMilliseconds: storm.now, wallMilliseconds: 1_800_000_000_000))
      let after = contents(storm.arbiter)
      let difference = zip(before, after).first { $0 != $1 }
      #expect(before == after, "seed \(seed), step \(step): \(difference.map { "\($0.0)\nbecame\n\($0.1)" } ?? "")")
    }
  }
}

/// All that a value holds, line by line, in an order that does not depend on hashing.
private func contents(_ value: Any, at path: String = "") -> [String] {
  if let set = value as? OrderedSet<String> { return ["\(path): \(Array(set))"] }
  if let set = value as? OrderedSet<Room> { return ["\(path): \(Array(set))"] }
  let mirror = Mirror(reflecting: value)
  guard !mirror.children.isEmpty else { return ["\(path): \(value)"] }
  switch mirror.displayStyle {
  case .dictionary, .set:
    return mirror.children.map { contents($0.value).joined(separator: " | ") }.sorted().map { "\(path)[]: \($0)" }
  default:
    return mirror.children.enumerated().flatMap { place, child in
      contents(child.value, at: "\(path).\(child.label ?? "\(place)")")
    }
  }
}
