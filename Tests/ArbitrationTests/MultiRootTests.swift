import Messages
import Testing

@testable import Arbitration
@testable import Simulation

extension World {
  /// Hosts a, c and d see one disk, a first. Host b sees none.
  static func fabric(roots: [String] = ["a", "c", "d"]) -> World {
    var world = World()
    for (number, name) in ["a", "b", "c", "d"].enumerated() {
      var host = FakeHost(name, address: "10.0.0.\(number + 1)")
      host.plugins = [sataPlugin()]
      if roots.contains(name) { host.endNodes = [sharedDisk(sharedID)] }
      world.add(host)
    }
    return world
  }

  var shared: EndNodeState? { arbiter.endNodes[sharedID] }

  mutating func claimWhole(_ name: String, on host: String) {
    create(name, host: host, deviceClass: "sata") { $0.allowedPaths = [.direct] }
    settle()
  }

  mutating func claimPart(_ name: String, on host: String, bytes: UInt64 = 1 << 20) {
    create(name, host: host, deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = bytes } }
    }
    settle()
  }

  func assigned(_ name: String) -> Assignment? { claim(name)?.status?.assignment }
  func pendingWords(_ name: String) -> String {
    claim(name)?.status?.pending.map(\.message).joined(separator: "; ") ?? ""
  }

  /// What a host was told to fence.
  func fencing(on host: String) -> [WantedFunction] { hosts[host]?.wanted.values.filter { $0.role == .fencer } ?? [] }
}

@Suite struct EndNodesWithSeveralRoots {
  @Test func areOneWhereTheDeviceSaysSo() {
    var world = World.fabric()
    #expect(world.shared?.record.roots.map(\.host) == ["a", "c", "d"])
    #expect(world.shared?.health.state == .healthy)
    #expect(world.arbiter.listedEndNodes.count == 1)
    world.restart()
    #expect(world.shared?.record.roots.map(\.host) == ["a", "c", "d"])
    world.connect("d")
    #expect(world.shared?.controllingHost == "a")
  }

  @Test(arguments: ["flag", "size"])
  func areAConflictWhereItIsNotOneDevice(difference: String) {
    var world = World.fabric()
    if difference == "size" { world.hosts["c"]?.endNodes[0].capacity?.sizeBytes += 4096 }
    if difference == "flag" { world.hosts["c"]?.endNodes[0].capabilities?.multiRoot = false }
    world.reportInventory("c")
    #expect(world.shared?.record.roots.map(\.host) == ["a", "d"])
    #expect(world.shared?.health.message.contains("c reports the same identity as a") == true)
  }

  @Test func loseARootThatDoesNotFindThemWhileItsPluginServes() {
    var world = World.fabric()
    world.hosts["c"]?.endNodes = []
    world.hosts["c"]?.plugins[0].state = .failed
    world.reportInventory("c")
    #expect(world.shared?.record.isRoot("c") == true)
    world.hosts["c"]?.plugins[0].state = .serving
    world.reportInventory("c")
    #expect(world.shared?.record.isRoot("c") == false)
    // The other one's word of itself does not bring it back.
    world.reportInventory("a")
    #expect(world.shared?.record.roots.map(\.host) == ["a", "d"])
  }

  @Test(arguments: ["a", "c", "d"])
  func areUsedAsAWholeOnAnyRoot(host: String) {
    var world = World.fabric()
    world.claimWhole("all", on: host)
    #expect(world.phase("all") == .ready)
    #expect(world.assigned("all")?.path == .direct)
    #expect(world.assigned("all")?.controllingHost == host)
    #expect(world.assigned("all")?.fenceDomain == "sata/LUN@\(host)")
    world.claimWhole("more", on: "c")
    #expect(world.pendingWords("more").contains("the whole of a/sdm is asked for"))
    #expect(world.hosts["b"]?.functions.isEmpty == true)
  }

  @Test func areUsedWithoutTheirControllingHost() {
    var world = World.fabric()
    world.disconnect("a")
    world.claimWhole("all", on: "c")
    #expect(world.phase("all") == .ready)
    world.claimWhole("none", on: "b")
    #expect(world.pendingWords("none").contains("b has no direct path to a/sdm"))
    world.restart()
    world.connect("c")
    #expect(world.phase("all") == .ready)
  }

  @Test func areCutIntoPartsByTheirControllingHostAlone() {
    var world = World.fabric()
    world.claimPart("here", on: "a")
    world.claimPart("there", on: "c")
    #expect(world.assigned("here")?.path == .directSoftware)
    #expect(world.assigned("there")?.path == .mediated)
    #expect(Set(["here", "there"].compactMap { world.assigned($0)?.fenceDomain }) == ["sata/LUN@a"])
  }

