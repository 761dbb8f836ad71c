import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// What a store that is an older copy does not know of disks, and what becomes of claims that were let go of since.
@Suite struct OlderCopies {
  private func expectNothingIsLeft(_ world: World) {
    #expect(world.arbiter.listedClaims.isEmpty && world.arbiter.listedOrphans.isEmpty)
    #expect(world.arbiter.fencers.isEmpty && world.arbiter.abandoned.isEmpty)
    #expect(world.shared?.shares.isEmpty ?? true)
    #expect(!world.store.keys.contains { $0.kind == .wantedFunction })
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
  }

  @Test(arguments: [false, true])
  func aConsumerWhoseTokenIsSpentConnectsAgainUnderOneOfItsOwn(isShared: Bool) {
    var world = isShared ? World.fabric() : World.rack()
    let server = isShared ? "a" : "c"
    world.claimPart("part", on: "b")
    let granted = world.assigned("part")
    world.restart()
    // In the history that was lost its side was told to let go.
    world.hosts["b"]?.functions = [:]
    world.hosts["b"]?.answered = [:]
    world.hosts["b"]?.failure = FunctionError {
      $0.message = "stale token"
      $0.highestToken = granted?.token
    }
    for name in world.hosts.keys.sorted() { world.connect(name) }
    world.settle()
    #expect(world.phase("part") == .preparing)
    world.hosts["b"]?.failure = nil
    world.settle()
    #expect(world.phase("part") == .ready)
    #expect(world.assigned("part")?.function == granted?.function && world.assigned("part")?.token == granted?.token)
    let consumer = world.arbiter.claims["part"]?.consumer?.assignment
    #expect(consumer?.token?.value ?? 0 > granted?.token?.value ?? .max)
    #expect(consumer?.mediation?.exportName == granted?.mediation?.exportName)
    #expect(world.hosts[server]?.functions.values.map(\.token) == [granted?.token].compactMap { $0 })

    // It stays its own when the server listens elsewhere, and after another start.
    world.restart()
    for name in world.hosts.keys.sorted() { world.connect(name) }
    world.settle()
    #expect(world.phase("part") == .ready)
    #expect(world.arbiter.claims["part"]?.consumer?.assignment?.token == consumer?.token)
    world.delete("part")
    world.settle()
    expectNothingIsLeft(world)
  }

  /// What has the disk is registered under a token of control that was drawn in the lost history, and its host has forgotten that.
  @Test func aRegistrationThatNobodyRemembersIsOutdone() throws {
    var world = World.fabric()
    for name in ["first", "second", "part"] { world.claimPart(name, on: "a") }
    let other = try #require(world.assigned("second")?.token)
    for name in ["first", "second"] { world.delete(name) }
    world.settle()
    let granted = try #require(world.assigned("part"))
    let control = try #require(world.hosts["a"]?.controls[sharedID])
    #expect(control < other.value && other.value < granted.token?.value ?? 0)
    world.hosts["a"]?.functions[granted.function] = nil
    world.hosts["a"]?.answered[granted.function] = nil
    world.restart()
    world.hosts["a"]?.failure = FunctionError {
      $0.message = "the disk is held under a higher token"
      $0.highestToken = other
    }
    for name in world.hosts.keys.sorted() { world.connect(name) }
    world.settle()
    #expect(world.phase("part") == .preparing)
    #expect(world.hosts["a"]?.controls[sharedID] ?? 0 > other.value)
    #expect(world.hosts["a"]?.formerControls[sharedID]?.contains(other.value) == true)
    world.hosts["a"]?.failure = nil
    world.settle()
    #expect(world.phase("part") == .ready)
    #expect(world.assigned("part")?.function == granted.function)
  }

