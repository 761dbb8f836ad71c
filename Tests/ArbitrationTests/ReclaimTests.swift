import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// What a claim has lost it gets anew, and never before the former function is proven unusable.
@Suite struct ReclaimTests {
  private func failure(_ step: String, highest: UInt64) -> FunctionError {
    FunctionError {
      $0.step = step
      $0.message = "token is stale"
      $0.highestToken = FencingToken { $0.value = highest }
    }
  }

  @Test func aClaimWhoseTokenIsSpentGetsANewFunctionUnderAHigherToken() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let before = try #require(world.claim("web"))
    let token = try #require(before.status?.assignment?.token?.value)
    world.hosts["a"]?.failure = failure("serve", highest: token + 5)
    world.reboot("a")
    _ = world.hosts["a"]?.work()
    world.report("a")
    #expect(world.phase("web") == .reclaiming)
    #expect(world.claim("web")?.status?.pending.first?.message.contains("token \(token)") == true)
    // The refusal is no proof: nothing else is granted before the hosts have let go.
    #expect(world.hosts["a"]?.wanted.count == 1)
    world.hosts["a"]?.failure = nil
    world.settle()
    let after = try #require(world.claim("web"))
    #expect(world.phase("web") == .ready)
    #expect(after.uid == before.uid)
    #expect(after.specification == before.specification)
    #expect((after.status?.assignment?.token?.value ?? 0) > token + 5)
    #expect(world.hosts["b"]?.functions.count == 1)
  }

  @Test func aHostThatFencedItselfGetsAnotherFunctionWhenItIsBack() throws {
    var world = World.rack()
    world.create("web") { $0.lossPolicy = .selfFence }
    world.settle()
    let token = try #require(world.claim("web")?.status?.assignment?.token?.value)
    #expect(world.hosts["b"]?.wanted.values.first?.assignment?.lossPolicy == .selfFence)
    world.hosts["b"]?.functions = [:]
    world.hosts["b"]?.failure = failure("self-fence", highest: token)
    world.connect("b")
    _ = world.hosts["b"]?.work()
    world.report("b")
    #expect(world.phase("web") == .reclaiming)
    world.hosts["b"]?.failure = nil
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect((world.claim("web")?.status?.assignment?.token?.value ?? 0) > token)
  }

  @Test func aClaimWhoseHostCannotLookAtItsFunctionKeepsItAndSaysWhy() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let token = try #require(world.claim("web")?.status?.assignment?.token)
    world.cannotLookAtFunctions(of: "a")
    #expect(world.phase("web") == .preparing)
    #expect(world.claim("web")?.status?.error?.message == "its disk is gone")
    #expect(world.claim("web")?.status?.error?.host == "a")
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.claim("web")?.status?.assignment?.token == token)
  }

  @Test func aLowerTokenThanItsOwnTakesNothingFromAClaim() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.hosts["a"]?.failure = failure("serve", highest: 1)
    _ = world.hosts["a"]?.work()
    world.report("a")
    #expect(world.phase("web") == .preparing)
  }

  @Test func deletingAClaimThatIsBeingReclaimedReleasesIt() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.crash("a")
    world.disconnect("b")
    world.confirmDead("a")
    #expect(world.phase("web") == .reclaiming)
    try #expect(world.delete("web").get().status?.phase == .releasing)
    world.connect("b")
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func aReclaimSurvivesTheCoordinator() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.crash("a")
    world.disconnect("b")
    world.confirmDead("a")
    world.restart()
    #expect(world.phase("web") == .reclaiming)
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func dataOnADeadHostsDiskIsWaitedForAndNotReplaced() throws {
    var world = World.rack()
    world.create("data", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    world.settle()
    let function = world.claim("data")?.status?.assignment?.function
    world.crash("c")
    world.confirmDead("c")
    #expect(world.phase("data") == .preparing)
    #expect(
      world.claim("data")?.status?.pending.first?.message.contains("c, whose disk holds the data of 'data'") == true)
    #expect(world.hosts["a"]?.wanted.values.map(\.released) == [false])
    world.connect("c")
    world.settle()
    #expect(world.phase("data") == .ready)
    #expect(world.claim("data")?.status?.assignment?.function == function)
    world.crash("c")
    world.confirmDead("c")
    world.delete("data")
    world.settle()
    #expect(world.claim("data") == nil)
    #expect(world.arbiter.listedEndNodes.first { $0.deviceClass == "sata" }?.used?.sizeBytes == 1 << 20)
  }

  // MARK: Loss policies

  @Test func aDiskIsNotAskedToFenceItself() {
    var world = World.rack()
    let claim = world.create("data", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
      $0.lossPolicy = .selfFence
    }
    #expect(claim.refusal?.code == .invalidArgument)
    #expect(claim.refusal?.message.contains("self-fence is for functions that hold no data") == true)
  }

  @Test func aLossPolicyIsPartOfTheRequest() throws {
    var world = World.rack()
    let claim = try world.create("web").get()
    #expect(claim.specification?.lossPolicy == .keep)
    #expect(claim.status?.assignment?.lossPolicy == .keep)
    try #expect(world.create("web") { $0.lossPolicy = .keep }.get().uid == claim.uid)
    #expect(world.create("web") { $0.lossPolicy = .selfFence }.refusal?.code == .alreadyExists)
    let unknown = world.create("other") { $0.lossPolicy = .unrecognized(7) }
    #expect(unknown.refusal?.message.contains("loss policy number 7") == true)
  }

  // MARK: Addresses

  @Test func anotherMediationAddressTakesNothingAwayAndIsSaid() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.hosts["a"]?.mediationAddress = "10.0.0.99"
    world.connect("a")
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.claim("web")?.status?.pending.map(\.filter) == ["mediation-address"])
    #expect(world.claim("web")?.status?.pending.first?.message.contains("10.0.0.1 of a, which is 10.0.0.99") == true)
    world.hosts["a"]?.mediationAddress = "10.0.0.1"
    world.connect("a")
    #expect(world.claim("web")?.status?.pending.isEmpty == true)
  }
}