  @Test func areControlledByTheFirstHostThatGainsByIt() {
    var world = World.fabric()
    world.create("near", host: "c", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    #expect(world.phase("near") == .pending)
    #expect(world.pendingWords("near").contains("control of a/sdm is on its way from a to c"))
    world.settle()
    #expect(world.phase("near") == .ready && world.assigned("near")?.path == .directSoftware)
    #expect(world.shared?.controllingHost == "c" && world.shared?.record.name == "a/sdm")
    // Now that it is in use it stays there.
    world.claimPart("far", on: "d")
    #expect(world.assigned("far")?.path == .mediated && world.shared?.controllingHost == "c")
    for name in ["near", "far"] { world.delete(name) }
    world.settle()
    world.claimPart("other", on: "b")
    #expect(world.phase("other") == .ready && world.shared?.controllingHost == "c")
  }

  @Test func stayWhereTheyAreForWhoGainsNothing() {
    var world = World.fabric()
    let bytes: UInt64 = 1 << 20
    world.create("near", host: "c", deviceClass: "sata") {
      $0.allowedPaths = [.mediated, .directSoftware]
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = bytes } }
    }
    world.settle()
    #expect(world.phase("near") == .ready && world.assigned("near")?.path == .mediated)
    #expect(world.shared?.controllingHost == "a")
  }

  @Test func areControlledAnewBeforeTheirFirstPart() {
    var world = World.fabric()
    let before = world.hosts["a"]?.controls[sharedID] ?? 0
    world.claimWhole("all", on: "c")
    let whole = world.assigned("all")?.token?.value ?? 0
    world.delete("all")
    world.settle()
    world.claimPart("part", on: "b")
    let control = world.hosts["a"]?.controls[sharedID] ?? 0
    let part = world.assigned("part")?.token?.value ?? 0
    #expect(before < whole && whole < control && control < part)
    world.claimPart("next", on: "b")
    #expect(world.hosts["a"]?.controls[sharedID] == control)
    #expect(world.hosts["a"]?.formerControls[sharedID]?.contains(before) == true)
    #expect(world.shared?.record.physicalFunction?.formerControlTokens.isEmpty == true)
  }
}

@Suite struct Fencers {
  /// Host c holds the whole disk and is not heard of any more; its claim was deleted.
  private func world(roots: [String] = ["a", "c", "d"]) -> World {
    var world = World.fabric(roots: roots)
    world.claimWhole("all", on: "c")
    world.disconnect("c")
    world.delete("all")
    return world
  }

