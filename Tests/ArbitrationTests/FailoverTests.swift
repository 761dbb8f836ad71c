import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct FailoverOfControl {
  /// Hosts b and c use parts of a disk that a controls, and a is not heard of any more.
  private func world(_ change: (inout World) -> Void = { _ in }) -> World {
    var world = World.fabric()
    world.claimPart("far", on: "b")
    world.claimPart("root", on: "c")
    change(&world)
    world.disconnect("a")
    return world
  }

  private func expectNothingIsLeft(_ world: World) {
    #expect(world.arbiter.listedClaims.isEmpty && world.arbiter.listedOrphans.isEmpty)
    #expect(world.shared?.shares.isEmpty == true)
    #expect(
      world.arbiter.fencers.isEmpty && world.arbiter.abandoned.isEmpty && world.arbiter.abandonedWithShare.isEmpty)
    #expect(!world.store.keys.contains { $0.kind == .wantedFunction })
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
    #expect(world.hosts.values.allSatisfy { $0.extents.values.allSatisfy(\.isEmpty) })
  }

  @Test func waitsUntilTheHostIsLostAndTheNextOneHasCutItOff() {
    var world = world()
    let before = world.assigned("far")
    world.pass(milliseconds: 14_000)
    #expect(world.shared?.record.controlTransfer == nil)
    world.pass(milliseconds: 4000)
    #expect(world.shared?.record.controlTransfer?.host == "c")
    #expect(
      world.hosts["c"]?.formerControls[sharedID] == [world.shared?.record.physicalFunction?.controlToken?.value ?? 0])
    #expect(world.shared?.controllingHost == "a")
    #expect(world.assigned("far") == before)
    world.create("more", host: "b", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 4096 } }
    }
    #expect(world.pendingWords("more").contains("is on its way from a to c"))

    world.settle()
    #expect(world.shared?.controllingHost == "c")
    #expect(world.shared?.record.roots.map(\.host) == ["c", "a", "d"])
    #expect(world.shared?.record.name == "a/sdm")
    for name in ["far", "root", "more"] { #expect(world.phase(name) == .ready, "\(name): \(world.pendingWords(name))") }
    let after = world.assigned("far")
    #expect(after?.function == before?.function && after?.extent == before?.extent)
    #expect(after?.token?.value ?? 0 > before?.token?.value ?? 0)
    #expect(after?.mediation?.serverAddress == "10.0.0.3")
    #expect(after?.fenceDomain == "sata/LUN@c")
    #expect(world.assigned("root")?.path == .directSoftware)

    world.connect("a")
    #expect(world.hosts["a"]?.wanted.values.allSatisfy { $0.fenced && $0.released } == true)
    world.settle()
    for name in ["far", "root", "more"] { #expect(world.phase(name) == .ready) }
    for name in ["far", "root", "more"] { world.delete(name) }
    world.settle()
    expectNothingIsLeft(world)
  }

  /// With its last part the disk is nobody's, but not while the one that was cut off may be writing to it.
  @Test func theDiskIsLetGoOfOnceTheHostThatWasCutOffHasCleanedUp() {
    var world = world()
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.shared?.controllingHost == "c")
    for name in ["far", "root"] { world.delete(name) }
    world.settle()
    #expect(world.arbiter.listedClaims.isEmpty)
    #expect(world.hosts["c"]?.unused == [])
    world.connect("a")
    #expect(world.hosts["c"]?.unused == [])
    world.settle()
    #expect(world.hosts["c"]?.unused == [sharedID])
    world.claimPart("next", on: "c")
    #expect(world.arbiter.wantedControl(of: sharedID, by: "c")?.unused == false)
  }

  /// The host that is to lose control is back before the next one has it, and the disk refuses it already.
  @Test func aPartThatIsRefusedMeanwhileIsNotTakenForLost() {
    var world = world { $0.hosts["c"]?.isStuck = true }
    let before = world.assigned("far")
    world.pass(milliseconds: 20_000)
    let transfer = world.shared?.record.controlTransfer
    world.reboot("a")
    world.hosts["a"]?.failure = FunctionError {
      $0.step = "attach"
      $0.highestToken = transfer?.controlToken
    }
    world.connect("a")
    _ = world.hosts["a"]?.work()
    world.report("a", complete: true)
    #expect(world.phase("far") == .preparing, "\(world.pendingWords("far"))")
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(world.phase("far") == .ready && world.assigned("far")?.controllingHost == "c")
    #expect(world.assigned("far")?.function == before?.function && world.assigned("far")?.extent == before?.extent)
  }

  /// It took control while nobody knew that another one has all of the disk, and gives nothing of it.
  @Test func aWholeDiskThatControlKeepsFromItsClaimIsTakenBack() {
    var world = World.fabric()
    world.claimWhole("all", on: "c")
    let before = world.assigned("all")
    let control = FencingToken { $0.value = (before?.token?.value ?? 0) + 3 }
    world.hosts["a"]?.endNodes[0].physicalFunction = PhysicalFunction { $0.controlToken = control }
    world.reportInventory("a")
    world.hosts["c"]?.functions = [:]
    let inForce = world.shared?.record.physicalFunction?.controlToken
    world.hosts["c"]?.failure = FunctionError {
      $0.step = "attach"
      $0.highestToken = inForce
    }
    _ = world.hosts["c"]?.work()
    world.report("c")
    #expect(world.assigned("all")?.function == before?.function)
    #expect(world.assigned("all")?.token?.value ?? 0 > control.value)
    world.hosts["c"]?.failure = nil
    world.settle()
    #expect(world.phase("all") == .ready)
    world.delete("all")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func cleansWhatWasLetGoOf() {
    var world = world()
    world.delete("far")
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.phase("far") == .releasing)
    world.pass(milliseconds: 1000)
    #expect(world.fencing(on: "c").count == 1)
    world.settle()
    #expect(world.claim("far") == nil)
    #expect(world.phase("root") == .ready)
    world.connect("a")
    world.settle()
    world.delete("root")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func goesOnToTheNextRootWhenTheFirstIsLostToo() {
    var world = world { $0.hosts["c"]?.isStuck = true }
    world.pass(milliseconds: 20_000)
    let first = world.shared?.record.controlTransfer
    world.disconnect("c")
    world.pass(milliseconds: 20_000)
    let second = world.shared?.record.controlTransfer
    #expect(second?.host == "d")
    #expect(second?.formerControlTokens == (first?.formerControlTokens ?? []) + [first?.controlToken].compactMap { $0 })
    world.settle()
    #expect(world.phase("far") == .ready)
    world.hosts["c"]?.isStuck = false
    world.connect("c")
    #expect(world.hosts["c"]?.controls[sharedID] == nil)
    world.settle()
    #expect(world.assigned("root")?.controllingHost == "d")
    #expect(world.phase("root") == .ready)
  }

  @Test func canEndWhereItBeganUnderNewTokens() {
    var world = World.fabric(roots: ["a", "c"])
    world.claimPart("far", on: "b")
    world.disconnect("a")
    world.hosts["c"]?.isStuck = true
    world.pass(milliseconds: 20_000)
    world.disconnect("c")
    let before = world.assigned("far")?.token?.value ?? 0
    world.connect("a")
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.shared?.controllingHost == "a")
    #expect(world.assigned("far")?.token?.value ?? 0 > before)
    #expect(world.phase("far") == .ready)
    world.hosts["c"]?.isStuck = false
    world.connect("c")
    world.delete("far")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func leavesAloneWhatASilentHostUsesItself() {
    var world = World.fabric()
    world.claimPart("own", on: "a")
    world.disconnect("a")
    world.pass(milliseconds: 60_000)
    #expect(world.shared?.record.controlTransfer == nil)
    world.crash("a")
    world.confirmDead("a")
    world.pass(milliseconds: 1000)
    world.settle()
    // Its data is where it was, and the host can have it when it is back.
    #expect(world.assigned("own")?.path == .mediated)
    #expect(world.assigned("own")?.controllingHost == "c")
    world.connect("a")
    world.settle()
    #expect(world.phase("own") == .ready)
    world.delete("own")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func leavesControlWhereAClaimInsistsOnIt() {
    var world = world { world in
      world.create("own", host: "a", deviceClass: "sata") {
        $0.allowedPaths = [.directSoftware]
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 4096 } }
      }
      world.settle()
    }
    world.pass(milliseconds: 60_000)
    #expect(world.shared?.record.controlTransfer == nil)
    world.delete("own")
    world.pass(milliseconds: 1000)
    world.settle()
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.claim("own") == nil)
    #expect(world.assigned("far")?.controllingHost == "c")
  }

  @Test func leavesAWholeDeviceToItsHolder() {
    var world = World.fabric()
    world.claimWhole("all", on: "d")
    world.disconnect("a")
    world.pass(milliseconds: 60_000)
    #expect(world.shared?.record.controlTransfer == nil)
    world.crash("a")
    world.confirmDead("a")
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.shared?.controllingHost == "c")
    #expect(world.phase("all") == .ready)
    #expect(world.assigned("all")?.controllingHost == "d")
  }

  @Test func isFromAHostThatIsThereAndDoesNotFindTheDevice() {
    var world = World.fabric()
    world.claimPart("far", on: "b")
    world.hosts["a"]?.endNodes = []
    world.reportInventory("a")
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.assigned("far")?.controllingHost == "c")
    #expect(world.phase("far") == .ready)
    #expect(world.shared?.record.isRoot("a") == false)
    #expect(world.hosts["a"]?.functions.isEmpty == true)
  }

  @Test func hasTheFormerControllerLetGoOfItsOwnPartBeforeItUsesItByAnother() {
    var world = World.fabric()
    world.claimPart("near", on: "a")
    world.claimPart("far", on: "b")
    let function = world.assigned("near")?.function ?? ""
    world.hosts["a"]?.isStuck = true
    world.hosts["a"]?.endNodes = []
    world.reportInventory("a")
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.assigned("near")?.controllingHost == "c")
    #expect(world.phase("near") == .preparing)
    #expect(world.pendingWords("near").contains("a has yet to let go of \(function), which it had itself"))
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.phase("near") == .ready && world.assigned("near")?.path == .mediated)
  }

  @Test func outlivesTheCoordinator() {
    var world = world()
    world.pass(milliseconds: 20_000)
    world.restart()
    for name in ["b", "c", "d"] { world.connect(name) }
    world.settle()
    #expect(world.shared?.controllingHost == "c")
    world.restart()
    for name in ["a", "b", "c", "d"] { world.connect(name) }
    world.settle()
    for name in ["far", "root"] {
      #expect(world.phase(name) == .ready)
      world.delete(name)
    }
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func givesAClaimThatNeverWasReadyAnotherFunction() {
    var world = World.fabric()
    world.hosts["a"]?.isStuck = true
    world.claimPart("far", on: "b")
    let first = world.assigned("far")?.function
    world.disconnect("a")
    world.pass(milliseconds: 20_000)
    for _ in 0..<3 {
      world.settle()
      world.pass(milliseconds: 1000)
    }
    #expect(world.phase("far") == .ready)
    #expect(world.assigned("far")?.function != first)
    world.hosts["a"]?.isStuck = false
    world.connect("a")
    world.delete("far")
    world.settle()
    expectNothingIsLeft(world)
  }
}
