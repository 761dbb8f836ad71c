import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct RootsThatWereNotHeardOf {
  /// The store is one from before d had the whole disk again and again, and d is away when the coordinator begins again in 2026.
  private func restored(wallMilliseconds: Int64 = 1_790_000_000_000) -> (world: World, seen: UInt64) {
    var world = World.fabric()
    let copy = world.store
    var seen: UInt64 = 0
    for _ in 0..<5 {
      world.claimWhole("lost", on: "d")
      seen = world.assigned("lost")?.token?.value ?? 0
      world.delete("lost")
      world.settle()
    }
    world.store = copy
    world.wallMillisecondsAtZero = wallMilliseconds
    world.restart()
    return (world, seen)
  }

  /// What d has by now is in no store, and d alone can say it.
  @Test func areWaitedForBecauseTheyMayHaveWhatTheStoreDoesNotKnow() {
    var world = World.fabric()
    let copy = world.store
    world.claimWhole("lost", on: "d")
    let lost = world.assigned("lost")?.function ?? ""
    world.store = copy
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.claimPart("part", on: "b")
    world.claimWhole("all", on: "c")
    for name in ["part", "all"] {
      #expect(world.phase(name) == .pending)
      let words = world.pendingWords(name)
      #expect(words.contains("d, which has a path to a/sdm, has not said since the coordinator began"))
      #expect(words.contains("iov host confirm-dead d"))
    }
    world.connect("d")
    world.settle()
    for name in ["part", "all"] { #expect(world.phase(name) == .pending) }
    #expect(world.arbiter.listedOrphans.map(\.status?.function?.id) == [lost])
    #expect(world.pendingWords("all").contains("\(lost) are parts of it in use"))
    world.purge(lost)
    world.settle()
    #expect(world.phase("part") == .ready)
  }

  /// In the history that was lost, c let go of the disk and d got it.
  @Test func areWaitedForBeforeAnotherOneIsFenced() {
    var world = World.fabric()
    world.claimWhole("old", on: "c")
    let copy = world.store
    world.delete("old")
    world.settle()
    world.claimWhole("new", on: "d")
    world.store = copy
    world.restart()
    for name in ["a", "b"] { world.connect(name) }
    world.delete("old")
    world.pass(milliseconds: 20_000)
    #expect(world.fencing(on: "a").isEmpty)
    #expect(world.pendingWords("old").contains("another root does it once d has said what it has of a/sdm"))
    world.connect("d")
    world.pass(milliseconds: 1000)
    world.settle()
    #expect(world.claim("old") == nil && world.fencing(on: "a").isEmpty)
    #expect(world.hosts["d"]?.functions.values.map(\.isFenced) == [false])
  }

  @Test func areHeardOfOnceAndForAllInOneRunOfTheCoordinator() {
    var world = World.fabric()
    for name in ["c", "d"] { world.disconnect(name) }
    world.claimPart("part", on: "b")
    #expect(world.phase("part") == .ready)
    world.restart()
    world.connect("a")
    world.connect("b")
    // What is granted stays so.
    #expect(world.phase("part") == .ready)
    world.connect("c")
    world.hosts["d"]?.plugins[0].state = .failed
    world.connect("d")
    world.claimPart("next", on: "b")
    #expect(world.pendingWords("next").contains("no plugin of class sata serves on it"))
    world.hosts["d"]?.plugins[0].state = .serving
    world.reportInventory("d")
    world.settle()
    #expect(world.phase("next") == .ready)
  }

  @Test func mayHaveSeenTokensThatTheStoreDoesNotKnow() {
    var (world, seen) = restored()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.confirmDead("d")
    world.claimWhole("all", on: "c")
    let token = world.assigned("all")?.token?.value ?? 0
    #expect(seen > 1 && token > seen)
    // In 2026, and with room for all that can come.
    #expect(token >> 8 > 85_000_000 && token >> 8 < 90_000_000)
  }

  @Test func doNotKeepTheDiskFromPartsThatAreGrantedOnceTheyAreDead() {
    var (world, seen) = restored()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.confirmDead("d")
    world.claimPart("part", on: "b")
    #expect(world.phase("part") == .ready)
    // What is registered for parts is the control token.
    #expect(world.hosts["a"]?.controls[sharedID] ?? 0 > seen)
  }

  @Test func raiseNoTokensOnceAllHaveSaidWhatTheyHave() {
    var (world, seen) = restored()
    world.hosts["d"]?.endNodes[0].highestToken = FencingToken { $0.value = seen }
    for name in ["a", "b", "c", "d"] { world.connect(name) }
    world.claimPart("part", on: "b")
    let token = world.assigned("part")?.token?.value ?? 0
    #expect(token > seen && token < 1000)
  }

  @Test(arguments: [0, 1_000_000_000_000, 1 << 50, .max / 2] as [Int64])
  func areWaitedForWhereTheClockIsSetToAnotherAge(wallMilliseconds: Int64) {
    var (world, seen) = restored(wallMilliseconds: wallMilliseconds)
    for name in ["a", "b", "c"] { world.connect(name) }
    world.confirmDead("d")
    world.claimWhole("all", on: "c")
    #expect(world.phase("all") == .pending)
    #expect(world.pendingWords("all").contains("d has not yet said which tokens of a/sdm it has seen"))
    world.hosts["d"]?.endNodes[0].highestToken = FencingToken { $0.value = seen }
    world.connect("d")
    world.settle()
    #expect(world.phase("all") == .ready)
    #expect(world.assigned("all")?.token?.value ?? 0 > seen)
  }

  @Test func lastUntilTheYear2160() {
    let last = Instant(monotonicMilliseconds: 0, wallMilliseconds: 5_999_034_495_000)
    #expect(last.lowestToken == UInt64(UInt32.max) << 8)
    #expect(last.lowestToken ?? .max < 1 << 40)
    let late = Instant(monotonicMilliseconds: 0, wallMilliseconds: 5_999_034_496_000)
    #expect(late.lowestToken == nil)
  }

  @Test func areNotBelievedATokenThatTheDeviceCouldNotHold() {
    var world = World.fabric()
    world.hosts["c"]?.endNodes[0].highestToken = FencingToken { $0.value = 1 << 40 }
    world.reportInventory("c")
    #expect(world.shared?.record.highestToken?.value ?? .max < 1000)
    world.hosts["c"]?.endNodes[0].highestToken = FencingToken { $0.value = 1 << 39 }
    world.reportInventory("c")
    world.claimWhole("all", on: "c")
    let next: UInt64 = (1 << 39) + 1
    #expect(world.assigned("all")?.token?.value == next)
  }

  @Test func cleanTheirOwnSideOfWhatTheirClaimHasElsewhereByNow() {
    var world = World.fabric()
    world.claimPart("far", on: "b")
    world.disconnect("a")
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.assigned("far")?.controllingHost == "c")
    // Nothing in the store says that a has anything any more.
    let entries = world.arbiter.abandoned.keys.sorted()
    #expect(entries.count == 1)
    for name in entries { world.store[RecordKey(.wantedFunction, name)] = nil }
    world.restart()
    for name in ["b", "c", "d", "a"] { world.connect(name) }
    #expect(world.hosts["a"]?.wanted.values.contains { $0.fenced && $0.released } == true)
    world.settle()
    #expect(world.hosts["a"]?.functions.isEmpty == true)
    #expect(world.phase("far") == .ready)
    #expect(world.arbiter.listedOrphans.isEmpty)
  }
}
