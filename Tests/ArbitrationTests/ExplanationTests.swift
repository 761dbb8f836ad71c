import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Why a claim waits, and why it got what it has.
@Suite struct ExplanationTests {
  private func explain(_ name: String, in world: World) throws -> ClaimExplanation {
    try world.arbiter.explanation(of: name)
  }

  /// Host a has three cards: one with another label, one that is broken, one that is full.
  private func crowdedRack() -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [
      card("ethernet/52:54:00:00:00:01"), card("ethernet/2", on: "eth2"), card("ethernet/3", on: "eth3", functions: 1),
    ]
    world.hosts["a"]?.endNodes[0].labels = ["colour": "blue"]
    for index in 1...2 { world.hosts["a"]?.endNodes[index].labels = ["colour": "red"] }
    world.hosts["a"]?.endNodes[1].health = Health {
      $0.state = .unhealthy
      $0.message = "no carrier"
    }
    world.reportInventory("a")
    world.create("one") { $0.endNode = EndNodeSelector { $0.name = "ethernet/3" } }
    world.create("web") { $0.endNode = EndNodeSelector { $0.labels = ["colour": "red"] } }
    return world
  }

  @Test func everyFilterIsCountedInItsOrder() throws {
    let explanation = try explain("web", in: crowdedRack())
    #expect(explanation.phase == .pending && explanation.endNodes == 3 && explanation.fitting == 0)
    #expect(explanation.filters.map(\.filter) == ["selector", "health", "functions"])
    #expect(explanation.filters.map(\.dropped) == [1, 1, 1])
    #expect(explanation.filters.map(\.left) == [2, 1, 0])
    #expect(explanation.filters.last?.messages == ["all 1 functions of a/eth3 are in use"])
    #expect(explanation.summary == "it waits: none of 3 end nodes of class ethernet fits")
  }

  @Test func theNearestFitSaysWhatWouldHaveToChange() throws {
    let explanation = try explain("web", in: crowdedRack())
    #expect(explanation.nearest.map(\.name) == ["a/eth3", "a/eth2", "a/eth1"])
    let nearest = try #require(explanation.nearest.first)
    #expect(nearest.host == "b" && nearest.obstacles.map(\.filter) == ["functions"])
    #expect(nearest.obstacles.first?.remedy == "one who has a part of it has to let go: one")
  }

  @Test func whatIsInTheWayBesideTheFirstThingIsToldToo() throws {
    var world = crowdedRack()
    world.create("far") {
      $0.endNode = EndNodeSelector { $0.name = "ethernet/3" }
      $0.allowedPaths = [.directSoftware]
    }
    let nearest = try #require(try explain("far", in: world).nearest.first)
    #expect(nearest.name == "a/eth3" && nearest.obstacles.map(\.filter) == ["path", "functions"])
    #expect(nearest.obstacles.first?.remedy == "allow the path mediated")
  }

  @Test func theLoadDecides() throws {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/1"), card("ethernet/2", on: "eth2")]
    world.reportInventory("a")
    world.create("one")
    world.create("two")
    world.settle()
    let explanation = try explain("two", in: world)
    #expect(explanation.options.map(\.endNode) == ["ethernet/2", "ethernet/1"])
    #expect(explanation.options.map(\.held) == [true, false] && explanation.options.map(\.functionsInUse) == [0, 1])
    #expect(
      explanation.summary.hasSuffix(
        "the load decided: beside it 0 functions are in use there, and 1 of the next best, a/eth1"))
    #expect(explanation.decision?.functionsInUse == 0 && explanation.decision?.preference == 4)
    #expect(explanation.decision?.at != nil)
    #expect(
      try explain("one", in: world).summary.hasSuffix(
        "the load decided: beside it 0 functions are in use there, and 1 of the next best, a/eth2"))
  }

  @Test func thePathDecidesBeforeTheLoad() throws {
    var world = World.rack()
    world.hosts["b"]?.endNodes = [card("ethernet/b", on: "eth7")]
    world.reportInventory("b")
    world.create("own")
    world.settle()
    #expect(
      try explain("own", in: world).summary.hasSuffix(
        "the path decided: the next best, a/eth1, is reached by the path mediated"))
    // Once more of it is in use, another one may be better by the same path; what a claim has it keeps.
    world.hosts["b"]?.endNodes[0].health = Health { $0.state = .unhealthy }
    world.reportInventory("b")
    #expect(
      try explain("own", in: world).summary.hasSuffix(
        "it would not get it now, and keeps it: what a claim has is not taken from it"))
  }

  @Test func aClaimForSeveralHostsIsExplainedForTheOneThatIsNearest() throws {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/1", functions: 1)]
    world.reportInventory("a")
    world.create("one", host: "") {
      $0.hosts = ["a", "b"]
      $0.consumer = Consumer { $0.interfaceName = "eth0" }
    }
    world.settle()
    let held = try explain("one", in: world)
    #expect(held.options.map(\.host) == ["a"] && held.options.map(\.held) == [true])
    world.create("two", host: "") {
      $0.hosts = ["b", "c"]
      $0.allowedPaths = [.directSoftware]
    }
    let waits = try explain("two", in: world)
    #expect(waits.nearest.first?.host == "b" && waits.nearest.first?.obstacles.map(\.filter) == ["path", "functions"])
    for name in ["b", "c"] { world.disconnect(name) }
    world.create("three", host: "") { $0.hosts = ["b", "c"] }
    #expect(
      try explain("three", in: world).filters.last?.messages == [
        "it is to be used on one of b, c, and none is connected"
      ])
  }

  @Test func aPartOfADiskIsExplainedByItsSize() throws {
    var world = World.rack()
    world.create("large", host: "c", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 3 << 28 } }
    }
    world.create("more", host: "c", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 3 << 28 } }
    }
    let explanation = try explain("more", in: world)
    #expect(explanation.filters.map(\.filter) == ["size"])
    #expect(explanation.nearest.first?.obstacles.first?.remedy == "one who has a part of it has to let go: large")
    #expect(try explain("large", in: world).options.first?.held == true)
  }

  @Test func aSourceThatIsNotReadyIsTheReason() throws {
    var world = World.rack()
    world.hosts["c"]?.endNodes[0].capabilities?.consumers = ["host", "file_server"]
    world.reportInventory("c")
    world.hosts["c"]?.isStuck = true
    world.create("source", host: "c", deviceClass: "sata") {
      $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
    }
    world.create("part", host: "b", deviceClass: "sata") { $0.source = "source" }
    let explanation = try explain("part", in: world)
    #expect(explanation.filters.map(\.filter) == ["source"])
    #expect(explanation.summary.hasPrefix("it waits: its source 'source' is being set up"))
  }

  @Test func anUnknownClaimIsNotFound() {
    #expect(throws: Refusal.self) { try World.rack().arbiter.explanation(of: "web") }
  }
}
