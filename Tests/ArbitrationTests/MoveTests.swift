import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// A card on a and one on c, and a claim on b that has a function of either.
private func served(
  functions: UInt32 = 4, _ change: (inout ClaimSpecification) -> Void = { _ in }
) -> (world: World, before: Assignment) {
  var world = World.rack()
  world.hosts["c"]?.endNodes.append(card("ethernet/c", functions: functions))
  world.reportInventory("c")
  world.create("web", change)
  world.settle()
  return (world, world.claim("web")?.status?.assignment ?? Assignment())
}

extension World {
  fileprivate var assignment: Assignment? { claim("web")?.status?.assignment }

  fileprivate mutating func evict(_ name: String = "web") {
    let request = EvictClaimRequest { $0.name = name }
    _ = ask { .claimEvicted($0, request) }
  }

  /// What b was told of it, in one message each: the functions that it is to have, and those that it is to let go of.
  fileprivate func words(since start: Int) -> [(has: [String], letsGo: [String])] {
    effects[start...].compactMap { effect in
      guard case .send(let session, let message) = effect, session == hosts["b"]?.session,
        case .wanted(let wanted) = message.kind, !wanted.functions.isEmpty
      else { return nil }
      let names = { (released: Bool) in wanted.functions.filter { $0.released == released }.map(\.functionID) }
      return (names(false), names(true))
    }
  }
}

@Suite struct Moves {
  @Test func keepTheConsumersInterface() throws {
    var (world, before) = served()
    let start = world.effects.count
    let name = world.endNode("web") == "ethernet/c" ? "c/eth1" : "a/eth1"
    _ = try world.drain(.node(name)).get()
    world.pass(milliseconds: 2000)
    world.settle()
    let after = try #require(world.assignment)
    #expect(world.phase("web") == .ready)
    #expect(after.endNode != before.endNode)
    #expect(after.takesOver == before.function)
    #expect(after.mediation?.vni == before.mediation?.vni)
    #expect(after.macAddress == before.macAddress)
    #expect(after.consumer?.interfaceName == "iov0")
    // It hears of the next one and of the end of the former one at once.
    let words = world.words(since: start)
    #expect(words.first?.has == [after.function])
    #expect(words.first?.letsGo == [before.function])
    #expect(world.hosts["b"]?.functions.keys.sorted() == [after.function])
    #expect(world.store.keys.filter { $0.kind == .wantedFunction }.count == 2)
  }

  @Test func waitForTheFormerServersProof() throws {
    var (world, before) = served()
    let server = before.controllingHost
    world.hosts[server]?.isScrubbingForever = true
    world.evict()
    world.settle()
    // Cut off, and not cleaned yet: the interface stays, and nothing is served anew.
    #expect(world.phase("web") == .reclaiming)
    #expect(world.assignment?.function == before.function)
    #expect(world.hosts["b"]?.functions.keys.sorted() == [before.function])
    world.hosts[server]?.isScrubbingForever = false
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.assignment?.takesOver == before.function)
  }

  @Test func followAServerThatDied() throws {
    var (world, before) = served()
    world.crash(before.controllingHost)
    world.pass(milliseconds: 20_000)
    _ = try world.confirmDead(before.controllingHost).get()
    world.settle()
    let after = try #require(world.assignment)
    #expect(world.phase("web") == .ready)
    #expect(after.endNode != before.endNode)
    #expect(after.takesOver == before.function)
    world.connect(before.controllingHost)
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.assignment?.function == after.function)
  }

  @Test func letGoOfItWhereNothingElseIsFree() throws {
    var (world, before) = served(functions: 1)
    let other = before.endNode == "ethernet/c" ? "a/eth1" : "c/eth1"
    world.cordon(.node(other))
    _ = try world.drain(.node(before.endNode == "ethernet/c" ? "c/eth1" : "a/eth1")) { $0.evict = true }.get()
    world.settle()
    #expect(world.phase("web") == .pending)
    #expect(world.hosts["b"]?.functions.isEmpty == true)
    world.uncordon(.node(other))
    world.settle()
    #expect(world.phase("web") == .ready)
    // There was nothing left to keep.
    #expect(world.assignment?.takesOver == "")
  }

  @Test func letGoOfItForAnotherKindOfPath() throws {
    var (world, before) = served { $0.allowedPaths = [.directSoftware, .mediated] }
    #expect(before.path == .mediated)
    world.hosts["b"]?.endNodes.append(card("ethernet/b"))
    world.reportInventory("b")
    world.evict()
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.assignment?.path == .directSoftware)
    #expect(world.assignment?.takesOver == "")
    #expect(world.hosts["b"]?.functions.count == 1)
  }

  @Test func leaveWhatIsBeingDeletedAlone() {
    var (world, _) = served()
    world.delete("web")
    world.settle()
    #expect(world.claim("web") == nil)
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
  }

  @Test func stayOnTheHostThatAClaimForSeveralIsOn() throws {
    var (world, before) = served {
      $0.host = ""
      $0.hosts = ["b", "c"]
      $0.allowedPaths = [.mediated]
      $0.endNode = nil
    }
    let host = before.host
    world.add(lastHost())
    world.evict()
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.assignment?.host == host)
    #expect(world.assignment?.takesOver == before.function)
  }

  /// Between the two functions the coordinator may end: the interface is let go of or kept, and the claim goes on.
  @Test func surviveARestart() throws {
    var (world, before) = served()
    world.hosts["b"]?.isStuck = true
    world.evict()
    world.settle()
    #expect(world.assignment?.takesOver == before.function)
    let after = world.assignment?.function
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.hosts["b"]?.isStuck = false
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(world.assignment?.function == after)
    #expect(world.assignment?.takesOver == before.function)
    #expect(world.hosts["b"]?.functions.count == 1)
  }

  @Test func giveWayToWhomItLetsGoFor() throws {
    var (world, before) = served(functions: 1)
    world.cordon(.node(before.endNode == "ethernet/c" ? "a/eth1" : "c/eth1"))
    let limit =
      world.hosts[before.controllingHost]?.endNodes.first { $0.id == before.endNode }?.capacity?.functions ?? 0
    for number in 1..<limit { world.create("filler-\(number)") { $0.priority = 1 } }
    world.create("urgent") { $0.priority = 1 }
    world.settle()
    #expect(world.phase("urgent") == .ready)
    #expect(world.phase("web") == .pending)
    #expect(world.claim("urgent")?.status?.assignment?.takesOver == "")
    #expect(world.hosts["b"]?.functions.values.contains { $0.claimUid == world.claim("web")?.uid } == false)
  }
}

private func lastHost() -> FakeHost {
  var host = FakeHost("d", address: "10.0.0.4")
  host.plugins = [ethernetPlugin()]
  host.endNodes = [card("ethernet/d")]
  return host
}
