import Messages
import Testing

@testable import Arbitration
@testable import Simulation

@Suite struct PlacementTests {
  private func reasons(_ world: World, _ name: String) -> [String] {
    world.claim(name)?.status?.pending.map(\.filter) ?? []
  }

  @Test func aPreferredPathBeatsAnEmptierDevice() throws {
    var world = World.rack()
    var b = try #require(world.hosts["b"])
    b.endNodes = [card("ethernet/b", on: "eth7")]
    world.hosts["b"] = b
    world.reportInventory("b")
    world.create("own", host: "b")
    #expect(world.claim("own")?.status?.assignment?.endNode == "ethernet/b")
    world.create("far", host: "b") { $0.allowedPaths = [.mediated, .directSoftware] }
    #expect(world.claim("far")?.status?.assignment?.endNode == "ethernet/52:54:00:00:00:01")
  }

  @Test func equalDevicesAreUsedInTurn() throws {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/1"), card("ethernet/2", on: "eth2")]
    world.reportInventory("a")
    for name in ["one", "two", "three", "four"] { world.create(name) }
    let nodes = ["one", "two", "three", "four"].map { world.claim($0)?.status?.assignment?.endNode }
    #expect(nodes == ["ethernet/1", "ethernet/2", "ethernet/1", "ethernet/2"])
    world.settle()
  }

  @Test func aBusyDeviceLeavesAClaimWaitingAndSaysWhy() {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01", functions: 1)]
    world.reportInventory("a")
    world.create("one")
    world.create("two")
    world.create("three")
    world.settle()
    let reason = world.claim("two")?.status?.pending.first
    #expect(reason?.filter == "functions")
    #expect(reason?.dropped == 1)
    #expect(reason?.message == "all 1 functions of a/eth1 are in use")
    world.delete("one")
    world.settle()
    #expect(world.phase("two") == .ready)
    #expect(world.phase("three") == .pending)
  }

  @Test func everyFilterCountsWhatItDropped() {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [
      card("ethernet/52:54:00:00:00:01"), card("ethernet/2", on: "eth2"), card("ethernet/3", on: "eth3"),
    ]
    world.hosts["a"]?.endNodes[1].health = Health {
      $0.state = .unhealthy
      $0.message = "no carrier"
    }
    world.hosts["a"]?.endNodes[2].labels = ["colour": "blue"]
    world.reportInventory("a")
    world.create("web") {
      $0.allowedPaths = [.direct]
      $0.host = "b"
    }
    #expect(reasons(world, "web") == ["health", "path"])
    #expect(world.claim("web")?.status?.pending.map(\.dropped) == [1, 2])
    world.create("red") { $0.endNode = EndNodeSelector { $0.labels = ["colour": "red"] } }
    #expect(reasons(world, "red") == ["selector"])
    world.create("blue") { $0.endNode = EndNodeSelector { $0.labels = ["colour": "blue"] } }
    #expect(world.claim("blue")?.status?.assignment?.endNode == "ethernet/3")
  }

  @Test func aClaimWaitsForAHostThatIsAway() {
    var world = World.rack()
    world.disconnect("b")
    world.create("web")
    #expect(reasons(world, "web") == ["host"])
    world.connect("b")
    world.settle()
    #expect(world.phase("web") == .ready)
    world.disconnect("a")
    world.create("more")
    #expect(reasons(world, "more") == ["controlling-host"])
    world.connect("a")
    world.settle()
    #expect(world.phase("more") == .ready)
  }

  @Test func nothingIsGrantedBeforeTheControllingHostHasToldAllItHas() throws {
    var world = World.rack()
    world.disconnect("a")
    let session = SessionID(999)
    let host = try #require(world.hosts["a"])
    world.hosts["a"]?.session = session
    world.send(.hostConnected(session, host.hello))
    world.create("web")
    #expect(reasons(world, "web") == ["controlling-host"])
    world.send(.inventoryReported(session, host.inventory))
    #expect(reasons(world, "web") == ["controlling-host"])
    world.report("a", complete: true)
    #expect(world.phase("web") == .preparing)
  }

  @Test func mediationNeedsAnAddressAndACommonMediatorOnBothSides() {
    var world = World.rack()
    world.hosts["b"]?.mediationAddress = ""
    world.connect("b")
    world.create("web")
    #expect(world.claim("web")?.status?.pending.first?.message.contains("b has no mediation address") == true)
    world.hosts["b"]?.mediationAddress = "fd00::2"
    world.connect("b")
    #expect(world.claim("web")?.status?.pending.first?.message.contains("different families") == true)
    world.hosts["b"]?.mediationAddress = "10.0.0.2"
    world.hosts["b"]?.plugins[0].mediatorsAccepted = []
    world.connect("b")
    #expect(world.claim("web")?.status?.pending.first?.message.contains("b accepts no mediator") == true)
    world.hosts["b"]?.plugins[0].mediatorsAccepted = ["vxlan"]
    world.reportInventory("b")
    #expect(world.phase("web") == .preparing)
  }

  @Test func addressesAreTheSameForTheSameClaimAndDifferForOthers() {
    #expect(MACAddress(derivedFrom: "x") == MACAddress(derivedFrom: "x"))
    #expect(MACAddress(derivedFrom: "x") != MACAddress(derivedFrom: "x", attempt: 1))
    let mac = MACAddress(derivedFrom: "anything at all")
    #expect(!mac.isMulticast)
    #expect(mac.description.hasPrefix("02:"))
    #expect(MACAddress(mac.description) == mac)
  }

  @Test func twoHostsWithOneDeviceAreAConflict() {
    var world = World.rack()
    world.hosts["b"]?.endNodes = [card("ethernet/52:54:00:00:00:01")]
    world.reportInventory("b")
    let node = world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }
    #expect(node?.health?.state == .unhealthy)
    #expect(node?.health?.message.contains("b reports the same identity as a") == true)
    world.create("web")
    #expect(reasons(world, "web") == ["health"])
    world.hosts["b"]?.endNodes = []
    world.reportInventory("b")
    #expect(world.phase("web") == .preparing)
  }

  @Test func aDeviceThatDisappearsKeepsItsClaimsAndItsTokens() {
    var world = World.rack()
    world.create("web")
    world.settle()
    let token = world.arbiter.listedEndNodes.first { $0.deviceClass == "ethernet" }?.highestToken?.value
    world.hosts["a"]?.endNodes = []
    world.reportInventory("a")
    #expect(world.phase("web") == .ready)
    world.create("more")
    #expect(reasons(world, "more") == ["health"])
    world.hosts["a"]?.endNodes = [card("ethernet/52:54:00:00:00:01")]
    world.reportInventory("a")
    #expect((world.claim("more")?.status?.assignment?.token?.value ?? 0) > token ?? .max)
  }
}
