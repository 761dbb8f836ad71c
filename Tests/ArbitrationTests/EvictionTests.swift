import Messages
import Testing

@testable import Arbitration
@testable import Simulation

extension World {
  @discardableResult
  fileprivate mutating func evict(_ name: String, discardsData: Bool = false) -> Result<Claim, Refusal> {
    let request = EvictClaimRequest {
      $0.name = name
      $0.reason = "somebody needs it"
      $0.discardData = discardsData
    }
    return ask { .claimEvicted($0, request) }.map(\.claim)
  }
}

@Suite struct Eviction {
  @Test func takesTheFunctionUnderItsTokenAndGivesAnotherOne() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    let held = world.claim("web")?.status?.assignment
    let told = world.effects.count
    let evicted = try world.evict("web").get()
    #expect(evicted.status?.phase == .reclaiming)
    #expect(evicted.status?.assignment?.token == held?.token)
    #expect(evicted.status?.pending.first?.message == "was evicted: somebody needs it")
    // The server first: its consumer hears of it when the server has said that it is cut.
    #expect(world.released(since: told).map(\.role) == [.server])
    world.settle()
    #expect(world.released(since: told).map(\.role) == [.server, .consumer])
    let now = world.claim("web")
    #expect(now?.uid == evicted.uid)
    #expect(now?.status?.phase == .ready)
    #expect(now?.status?.pending.isEmpty == true)
    #expect((now?.status?.assignment?.token?.value ?? 0) > (held?.token?.value ?? .max))
  }

  @Test func ofAClaimThatFitsNowhereElseLeavesItPendingWithItsReason() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.evict("web")
    world.hosts["a"]?.plugins = [sataPlugin()]
    world.reportInventory("a")
    world.settle()
    #expect(world.phase("web") == .pending)
    #expect(world.reasons("web").first == "was evicted: somebody needs it")
    #expect(world.reasons("web").count == 2)
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.reasons("web").first == "was evicted: somebody needs it")
    world.hosts["a"]?.plugins = [ethernetPlugin(), sataPlugin()]
    world.reportInventory("a")
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func waitsForProof() throws {
    var world = World.rack()
    world.create("web")
    world.settle()
    world.disconnect("a")
    world.evict("web")
    world.settle()
    #expect(world.phase("web") == .reclaiming)
    #expect(world.reasons("web").count == 2)
    world.restart()
    for name in ["b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.phase("web") == .reclaiming)
    world.connect("a")
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func ofWhatHoldsDataIsRefusedUnlessItIsMeant() throws {
    var world = World.rack()
    world.createData("data", on: "a")
    world.settle()
    let refusal = world.evict("data").refusal
    #expect(refusal?.code == .failedPrecondition)
    #expect(refusal?.message.contains("what 'data' has on a disk would be lost") == true)
    #expect(world.phase("data") == .ready)
    let held = world.claim("data")?.status?.assignment?.function
    try #expect(world.evict("data", discardsData: true).get().status?.phase == .reclaiming)
    world.settle()
    #expect(world.phase("data") == .ready)
    #expect(world.claim("data")?.status?.assignment?.function != held)
  }

  @Test func ofASourceEvictsItsPartsAndTheyLetGoFirst() throws {
    var world = World.rack()
    world.hosts["c"]?.endNodes[0].capabilities?.consumers = ["host", "file_server"]
    world.reportInventory("c")
    world.createData("source", on: "c") { $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) } }
    world.settle()
    world.createData("part", on: "b", size: 1 << 26) { $0.source = "source" }
    world.settle()
    #expect(world.phase("part") == .ready)
    #expect(world.evict("source").refusal?.message.contains("what 'part' has on a disk") == true)
    let told = world.effects.count
    world.hosts["c"]?.isStuck = true
    try #expect(world.evict("source", discardsData: true).get().status?.phase == .reclaiming)
    #expect(world.phase("part") == .reclaiming)
    #expect(world.reasons("part").first == "was evicted: its source 'source' was evicted: somebody needs it")
    #expect(world.released(since: told).compactMap(\.assignment?.claim) == ["part"])
    // Also where the coordinator begins anew meanwhile.
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    #expect(world.hosts["c"]?.wanted.values.filter { $0.released }.compactMap(\.assignment?.claim) == ["part"])
    world.hosts["c"]?.isStuck = false
    world.settle()
    #expect(world.phase("source") == .ready)
    #expect(world.phase("part") == .ready)
    #expect(world.claim("part")?.status?.assignment?.endNode == world.claim("source")?.status?.assignment?.function)
  }

  @Test func ofAClaimThatHoldsNothingIsRefused() throws {
    var world = World.rack()
    #expect(world.evict("web").refusal?.code == .notFound)
    world.disconnect("a")
    world.create("web")
    #expect(world.evict("web").refusal?.message.contains("is pending") == true)
    world.connect("a")
    world.settle()
    world.disconnect("a")
    world.delete("web")
    // What goes already goes on, and is not kept.
    try #expect(world.evict("web").get().status?.phase == .releasing)
    world.connect("a")
    world.settle()
    #expect(world.claim("web") == nil)
  }
}

extension World {
  /// The entries that hosts were told to let go of, in order.
  fileprivate func released(since count: Int) -> [WantedFunction] {
    effects.dropFirst(count).flatMap { effect -> [WantedFunction] in
      guard case .send(_, let message) = effect, case .wanted(let state) = message.kind else { return [] }
      return state.functions.filter(\.released)
    }
  }

  fileprivate mutating func createData(
    _ name: String, on host: String, size: UInt64 = 1 << 28, _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) {
    create(name, host: host, deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
      change(&$0)
    }
  }
}