  /// Whether its host says that the older token is spent, or only that it has the newer one.
  @Test(arguments: [true, false])
  func aConsumerThatConnectedAgainIsLeftToTheNextOne(isRefused: Bool) {
    var world = World.rack()
    world.claimPart("part", on: "b")
    let copy = world.store
    let granted = world.assigned("part")
    let stale = FunctionError {
      $0.message = "stale token"
      $0.highestToken = granted?.token
    }
    for round in 1...2 {
      if round == 2 { world.store = copy }
      world.restart()
      world.hosts["b"]?.wanted = [:]
      if round == 1 { world.hosts["b"]?.functions = [:] }
      if round == 1 || isRefused { world.hosts["b"]?.failure = stale }
      for name in world.hosts.keys.sorted() { world.connect(name) }
      world.settle()
      world.hosts["b"]?.failure = nil
      world.settle()
      #expect(world.phase("part") == .ready)
    }
    #expect(world.hosts["b"]?.functions.count == 1)
    #expect(world.arbiter.listedOrphans.isEmpty)
    world.delete("part")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func aClaimWhoseTokenAnotherOneHasGetsAnotherFunctionAndTakesNothingFromThatOne() {
    var world = World.rack()
    world.hasTwoHistories = true
    let before = world.store
    world.claimPart("mine", on: "c")
    let granted = world.assigned("mine")?.function ?? ""
    let copy = world.store
    world.hosts["c"]?.functions = [:]
    world.hosts["c"]?.answered = [:]
    world.hosts["c"]?.extents = [:]
    for store in [before, copy] {
      world.store = store
      world.restart()
      for name in world.hosts.keys.sorted() { world.connect(name) }
      world.settle()
      guard store == before else { continue }
      world.claimPart("theirs", on: "c")
      #expect(world.assigned("theirs")?.function == granted)
    }
    #expect(world.phase("mine") == .ready)
    #expect(world.assigned("mine")?.function != granted)
    #expect(world.hosts["c"]?.functions.count == 2)
    #expect(world.arbiter.listedOrphans.map { $0.status?.function?.id } == [granted])
    #expect(world.arbiter.listedOrphans.map { $0.status?.assignment?.claim } == ["theirs"])
    world.delete("mine")
    world.settle()
    #expect(world.hosts["c"]?.functions.count == 1)
    world.purge(granted)
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func aClaimForWhichThereIsNoRoomBesideWhatWasAdoptedNamesThat() throws {
    let isFull = FunctionError { $0.message = "the disk has no room for it" }
    var world = World.rack()
    world.hosts["c"]?.failure = isFull
    world.create("mine", host: "c", deviceClass: "sata")
    world.settle()
    let copy = world.store
    world.delete("mine")
    world.settle()
    world.hosts["c"]?.failure = nil
    world.create("theirs", host: "c", deviceClass: "sata")
    world.settle()
    let function = world.assigned("theirs")?.function ?? ""
    world.store = copy
    world.hosts["c"]?.failure = isFull
    world.restart()
    for name in world.hosts.keys.sorted() { world.connect(name) }
    world.settle()
    #expect(world.phase("mine") == .preparing)
    #expect(world.pendingWords("mine").contains("beside the orphan \(function)"), "\(world.reasons("mine"))")
    _ = try world.adopt(function).get()
    #expect(world.pendingWords("mine").contains("beside what is set up there for 'theirs'"), "\(world.reasons("mine"))")
    world.delete("theirs")
    world.settle()
    world.hosts["c"]?.failure = nil
    world.settle()
    #expect(world.phase("mine") == .ready, "\(world.reasons("mine"))")
    world.delete("mine")
    world.settle()
    expectNothingIsLeft(world)
  }

  /// Host c had the whole disk, was lost, and was cut off by a, which cleaned it and gave a part of it to b.
  private func overtaken(_ change: (inout World) -> Void = { _ in }) -> (world: World, whole: String) {
    var world = World.fabric()
    world.claimWhole("all", on: "c")
    let whole = world.assigned("all")?.function ?? ""
    change(&world)
    let copy = world.store
    world.disconnect("c")
    world.delete("all")
    world.pass(milliseconds: 20_000)
    world.settle()
    world.claimPart("part", on: "b")
    #expect(world.phase("part") == .ready)
    world.store = copy
    world.restart()
    return (world, whole)
  }

  @Test func aClaimWhosePlaceWasGivenToAnotherSinceWaitsForAnotherFunction() {
    var (world, whole) = overtaken()
    for name in ["a", "b", "d", "c"] { world.connect(name) }
    #expect(world.hosts["c"]?.wanted.values.contains { $0.functionID == whole && $0.released && $0.fenced } == true)
    world.settle()
    #expect(world.phase("all") == .pending)
    // The other one is an orphan, and stays.
    #expect(world.hosts["c"]?.functions.isEmpty == true)
    #expect(Set(world.arbiter.listedOrphans.map(\.host)) == ["a", "b"])
    for orphan in world.arbiter.listedOrphans where orphan.host == "a" {
      world.purge(orphan.status?.function?.id ?? "")
    }
    world.settle()
    #expect(world.phase("all") == .ready)
    #expect(world.assigned("all")?.function != whole)
    world.delete("all")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func whatIsReleasedAndWasGivenToAnotherSinceIsProvenByThat() {
    var (world, whole) = overtaken { world in
      world.hosts["c"]?.isStuck = true
      world.delete("all")
    }
    for name in ["c", "b", "d"] { world.connect(name) }
    #expect(world.phase("all") == .releasing)
    world.connect("a")
    #expect(world.claim("all") == nil)
    #expect(world.shared?.shares[whole] == nil && world.shared?.shares.count == 1)
    #expect(world.fencing(on: "a").isEmpty && world.fencing(on: "d").isEmpty)
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(world.hosts["c"]?.functions.isEmpty == true)
    #expect(world.shared?.shares.count == 1)
  }

  /// Nobody is in the way, and the host that has it cannot clean it: the disk is kept under a higher token.
  @Test func aWholeDiskThatWasOutdoneByControlIsCleanedByAnotherRoot() {
    var world = World.fabric()
    let copy = world.store
    world.claimWhole("all", on: "c")
    let whole = world.assigned("all")?.function ?? ""
    world.store = copy
    world.wallMillisecondsAtZero = 1_790_000_000_000
    world.restart()
    for name in ["a", "b", "d"] { world.connect(name) }
    world.confirmDead("c")
    // As soon as a is kept the disk for parts.
    world.hosts["c"]?.functions[whole]?.isFenced = true
    world.claimPart("part", on: "b")
    world.delete("part")
    world.settle()
    world.hosts["c"]?.isScrubbingForever = true
    world.connect("c")
    #expect(world.arbiter.listedOrphans.map(\.host) == ["c"])
    world.purge(whole)
    world.pass(milliseconds: 1000)
    #expect(world.fencing(on: "a").count == 1)
    world.settle()
    #expect(world.shared?.shares.isEmpty == true)
    world.settle()
    expectNothingIsLeft(world)
  }

  /// The copy is of a moment at which control was on its way to c; in the history that was lost, a got it back.
  @Test func aTransferOfControlThatEndedSinceIsOver() {
    var world = World.fabric()
    world.claimPart("far", on: "b")
    world.disconnect("a")
    world.hosts["c"]?.isStuck = true
    world.pass(milliseconds: 20_000)
    let transfer = world.shared?.record.controlTransfer
    #expect(transfer?.host == "c")
    world.restart()
    world.hosts["c"]?.isStuck = false
    let later = (transfer?.controlToken?.value ?? 0) + 7
    world.hosts["a"]?.endNodes[0].physicalFunction = PhysicalFunction {
      $0.controlToken = FencingToken { $0.value = later }
    }
    for name in ["a", "b", "c", "d"] { world.connect(name) }
    #expect(world.shared?.record.controlTransfer == nil)
    #expect(world.hosts["c"]?.controls[sharedID] == nil)
    world.settle()
    #expect(world.shared?.controllingHost == "a")
    #expect(world.shared?.record.physicalFunction?.controlToken?.value ?? 0 > later)
  }

  /// Control came to the host that uses the part, so that it has one of it in two roles.
  @Test func whatAHostHasOfAnOrphanInTwoRolesIsListedAndPurgedAsTwo() {
    var world = World.fabric()
    let copy = world.store
    // Somebody else is there first, so that control stays with a.
    world.claimPart("far", on: "b")
    world.claimPart("root", on: "c")
    world.delete("far")
    world.settle()
    let function = world.assigned("root")?.function ?? ""
    let consumer = world.hosts["c"]
    world.disconnect("a")
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.assigned("root")?.path == .directSoftware)
    world.hosts["c"]?.functions.merge(consumer?.functions ?? [:]) { own, _ in own }
    world.hosts["c"]?.answered = [:]
    for (place, function) in world.hosts["c"]?.functions ?? [:] {
      world.hosts["c"]?.answered[place] = FunctionStatus {
        $0.function = VirtualFunction {
          $0.id = function.assignment?.function ?? ""
          $0.endNode = sharedID
          $0.token = function.token
          $0.extent = function.extent
        }
        $0.role = function.role
        $0.phase = .inUse
      }
    }
    world.store = copy
    world.restart()
    for name in ["a", "b", "d"] { world.connect(name) }
    world.connect("c")
    let parts = world.arbiter.listedOrphans.filter { $0.host == "c" && $0.status?.function?.id == function }
    #expect(parts.count == world.hosts["c"]?.functions.count)
    for host in ["a", "c"] { world.purge(function, on: host) }
    for _ in 0..<3 {
      world.settle()
      world.pass(milliseconds: 1000)
    }
    expectNothingIsLeft(world)
  }

  /// Its host does not remember where it lies.
  @Test func whatIsLeftOfAFunctionThatItsClaimHasElsewhereTakesNothingWithIt() throws {
    var world = World.fabric()
    world.claimPart("far", on: "b")
    let former = try #require(world.assigned("far"))
    world.disconnect("a")
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.assigned("far")?.controllingHost == "c")
    world.connect("a")
    world.settle()
    #expect(world.arbiter.abandoned.isEmpty)
    let report = FunctionReport {
      $0.functions = [
        FunctionStatus {
          $0.function = VirtualFunction {
            $0.id = former.function
            $0.endNode = former.endNode
            $0.deviceClass = former.deviceClass
            $0.token = former.token
            $0.claimUid = former.claimUid
          }
          $0.role = .server
          $0.phase = .created
        }
      ]
    }
    world.send(.functionsReported(try #require(world.hosts["a"]?.session), report))
    #expect(try world.purge(former.function).get().map(\.host) == ["a"])
    #expect(world.hosts["a"]?.wanted.values.filter { $0.functionID == former.function }.map(\.fenced) == [true])
    world.settle()
    #expect(world.arbiter.listedOrphans.isEmpty)
    #expect(world.shared?.shares.keys.contains(former.function) == true)
    #expect(world.phase("far") == .ready)
  }

  @Test func onlyTheNewestOfAnOrphansServersCleansTheDisk() {
    var world = World.fabric()
    let copy = world.store
    world.claimPart("far", on: "b")
    let function = world.assigned("far")?.function ?? ""
    world.disconnect("a")
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.assigned("far")?.controllingHost == "c")
    world.store = copy
    world.restart()
    for name in ["a", "b", "c", "d"] { world.connect(name) }
    #expect(Set(world.arbiter.listedOrphans.map(\.host)) == ["a", "b", "c"])
    for host in ["a", "b", "c"] { world.purge(function, on: host) }
    let wanted = { (host: String) in world.hosts[host]?.wanted.values.filter { $0.functionID == function } ?? [] }
    #expect(wanted("a").map(\.fenced) == [true])
    #expect(wanted("c").map(\.fenced) == [false])
    for _ in 0..<3 {
      world.settle()
      world.pass(milliseconds: 1000)
    }
    expectNothingIsLeft(world)
  }
}
