import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// A card on a and one on c.
private func twoCards(functions: UInt32 = 4) -> World {
  var world = World.rack()
  world.hosts["c"]?.endNodes.append(card("ethernet/c", functions: functions))
  world.reportInventory("c")
  return world
}

extension World {
  fileprivate mutating func createPart(_ name: String, _ change: (inout ClaimSpecification) -> Void = { _ in }) {
    create(name, deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
      change(&$0)
    }
  }

  fileprivate func remaining(of name: String) -> [DrainRemainder] { cordon(of: name)?.drain?.remaining ?? [] }
}

@Suite struct Draining {
  @Test func moveWhatFitsElsewhere() throws {
    var world = twoCards()
    for name in ["one", "two"] { world.create(name) { $0.endNode = nil } }
    world.settle()
    let card = try #require(world.endNode("one"))
    let held = world.claim("one")?.status?.assignment?.token
    let name = card == "ethernet/c" ? "c/eth1" : "a/eth1"
    _ = try world.drain(.node(name)).get()
    world.pass(milliseconds: 2000)
    world.settle()
    for claim in ["one", "two"] {
      #expect(world.phase(claim) == .ready)
      #expect(world.endNode(claim) != card)
    }
    #expect(held != nil)
    #expect(world.cordon(of: name)?.drain?.moved == 1)
    #expect(world.remaining(of: name).isEmpty)
  }

  @Test func leaveThoseWhoseTenantHasMoreThanItsQuotaUntilTheDeadline() throws {
    var world = twoCards()
    world.createTenant("lab")
    for name in ["one", "two"] { world.create(name) { ($0.endNode, $0.tenant) = (nil, "lab") } }
    world.settle()
    _ = try world.setTenant("lab", functions: 1, force: true).get()
    let name = world.endNode("one") == "ethernet/c" ? "c/eth1" : "a/eth1"
    _ = try world.drain(.node(name)) { $0.deadlineMilliseconds = 60_000 }.get()
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(["one", "two"].allSatisfy { world.phase($0) == .ready })
    #expect(world.remaining(of: name).map(\.claim) == ["one"])
    _ = try world.setTenant("lab", functions: 2).get()
    world.pass(milliseconds: 2000)
    world.settle()
    #expect(world.phase("one") == .ready && world.remaining(of: name).isEmpty)
  }

