import Messages
import Testing

@testable import Arbitration

@Suite struct LifeOfAClaimTests {
  @Test func aFunctionOfAnotherHostBecomesReadyServerFirst() throws {
    var world = World.rack()
    let claim = try world.create("web").get()
    #expect(claim.status?.phase == .preparing)
    #expect(world.hosts["a"]?.wanted.values.map(\.role) == [.server])
    #expect(world.hosts["b"]?.wanted.isEmpty == true)
    world.settle()
    #expect(world.phase("web") == .ready)
    let assignment = try #require(world.claim("web")?.status?.assignment)
    #expect(assignment.path == .mediated)
    #expect(assignment.mediation?.serverAddress == "10.0.0.1")
    #expect(assignment.mediation?.consumerAddress == "10.0.0.2")
    #expect((assignment.mediation?.vni ?? 0) > 0)
    #expect(assignment.attributes?.ethernet?.mtu == 1450)
    #expect(assignment.arrival?.interfaceName == "iov0")
    #expect(assignment.arrival?.enforced?.ethernet?.mtu == 1450)
    #expect(world.hosts["b"]?.functions.values.map(\.role) == [.consumer])
  }

  @Test func aFunctionOfTheHostItselfIsDirect() throws {
    var world = World.rack()
    world.create("web", host: "a")
    world.settle()
    let assignment = try #require(world.claim("web")?.status?.assignment)
    #expect(world.phase("web") == .ready)
    #expect(assignment.path == .directSoftware)
    #expect(assignment.controllingHost == "a")
    #expect(assignment.mediation == nil)
    #expect(assignment.attributes?.ethernet?.mtu == 9000)
  }

  @Test func aDiskIsConnectedOnlyWhenTheServersPortIsKnown() throws {
    var world = World.rack()
    world.create("data", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    world.settle()
    let assignment = try #require(world.claim("data")?.status?.assignment)
    #expect(world.phase("data") == .ready)
    #expect(assignment.mediation?.serverPort == 10_809)
    #expect(assignment.mediation?.exportName == "iov-\(assignment.token?.value ?? 0)-\(assignment.claimUid.prefix(8))")
    #expect(world.hosts["a"]?.wanted.values.first?.assignment?.mediation?.serverPort == 10_809)
  }

  @Test func releasingCutsTheServerBeforeTheConsumer() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let claim = try world.delete("web").get()
    #expect(claim.status?.phase == .releasing)
    #expect(world.hosts["a"]?.wanted.values.map(\.released) == [true])
    #expect(world.hosts["b"]?.wanted.values.map(\.released) == [false])
    world.settle()
    #expect(world.claim("web") == nil)
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
    #expect(world.store.keys.allSatisfy { $0.kind != .claim && $0.kind != .wantedFunction })
    guard case .claimGone(let gone)? = world.watched.last else {
      Issue.record("watchers were not told")
      return
    }
    #expect(gone.name == "web")
  }

  @Test func aFunctionThatIsBeingScrubbedIsCutAndStillTakesUpRoom() throws {
    var world = World.rack()
    world.hosts["c"]?.isScrubbingForever = true
    world.create("data", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 30 } }
    }
    world.settle()
    world.delete("data")
    world.settle()
    #expect(world.hosts["a"]?.functions.isEmpty == true)
    #expect(world.phase("data") == .releasing)
    world.create("more", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 4096 } }
    }
    #expect(world.claim("more")?.status?.pending.map(\.filter) == ["size"])
    world.hosts["c"]?.isScrubbingForever = false
    world.settle()
    #expect(world.claim("data") == nil)
    #expect(world.phase("more") == .ready)
  }

  @Test func aPendingClaimIsGoneAsSoonAsItIsDeleted() throws {
    var world = World.rack()
    world.disconnect("a")
    world.create("web")
    #expect(world.phase("web") == .pending)
    #expect(try world.delete("web").get().status?.phase == .releasing)
    #expect(world.claim("web") == nil)
    #expect(world.delete("web").refusal?.code == .notFound)
  }

  @Test func aClaimWhoseConsumerNeverHeardOfItDoesNotWaitForThatConsumer() {
    var world = World.rack()
    world.create("web")
    world.disconnect("b")
    world.delete("web")
    world.settle()
    #expect(world.claim("web") == nil)
  }

  @Test func askingTwiceIsAskingOnce() throws {
    var world = World.rack()
    let first = try world.create("web").get()
    let again = try world.create("web").get()
    #expect(first == again)
    #expect(world.hosts["a"]?.wanted.count == 1)
    let other = world.create("web") { $0.allowedPaths = [.mediated] }
    #expect(other.refusal?.code == .alreadyExists)
    world.delete("web")
    #expect(world.create("web").refusal?.code == .aborted)
  }

  @Test func anAddressInCapitalsIsTheSameRequest() throws {
    var world = World.rack()
    let first = try world.create("web") {
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:AB" } }
    }.get()
    let again = try world.create("web") {
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:ab" } }
    }.get()
    #expect(first.uid == again.uid)
    #expect(first.status?.assignment?.attributes?.ethernet?.macAddress == "02:00:00:00:00:ab")
  }

  @Test func ratesChangeWhileTheFunctionIsInUse() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let before = try #require(world.hosts["a"]?.wanted.values.first)
    try #expect(world.update("web", transmit: 1_000_000).get().status?.phase == .ready)
    let after = try #require(world.hosts["a"]?.wanted.values.first)
    #expect(after.revision > before.revision)
    #expect(after.assignment?.attributes?.ethernet?.maxTransmitBitsPerSecond == 1_000_000)
    #expect(after.assignment?.token == before.assignment?.token)
    world.settle()
    let enforced = world.claim("web")?.status?.assignment?.arrival?.enforced
    #expect(enforced?.ethernet?.maxTransmitBitsPerSecond == 1_000_000)
    try #expect(world.update("web", transmit: 0).get().specification?.attributes == nil)
    #expect(world.update("web", receive: 20_000_000_000).refusal?.code == .invalidArgument)
    #expect(world.update("web", transmit: 7).refusal?.message.contains("the smallest one is 8 bit/s") == true)
    try #expect(world.update("web", transmit: 8).get().specification?.attributes != nil)
    try #expect(world.update("web", transmit: 0).get().specification?.attributes == nil)
    #expect(world.update("web").refusal?.code == .invalidArgument)
    #expect(world.update("wep", receive: 1).refusal?.message.contains("did you mean 'web'?") == true)
  }

  @Test func aFailureOfAHostIsShownUntilItSucceeds() {
    var world = World.rack()
    world.hosts["a"]?.failure = FunctionError {
      $0.step = "serve"
      $0.message = "no space"
    }
    world.create("web")
    world.settle()
    #expect(world.phase("web") == .preparing)
    #expect(world.claim("web")?.status?.error?.host == "a")
    world.hosts["a"]?.failure = nil
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.claim("web")?.status?.error == nil)
  }

  @Test func watchersHearOfChangesInTheOrderOfRevisions() {
    var world = World.rack()
    world.create("one")
    world.create("two")
    world.settle()
    world.delete("one")
    world.settle()
    let revisions = world.watched.map { effect in
      switch effect {
      case .claimChanged(let claim), .claimGone(let claim): claim.revision
      default: UInt64(0)
      }
    }
    #expect(revisions == revisions.sorted())
    #expect(Set(revisions).count == revisions.count)
  }
}
