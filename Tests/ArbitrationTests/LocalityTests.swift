import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Claims that say how near their function is to be, and whether end nodes are to be spread over or filled.
@Suite struct LocalityTests {
  /// Hosts a and b stand in rack r1, c in r2, and of d nobody knows; each has two cards but b, which has none.
  private func racks() -> World {
    var world = World()
    for (number, name) in ["a", "b", "c", "d"].enumerated() {
      var host = FakeHost(name, address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin(), sataPlugin()]
      host.labels = ["a": ["rack": "r1"], "b": ["rack": "r1"], "c": ["rack": "r2"]][name] ?? [:]
      if name != "b" {
        host.endNodes = (0...1).map { numa in
          var node = card("ethernet/\(name)\(numa)", on: "eth\(numa)", functions: 2)
          node.roots[0].numaNode = name == "d" ? -1 : Int32(numa)
          return node
        }
      }
      world.add(host)
    }
    return world
  }

  private func endNode(_ name: String, in world: World) -> String? { world.claim(name)?.status?.assignment?.endNode }

  private func refusal(_ result: Result<Claim, Refusal>) -> String {
    if case .failure(let refusal) = result { refusal.message } else { "" }
  }

  @Test func theSameRackIsRequired() {
    var world = racks()
    for number in 1...4 {
      world.create("web-\(number)") { $0.locality = Locality { $0.within = .rack } }
      world.settle()
      #expect(endNode("web-\(number)", in: world)?.hasPrefix("ethernet/a") == true)
    }
    world.create("late") { $0.locality = Locality { $0.within = .rack } }
    let reasons = world.claim("late")?.status?.pending ?? []
    #expect(reasons.map(\.filter) == ["locality", "functions"])
    #expect(
      reasons.contains {
        $0.message.contains("one of the rack of b, r1, is asked for, and c, which serves c/eth0, is in r2")
      })
    #expect(reasons.contains { $0.message.contains("whether d, which serves d/eth0, is in it: d has no label rack") })
    world.delete("web-2")
    world.settle()
    #expect(world.phase("late") == .ready)
  }

  @Test func theNearestIsPreferredAndNothingElseIsLost() {
    var world = racks()
    let got = (1...6).map { number in
      world.create("web-\(number)") { $0.locality = Locality { $0.nearest = true } }
      world.settle()
      return endNode("web-\(number)", in: world) ?? ""
    }
    #expect(
      got == ["ethernet/a0", "ethernet/a1", "ethernet/a0", "ethernet/a1", "ethernet/c0", "ethernet/c1"])
    #expect(world.claim("web-1")?.status?.decision?.nearness == .rack)
    #expect(world.claim("web-5")?.status?.decision?.nearness == .elsewhere)
  }

  @Test func theNUMANodeIsThatOfTheHost() {
    var world = racks()
    let one = { (specification: inout ClaimSpecification) in
      specification.locality = Locality {
        $0.within = .numaNode
        $0.numaNode = 1
      }
    }
    for name in ["first", "second", "third"] { world.create(name, host: "a", one) }
    world.settle()
    #expect(["first", "second"].map { endNode($0, in: world) } == ["ethernet/a1", "ethernet/a1"])
    #expect(world.phase("third") == .pending)
    world.create("blind", host: "d", one)
    #expect(
      world.claim("blind")?.status?.pending.contains {
        $0.message.contains("nobody knows at which one d/eth0 is plugged in")
      } == true)
    world.create("near", host: "c") {
      $0.locality = Locality {
        $0.nearest = true
        $0.numaNode = 1
      }
    }
    #expect(endNode("near", in: world) == "ethernet/c1")
    #expect(world.claim("near")?.status?.decision?.nearness == .numaNode)
  }

  @Test func aRackThatBecomesKnownOpensTheWay() {
    var world = racks()
    world.create("web", host: "d") {
      $0.locality = Locality { $0.within = .rack }
      $0.allowedPaths = [.mediated]
    }
    #expect(world.phase("web") == .pending)
    world.hosts["d"]?.labels = ["rack": "r2"]
    world.connect("d")
    world.settle()
    #expect(endNode("web", in: world) == "ethernet/c0")
  }

  @Test func ofSeveralHostsTheOneThatIsNearIsTaken() {
    var world = racks()
    world.create("web", host: "") {
      $0.hosts = ["b", "d"]
      $0.allowedPaths = [.mediated]
      $0.locality = Locality { $0.nearest = true }
    }
    #expect(world.claim("web")?.status?.assignment?.host == "b")
    #expect(endNode("web", in: world) == "ethernet/a0")
  }

  @Test func packedClaimsFillOneEndNodeAfterTheOther() {
    var world = racks()
    let got = (1...6).map { number in
      world.create("web-\(number)") { $0.placement = Placement { $0.rule = .pack } }
      world.settle()
      return endNode("web-\(number)", in: world) ?? ""
    }
    #expect(got == ["ethernet/a0", "ethernet/a0", "ethernet/a1", "ethernet/a1", "ethernet/c0", "ethernet/c0"])
    #expect(world.claim("web-2")?.status?.decision?.packed == true)
  }

  @Test func packedPartsOfDisksLeaveTheLargestPieces() {
    var world = racks()
    world.hosts["c"]?.endNodes += [
      disk("sata/big", sizeBytes: 1 << 30), disk("sata/small", on: "sdb", sizeBytes: 1 << 28),
    ]
    world.reportInventory("c")
    func ask(_ name: String, _ size: UInt64) {
      world.create(name, deviceClass: "sata") {
        $0.placement = Placement { $0.rule = .pack }
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
      }
      world.settle()
    }
    ask("one", 1 << 27)
    ask("two", 1 << 29)
    ask("three", 1 << 27)
    #expect(["one", "two", "three"].map { endNode($0, in: world) } == ["sata/small", "sata/big", "sata/small"])
  }

  @Test func peersAreSpreadBeforeTheLoadIsLookedAt() {
    var world = racks()
    for name in ["x", "y"] {
      world.create(name, host: "c") { $0.endNode = EndNodeSelector { $0.name = "ethernet/c1" } }
    }
    world.delete("y")
    world.settle()
    let peers = { (specification: inout ClaimSpecification) in
      specification.placement = Placement { $0.peers = "web" }
      specification.endNode = EndNodeSelector { $0.host = "c" }
    }
    world.create("one", peers)
    world.create("two", peers)
    // As much is in use on both by now; without the peer, there is less on neither.
    #expect(endNode("one", in: world) == "ethernet/c0" && endNode("two", in: world) == "ethernet/c1")
    world.settle()
    world.delete("x")
    world.settle()
    world.create("other") { $0.endNode = EndNodeSelector { $0.host = "c" } }
    #expect(endNode("other", in: world) == "ethernet/c0")
    world.delete("two")
    world.settle()
    world.create("three", peers)
    #expect(endNode("three", in: world) == "ethernet/c1")
    #expect(world.claim("three")?.status?.decision?.peers == 0)
    world.restart()
    for name in world.hosts.keys.sorted() { world.connect(name) }
    for name in world.arbiter.listedClaims.map(\.name) { world.delete(name) }
    world.settle()
    #expect(world.arbiter.functionsOfPeers.isEmpty)
  }

  @Test func peersAreSpreadOverHosts() {
    var world = racks()
    for name in ["p", "q"] { world.create(name, host: "a") { $0.allowedPaths = [.mediated] } }
    let got = (1...3).map { number in
      world.create("web-\(number)", host: "") {
        $0.hosts = ["a", "b", "d"]
        $0.allowedPaths = [.mediated]
        $0.placement = Placement { $0.peers = "web" }
      }
      return world.claim("web-\(number)")?.status?.assignment?.host ?? ""
    }
    #expect(Set(got) == ["a", "b", "d"])
  }

  @Test func whatDecidedIsSaid() throws {
    var world = racks()
    world.create("near") { $0.locality = Locality { $0.nearest = true } }
    world.create("peer") { $0.placement = Placement { $0.peers = "web" } }
    world.create("peer-2") { $0.placement = Placement { $0.peers = "web" } }
    world.settle()
    let near = try world.arbiter.explanation(of: "near")
    #expect(near.options.first { $0.held }?.nearness == .rack)
    #expect(near.summary.contains("the load decided"))
    world.create("only") {
      $0.locality = Locality { $0.nearest = true }
      $0.selector = "name in [\"a/eth1\", \"c/eth0\"]"
    }
    world.settle()
    #expect(
      try world.arbiter.explanation(of: "only").summary.hasSuffix(
        "the nearness decided: it is in the rack, and the next best, c/eth0, is elsewhere"))
    let peer = try world.arbiter.explanation(of: "peer-2")
    #expect(peer.options.first { $0.held }?.peers == 0)
  }

  @Test func whatMakesNoSenseIsRefused() {
    var world = racks()
    let numa = world.create("a") { $0.locality = Locality { $0.within = .numaNode } }
    #expect(refusal(numa).contains("does not say which one"))
    let idle = world.create("a") { $0.locality = Locality { $0.numaNode = 1 } }
    #expect(refusal(idle).contains("does not say what for"))
    let far = world.create("a") {
      $0.locality = Locality { $0.within = .host }
      $0.allowedPaths = [.mediated]
    }
    #expect(refusal(far).contains("allow another path"))
    let both = world.create("a") {
      $0.placement = Placement {
        $0.rule = .pack
        $0.peers = "web"
      }
    }
    #expect(refusal(both).contains("leave one of both out"))
    let unknown = world.create("a") { $0.placement = Placement { $0.rule = .unrecognized(7) } }
    #expect(refusal(unknown).contains("number 7 is not known"))
    #expect(world.arbiter.listedClaims.isEmpty)
  }

  @Test func toSpreadIsWhatIsDoneWhenNothingIsSaid() {
    var world = racks()
    world.create("web") { $0.placement = Placement { $0.rule = .spread } }
    #expect(refusal(world.create("web")).isEmpty)
    #expect(world.claim("web")?.specification?.placement == nil)
  }
}