  @Test func leaveWhatFitsNowhereElseUntilTheDeadline() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    _ = try world.drain(.node("a/eth1")) { $0.deadlineMilliseconds = 60_000 }.get()
    world.pass(milliseconds: 58_000)
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.remaining(of: "a/eth1").map(\.claim) == ["web"])
    #expect(world.remaining(of: "a/eth1").map(\.stays) == [false])
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(world.phase("web") == .pending)
    #expect(
      world.reasons("web") == [
        "was evicted: end node a/eth1 is drained: firmware", "a/eth1 is drained: firmware",
      ])
    #expect(world.cordon(of: "a/eth1")?.drain?.evicted == 1)
    world.uncordon(.node("a/eth1"))
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func reachThoseBehindManyThatFitNowhereElse() {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 40)]
    world.reportInventory("a")
    for number in 0..<30 { world.create("pinned-\(number)") { $0.endNode = EndNodeSelector { $0.name = "a/eth1" } } }
    world.create("web") { $0.endNode = nil }
    world.settle()
    world.hosts["c"]?.endNodes.append(card("ethernet/c", functions: 4))
    world.reportInventory("c")
    world.drain(.node("a/eth1"))
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.endNode("web") == "ethernet/c")
    #expect(world.cordon(of: "a/eth1")?.drain?.moved == 1)
    #expect((0..<30).allSatisfy { world.phase("pinned-\($0)") == .ready })
  }

  @Test func doNotMoveMoreThanThereIsRoomFor() {
    var world = twoCards(functions: 1)
    for name in ["one", "two", "three"] { world.create(name) { $0.endNode = EndNodeSelector { $0.name = "a/eth1" } } }
    for name in ["four", "five"] { world.create(name) }
    world.settle()
    // One is on c, which is full then; another one goes there when that one is gone.
    let onA = ["four", "five"].filter { world.endNode($0) != "ethernet/c" }
    #expect(onA.count == 1)
    world.drain(.node("a/eth1"))
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(["one", "two", "three", "four", "five"].allSatisfy { world.phase($0) == .ready })
    #expect(world.cordon(of: "a/eth1")?.drain?.moved == 0)
    world.delete(["four", "five"].first { !onA.contains($0) } ?? "")
    world.settle()
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(onA.allSatisfy { world.endNode($0) == "ethernet/c" && world.phase($0) == .ready })
    #expect(world.cordon(of: "a/eth1")?.drain?.moved == 1)
    #expect(world.remaining(of: "a/eth1").map(\.claim) == ["one", "three", "two"])
    #expect(world.remaining(of: "a/eth1").first?.why == "it fits nowhere else, and there is no deadline")
  }

  @Test func evictAtOnceIfThatIsMeant() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.drain(.node("a/eth1")) { $0.evict = true }
    world.settle()
    #expect(world.phase("web") == .pending)
  }

  @Test func keepDataUnlessItMayBeLost() {
    var world = World.rack()
    world.createPart("data")
    world.createPart("scratch") { $0.evictionPolicy = .deadline }
    world.settle()
    world.drain(.node("c/sda")) { $0.evict = true }
    world.settle()
    #expect(world.phase("data") == .ready)
    #expect(world.phase("scratch") == .pending)
    #expect(world.remaining(of: "c/sda").map(\.stays) == [true])
    #expect(world.remaining(of: "c/sda").first?.why.contains("what 'data' has on a disk would be lost") == true)
    world.drain(.node("c/sda")) {
      $0.evict = true
      $0.discardData = true
    }
    world.settle()
    #expect(world.phase("data") == .pending)
  }

  @Test func obeyWhatClaimsSay() {
    var world = twoCards()
    let policies: [(String, EvictionPolicy)] = [("never", .never), ("late", .deadline), ("soon", .drain)]
    for (name, policy) in policies {
      world.create(name) {
        $0.evictionPolicy = policy
        $0.selector = "name == \"a/eth1\" or used.functions == 0"
      }
    }
    world.settle()
    world.cordon(.node("c/eth1"))
    for (name, _) in policies where world.endNode(name) == "ethernet/c" {
      let request = EvictClaimRequest { $0.name = name }
      _ = world.ask { .claimEvicted($0, request) }
    }
    world.settle()
    #expect(policies.allSatisfy { world.endNode($0.0) == "ethernet/52:54:00:00:00:01" })
    world.uncordon(.node("c/eth1"))
    world.drain(.node("a/eth1")) { $0.deadlineMilliseconds = 60_000 }
    world.settle()
    #expect(world.endNode("soon") == "ethernet/c")
    #expect(world.remaining(of: "a/eth1").map(\.claim) == ["late", "never"])
    world.pass(milliseconds: 62_000)
    world.settle()
    #expect(world.phase("late") == .pending)
    #expect(world.phase("never") == .ready)
    world.drain(.node("a/eth1")) {
      $0.evict = true
      $0.force = true
    }
    world.settle()
    #expect(world.phase("never") == .pending)
  }

  // MARK: Time

  @Test func haveTheSameDeadlineWhateverTheClockIsSetTo() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.drain(.node("a/eth1")) { $0.deadlineMilliseconds = 600_000 }
    world.wallMillisecondsAtZero += 86_400_000
    world.pass(milliseconds: 120_000)
    #expect(world.phase("web") == .ready)
    // What is shown follows the clock.
    let left = (world.cordon(of: "a/eth1")?.drain?.deadline?.seconds ?? 0) - world.now.timestamp.seconds
    #expect((400...540).contains(left))
    world.wallMillisecondsAtZero -= 2 * 86_400_000
    world.pass(milliseconds: 482_000)
    world.settle()
    #expect(world.phase("web") == .pending)
  }

  @Test func countNoTimeInWhichNoCoordinatorRuns() {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.drain(.node("a/eth1")) { $0.deadlineMilliseconds = 300_000 }
    world.pass(milliseconds: 130_000)
    world.milliseconds += 3_600_000
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.pass(milliseconds: 60_000)
    world.settle()
    #expect(world.phase("web") == .ready)
    // At most a minute of what it had run is counted again.
    world.pass(milliseconds: 172_000)
    world.settle()
    #expect(world.phase("web") == .pending)
  }

  @Test func canBeTooFarAway() {
    var world = World.rack()
    let refusal = world.drain(.node("a/eth1")) { $0.deadlineMilliseconds = .max }.refusal
    #expect(refusal?.code == .invalidArgument)
    #expect(world.cordon(of: "a/eth1") == nil)
  }

  // MARK: Hosts

  @Test func ofTheLastRootAreRefusedWhereSomethingCannotMove() {
    var world = World.rack()
    world.create("web")
    world.settle()
    let refusal = world.drain(.machine("a")).refusal
    #expect(refusal?.code == .failedPrecondition)
    #expect(refusal?.message.contains("host 'a' is the last one with a path to a/eth1") == true)
    #expect(refusal?.message.contains("'web'") == true)
    #expect(world.cordon(of: "a") == nil)
    world.drain(.machine("a")) {
      $0.force = true
      $0.deadlineMilliseconds = 1000
    }
    world.pass(milliseconds: 3000)
    world.settle()
    #expect(world.phase("web") == .pending)
    #expect(world.reasons("web").first == "was evicted: host a is drained: firmware")
  }

  @Test func ofAHostLookAtSoManyInVainAtMost() {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 40)]
    world.reportInventory("a")
    for number in 10..<30 { world.create("web-\(number)") }
    world.settle()
    let refusal = world.drain(.machine("a")).refusal
    #expect(refusal?.message.contains("'web-10', 'web-11', 'web-12', 'web-13'") == true)
    #expect(refusal?.message.contains("'web-17', and perhaps further ones that were not looked at;") == true)
    world.hosts["c"]?.endNodes.append(card("ethernet/c", functions: 40))
    world.reportInventory("c")
    _ = world.drain(.machine("a"))
    world.pass(milliseconds: 4000)
    world.settle()
    #expect((10..<30).allSatisfy { world.endNode("web-\($0)") == "ethernet/c" })
  }

  @Test func ofTheLastRootAreRefusedWhereNotAllFitElsewhereTogether() {
    var world = World.rack()
    let names = (1...8).map { "web-\($0)" }
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 40)]
    world.reportInventory("a")
    for name in names { world.create(name) }
    world.settle()
    world.hosts["c"]?.endNodes.append(card("ethernet/c", functions: 3))
    world.reportInventory("c")
    let refusal = world.drain(.machine("a")) { $0.evict = true }.refusal
    #expect(refusal?.code == .failedPrecondition)
    #expect(refusal?.message.contains("else beside the others: 'web-4', 'web-5', 'web-6', 'web-7', 'web-8';") == true)
    #expect(world.cordon(of: "a") == nil)
    // What was only tried takes nothing from anybody.
    for name in names.prefix(5) { world.delete(name) }
    world.settle()
    _ = world.drain(.machine("a"))
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(names.suffix(3).allSatisfy { world.endNode($0) == "ethernet/c" && world.phase($0) == .ready })
  }

  @Test func ofAHostMoveWhatItGivesAndWhatItTakes() {
    var world = twoCards()
    world.create("served") { $0.endNode = nil }
    world.create("taken") {
      $0.host = ""
      $0.hosts = ["a", "b"]
      $0.consumer = Consumer { $0.interfaceName = "eth7" }
    }
    world.settle()
    world.drain(.machine("a"))
    world.pass(milliseconds: 2000)
    world.settle()
    for name in ["served", "taken"] {
      let assignment = world.claim(name)?.status?.assignment
      #expect(world.phase(name) == .ready)
      #expect(assignment?.host == "b" && assignment?.controllingHost == "c")
    }
    #expect(world.remaining(of: "a").isEmpty)
  }

  @Test func ofAHostThatNobodyIsOnEndAtOnce() throws {
    var world = World.rack()
    let answer = try world.drain(.machine("b")).get()
    #expect(answer.host?.cordon?.drain?.remaining.isEmpty == true)
    world.create("web")
    #expect(world.reasons("web") == ["b is drained: firmware"])
  }

  /// Its parts stay where they are, and are served by another host.
  @Test func ofAHostHandOverADiskThatOthersSeeToo() {
    var world = World.fabric()
    world.claimPart("far", on: "b")
    world.settle()
    let before = world.assigned("far")
    world.drain(.machine("a")) { $0.deadlineMilliseconds = 30_000 }
    world.pass(milliseconds: 20_000)
    world.settle()
    #expect(world.assigned("far") == before)
    #expect(remaining(of: "a", in: world).first?.why.contains("another host takes over a/sdm") == true)
    world.pass(milliseconds: 14_000)
    world.settle()
    #expect(world.shared?.controllingHost == "c")
    let after = world.assigned("far")
    #expect(world.phase("far") == .ready)
    #expect(after?.function == before?.function && after?.extent == before?.extent)
    #expect(after?.controllingHost == "c")
    #expect(remaining(of: "a", in: world).isEmpty)
  }

  /// Control of what nothing is in use of goes at once.
  @Test func andCordonsOfAHostLeaveControlToOthers() {
    var world = World.fabric()
    world.cordon(.machine("a"))
    world.pass(milliseconds: 2000)
    world.settle()
    #expect(world.shared?.controllingHost == "c")
    world.claimPart("far", on: "b")
    world.settle()
    #expect(world.phase("far") == .ready)
  }

  private func remaining(of name: String, in world: World) -> [DrainRemainder] {
    world.cordon(of: name)?.drain?.remaining ?? []
  }
}
