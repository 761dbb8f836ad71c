import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct OrphanTests {
  /// A rack whose store is from before its claims were made.
  private func restored(_ make: (inout World) -> Void) -> World {
    var world = World.rack()
    let backup = world.store
    make(&world)
    world.settle()
    world.store = backup
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    return world
  }

  @Test func whatARestoredStoreDoesNotKnowIsShownAndLeftAlone() {
    let world = restored { $0.create("web") }
    let orphans = world.arbiter.listedOrphans
    #expect(orphans.map(\.host) == ["a", "b"])
    #expect(orphans.map { $0.status?.role } == [.server, .consumer])
    #expect(orphans.allSatisfy { $0.status?.assignment?.claim == "web" && !$0.releasing })
    #expect(world.hosts["a"]?.functions.count == 1)
    // Its place on the card is taken.
    #expect(world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }?.used?.functions == 1)
  }

  @Test func anOrphanThatItsHostCannotLookAtKeepsItsPlace() throws {
    var world = restored { $0.create("web") }
    world.cannotLookAtFunctions(of: "a")
    #expect(world.arbiter.listedOrphans.map(\.host) == ["a", "b"])
    #expect(world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }?.used?.functions == 1)
  }

  /// A disk that is away when its host joins may come back a moment before the host can say what is on it.
  @Test func whatNobodyHasHeardOfHasItsPlaceBeforeItsHostCanLookAtIt() {
    let world = restored {
      $0.create("web")
      $0.settle()
      $0.cannotLookAtFunctions(of: "a")
    }
    #expect(world.arbiter.listedOrphans.map(\.host) == ["a", "b"])
    #expect(world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }?.used?.functions == 1)
  }

  /// What a host said before it let go arrives after that, while the claim waits for its consumer's host alone.
  @Test func aWordFromBeforeKeepsNoPlace() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    var status = try #require(world.hosts["a"]?.report(complete: false).functions.first)
    let session = try #require(world.hosts["a"]?.session)
    world.disconnect("b")
    world.delete("web")
    world.settle()
    #expect(world.claim("web") != nil)
    for phase in [FunctionPhase.created, .absent] {
      status.phase = phase
      world.send(.functionsReported(session, FunctionReport { $0.functions = [status] }))
    }
    world.connect("b")
    world.settle()
    #expect(world.claim("web") == nil)
    #expect(world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }?.used?.functions == 0)
  }

  @Test func anOrphanIsAdoptedWithBothEndsAsItIs() throws {
    var world = restored { $0.create("web") }
    let function = try #require(world.arbiter.listedOrphans.first?.status?.function)
    let claim = try world.adopt(function.id).get()
    #expect(claim.name == "web")
    #expect(claim.status?.phase == .ready)
    #expect(claim.status?.assignment?.token == function.token)
    #expect(world.arbiter.listedOrphans.isEmpty)
    try #expect(world.create("web").get().uid == claim.uid, "asked for as before, it is the same claim")
    world.settle()
    #expect(world.phase("web") == .ready)
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.phase("web") == .ready)
    world.delete("web")
    world.settle()
    #expect(world.claim("web") == nil)
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
  }

  @Test func anOrphanThatItsHostWasToldToLetGoOfCannotBeAdopted() throws {
    var world = restored { $0.create("web") }
    let orphan = try #require(world.arbiter.listedOrphans.first)
    var status = try #require(orphan.status)
    status.error = FunctionError { $0.highestToken = status.function?.token }
    let session = try #require(world.hosts[orphan.host]?.session)
    let report = FunctionReport {
      $0.epoch = world.hosts[orphan.host]?.epoch ?? 0
      $0.functions = [status]
    }
    world.send(.functionsReported(session, report))
    let function = status.function?.id ?? ""
    let refusal = world.adopt(function).refusal?.message ?? ""
    #expect(refusal.contains("it can only be purged: iov orphan purge \(function)"))
    #expect(world.purge(function).refusal == nil)
    world.settle()
    #expect(world.arbiter.listedOrphans.isEmpty)
  }

  @Test func anOrphanIsAdoptedUnderAnotherNameWhenItsOwnIsTaken() throws {
    var world = restored { $0.create("web") }
    let function = try #require(world.arbiter.listedOrphans.first?.status?.function?.id)
    world.create("web", host: "a")
    #expect(world.adopt(function).refusal?.code == .alreadyExists)
    try #expect(world.adopt(function, as: "former-web").get().status?.phase == .ready)
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.phase("former-web") == .ready)
    #expect(world.phase("web") == .ready)
  }

  @Test func anOrphanThatConflictsIsNotAdopted() throws {
    let attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:77" } }
    var world = restored { $0.create("web") { $0.attributes = attributes } }
    let function = try #require(world.arbiter.listedOrphans.first?.status?.function?.id)
    // Before the hosts have said what they have.
    world.restart()
    world.create("other", host: "c") { $0.attributes = attributes }
    for name in ["a", "b", "c"] { world.connect(name) }
    #expect(world.adopt(function).refusal?.message.contains("in use by claim 'other'") == true)
    #expect(world.adopt("ethernet/none/1").refusal?.code == .notFound)
  }

  @Test func aDiskIsNotLostWithItsConsumersToken() throws {
    var world = restored {
      $0.create("data", host: "a", deviceClass: "sata") {
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
      }
    }
    let function = try #require(world.arbiter.listedOrphans.first?.status?.function?.id)
    let token = try #require(world.arbiter.listedOrphans.first?.status?.function?.token)
    try _ = world.purge(function, on: "a").get()
    world.settle()
    world.hosts["a"]?.failure = FunctionError {
      $0.code = 9
      $0.highestToken = token
    }
    try _ = world.adopt(function).get()
    world.settle()
    #expect(world.phase("data") == .preparing)
    #expect(world.claim("data")?.status?.assignment?.function == function)
    #expect(world.claim("data")?.status?.error?.highestToken != nil)
    #expect(world.hosts["c"]?.functions[function] != nil)
  }

  @Test func theAddressOfAnOrphanIsRefused() throws {
    let attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:77" } }
    var world = restored { $0.create("web") { $0.attributes = attributes } }
    let refusal = world.create("other", host: "c") { $0.attributes = attributes }.refusal
    #expect(refusal?.message.contains("no claim stands behind") == true)
  }

  @Test func whatAPluginThatDoesNotServeCannotListIsStillThere() throws {
    var world = restored { $0.create("web") }
    let session = try #require(world.hosts["a"]?.session)
    var failed = ethernetPlugin()
    failed.state = .failed
    world.send(.inventoryReported(session, InventoryReport { $0.plugins = [failed] }))
    world.send(.functionsReported(session, FunctionReport { $0.complete = true }))
    #expect(world.arbiter.listedOrphans.contains { $0.host == "a" })
  }

  @Test func onlyTheConsumersSideCannotBeAdopted() throws {
    var world = restored { $0.create("web") }
    world.hosts["a"]?.functions = [:]
    world.hosts["a"]?.answered = [:]
    world.reboot("a")
    let function = try #require(world.arbiter.listedOrphans.first?.status?.function?.id)
    #expect(world.adopt(function).refusal?.message.contains("only the consumer's side") == true)
  }

  @Test func aPurgedOrphanIsTornDownUnderItsTokenEverywhere() throws {
    var world = restored {
      $0.create("web")
      $0.create("data", host: "a", deviceClass: "sata") {
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 29 } }
      }
    }
    for function in Set(world.arbiter.listedOrphans.compactMap { $0.status?.function?.id }).sorted() {
      let purged = try world.purge(function).get()
      #expect(purged.count == 2)
      #expect(purged.allSatisfy { $0.releasing })
    }
    // An order that was given survives the coordinator.
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.arbiter.listedOrphans.isEmpty)
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
    #expect(world.arbiter.listedEndNodes.allSatisfy { $0.used == Capacity() })
    #expect(!world.store.keys.contains { $0.kind == .wantedFunction })
  }

  @Test func networksAndPlacesOfOrphansAreNotGivenAway() throws {
    var world = restored { world in
      world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 2)]
      world.reportInventory("a")
      world.create("web")
    }
    world.create("one")
    world.create("two")
    world.settle()
    #expect(world.phase("one") == .ready)
    #expect(world.claim("two")?.status?.pending.map(\.filter) == ["functions"])
    let orphan = try #require(world.arbiter.listedOrphans.first?.status?.assignment?.mediation?.vni)
    #expect(world.claim("one")?.status?.assignment?.mediation?.vni != orphan)
  }

  // MARK: Found by storms

  @Test func anOrphanWhoseOtherEndIsBeingPurgedIsNotAdopted() throws {
    var world = restored { $0.create("web") }
    let function = try #require(world.arbiter.listedOrphans.first?.status?.function?.id)
    world.hosts["b"]?.isStuck = true
    try #expect(world.purge(function, on: "b").get().count == 1)
    world.restart()
    world.connect("a")
    #expect(world.adopt(function).refusal?.message.contains("b has been told to tear") == true)
  }

  @Test func whatHasYetToBeCleanedKeepsItsRoomThoughItsHostDoesNotRepeatIt() throws {
    var world = World.rack()
    world.create("data", host: "c", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 30 } }
    }
    world.settle()
    world.disconnect("c")
    world.hosts["c"]?.bootId += "'"
    try #expect(world.confirmDead("c").get().state == .dead)
    world.delete("data")
    // Its disk does not answer just now: it says that the part is there, and of what size nobody asked it.
    world.hosts["c"]?.isStuck = true
    for place in (world.hosts["c"]?.answered ?? [:]).keys {
      world.hosts["c"]?.answered[place]?.phase = .created
      world.hosts["c"]?.answered[place]?.function?.enforced = nil
      world.hosts["c"]?.answered[place]?.function?.extent = nil
    }
    world.connect("c")
    #expect(world.arbiter.listedOrphans.map(\.releasing) == [true])
    #expect(world.arbiter.listedEndNodes.first { $0.deviceClass == "sata" }?.used?.sizeBytes == 1 << 30)
    world.create("next", host: "c", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 28 } }
    }
    #expect(world.claim("next")?.status?.pending.map(\.filter) == ["size"])
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(world.phase("next") == .ready)
  }

  @Test func aConsumerThatAnOlderCopyDoesNotKnowOfIsWaitedFor() throws {
    var world = World.rack()
    world.create("web")
    let backup = world.store
    world.settle()
    world.store = backup
    world.restart()
    world.connect("b")
    world.delete("web")
    world.connect("a")
    world.hosts["b"]?.isStuck = true
    world.settle()
    #expect(world.phase("web") == .releasing)
    #expect(world.arbiter.listedOrphans.isEmpty)
    world.hosts["b"]?.isStuck = false
    world.settle()
    #expect(world.claim("web") == nil)
    #expect(world.hosts["b"]?.functions.isEmpty == true)
  }

  @Test func networksOfHostsThatAreAwayAreNotGivenAway() throws {
    var world = World.rack()
    var c = try #require(world.hosts["c"])
    c.endNodes.append(card("ethernet/c", on: "eth9"))
    world.hosts["c"] = c
    world.reportInventory("c")
    let backup = world.store
    let select = { (host: String) in EndNodeSelector { $0.host = host } }
    world.create("lost", host: "a") { $0.endNode = select("c") }
    world.settle()
    world.store = backup
    world.restart()
    for name in ["a", "b"] { world.connect(name) }
    world.create("new", host: "b") { $0.endNode = select("a") }
    world.settle()
    #expect(world.phase("new") == .ready)
  }
}