  private func expectNothingIsLeft(_ world: World) {
    #expect(world.arbiter.listedClaims.isEmpty && world.arbiter.listedOrphans.isEmpty)
    #expect(world.shared?.shares.isEmpty == true)
    #expect(
      world.arbiter.fencers.isEmpty && world.arbiter.abandoned.isEmpty && world.arbiter.abandonedWithShare.isEmpty)
    #expect(!world.store.keys.contains { $0.kind == .wantedFunction })
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
  }

  @Test func takeThePlaceOfALostHostAndNotBeforeItIsLost() {
    var world = world()
    world.pass(milliseconds: 14_000)
    #expect(world.fencing(on: "a").isEmpty)
    let held = world.assigned("all")?.token?.value ?? 0
    world.pass(milliseconds: 4000)
    let fencer = world.fencing(on: "a").first
    #expect(fencer?.released == true)
    #expect(fencer?.assignment?.function == "sata/LUN/\(held)")
    #expect(fencer?.assignment?.token?.value ?? 0 > held)
    #expect(fencer?.assignment?.fenceDomain == "sata/LUN@c")
    #expect(world.pendingWords("all").contains("a has yet to fence sata/LUN/\(held) in the place of c"))
    world.settle()
    #expect(world.claim("all") == nil)
    #expect(world.shared?.shares.isEmpty == true)

    world.claimWhole("next", on: "d")
    #expect(world.phase("next") == .ready)
    // The former holder cleans up its own side, and its late word changes nothing.
    world.connect("c")
    #expect(world.hosts["c"]?.wanted.values.first?.fenced == true)
    #expect(world.hosts["c"]?.wanted.values.first?.assignment?.token?.value == held)
    #expect(world.shared?.shares.count == 1)
    world.settle()
    #expect(world.phase("next") == .ready)
    world.delete("next")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test(arguments: [false, true])
  func keepTheDeviceFromAllUntilTheLostHostHasCleanedUp(isBack: Bool) {
    var world = world()
    world.pass(milliseconds: 20_000)
    #expect(world.fencing(on: "a").map(\.keepOthersOut) == [true])
    world.settle()
    world.claimWhole("next", on: "d")
    #expect(world.hosts["d"]?.wanted.values.map(\.keepOthersOut) == [false])
    if isBack {
      world.connect("c")
      world.settle()
    }
    world.hosts["d"]?.isStuck = true
    world.delete("next")
    #expect(world.hosts["d"]?.wanted.values.map(\.released) == [true])
    #expect(world.hosts["d"]?.wanted.values.map(\.keepOthersOut) == [!isBack])
  }

  @Test func areNotNeededOnceTheHostHasProvenItItself() {
    var world = world()
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 20_000)
    #expect(world.fencing(on: "a").count == 1)
    world.connect("c")
    world.settle()
    #expect(world.claim("all") == nil)
    #expect(world.fencing(on: "a").isEmpty)
    world.hosts["a"]?.isStuck = false
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func proveItWhileTheHostIsBackAndBusy() {
    var world = world()
    world.hosts["c"]?.isScrubbingForever = true
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 20_000)
    world.connect("c")
    world.settle()
    #expect(world.phase("all") == .releasing)
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.claim("all") == nil)
    world.hosts["c"]?.isScrubbingForever = false
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func areReplacedWhenTheyAreLostThemselves() {
    var world = world()
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 20_000)
    let first = world.fencing(on: "a").first?.assignment?.token?.value ?? 0
    world.disconnect("a")
    world.pass(milliseconds: 20_000)
    let second = world.fencing(on: "d").first?.assignment?.token?.value ?? 0
    #expect(second > first && first > 0)
    world.settle()
    #expect(world.claim("all") == nil)
    world.hosts["a"]?.isStuck = false
    world.connect("a")
    #expect(world.fencing(on: "a").isEmpty)
    world.connect("c")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func canBeTheHostItselfWhenTheOtherOneIsLost() {
    var world = world(roots: ["a", "c"])
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 20_000)
    world.disconnect("a")
    world.hosts["c"]?.isScrubbingForever = true
    world.connect("c")
    world.pass(milliseconds: 20_000)
    #expect(world.fencing(on: "c").count == 1)
    world.hosts["c"]?.isScrubbingForever = false
    world.settle()
    #expect(world.claim("all") == nil)
    world.connect("a")
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func areWaitedForWhereThereIsNone() {
    var world = world(roots: ["c"])
    world.pass(milliseconds: 60_000)
    #expect(world.phase("all") == .releasing)
    world.hosts["d"]?.endNodes = [sharedDisk(sharedID)]
    world.reportInventory("d")
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.claim("all") == nil)
  }

  @Test func cleanAfterADeadHostToo() {
    var world = World.fabric()
    world.claimWhole("all", on: "c")
    world.crash("c")
    world.confirmDead("c")
    world.delete("all")
    // Nobody holds it any more, and what was on it is still there.
    #expect(world.claim("all") == nil)
    #expect(world.shared?.shares.count == 1)
    #expect(world.forget("c").refusal?.message.contains("has yet to be cleaned by another root") == true)
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 1000)
    #expect(world.forget("c").refusal?.message.contains("a is at it") == true)
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.shared?.shares.isEmpty == true)
    world.forget("c")
    #expect(world.shared?.record.isRoot("c") == false)
    expectNothingIsLeft(world)
  }

  @Test func outliveTheCoordinator() {
    var world = world()
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 20_000)
    let token = world.fencing(on: "a").first?.assignment?.token
    world.restart()
    for name in ["a", "b", "d"] { world.connect(name) }
    #expect(world.fencing(on: "a").map { $0.assignment?.token } == [token])
    #expect(world.phase("all") == .releasing)
    world.hosts["a"]?.isStuck = false
    world.settle()
    #expect(world.claim("all") == nil)
    world.restart()
    for name in ["a", "b", "c", "d"] { world.connect(name) }
    world.settle()
    expectNothingIsLeft(world)
  }

  @Test func proveThatNobodyCanWriteBeforeAllIsClean() {
    var world = world()
    world.hosts["a"]?.isScrubbingForever = true
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.phase("all") == .releasing)
    let entry = world.arbiter.claims["all"]?.controlling
    #expect(entry.map { world.arbiter.proof(of: $0) } == .cut)
    #expect(world.shared?.shares.count == 1)
  }

  @Test func saveAHostFromBeingSwitchedOff() {
    var world = World(ArbiterSettings(automaticFenceHosts: ["c"]))
    for name in ["a", "c"] {
      var host = FakeHost(name)
      host.plugins = [sataPlugin()]
      host.endNodes = [sharedDisk(sharedID)]
      world.add(host)
    }
    world.claimWhole("all", on: "c")
    world.disconnect("c")
    world.delete("all")
    world.hosts["a"]?.isStuck = true
    world.pass(milliseconds: 60_000)
    #expect(world.fenced.isEmpty)
  }
}
