import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Claims that leave open on which of several hosts they are used.
@Suite struct HostChoiceTests {
  private func assignment(_ name: String, in world: World) -> Assignment? { world.claim(name)?.status?.assignment }

  @Test func thePreferredPathChoosesTheHost() {
    var world = World.rack()
    world.create("near", host: "") { $0.hosts = ["b", "a", "c"] }
    #expect(assignment("near", in: world)?.host == "a")
    #expect(assignment("near", in: world)?.path == .directSoftware)
    world.create("far", host: "") {
      $0.hosts = ["b", "a", "c"]
      $0.allowedPaths = [.mediated, .directSoftware]
    }
    #expect(assignment("far", in: world)?.path == .mediated)
    world.settle()
    for name in ["near", "far"] { #expect(world.phase(name) == .ready) }
  }

  @Test func ofEqualHostsTheOneWithTheFewestClaimsIsTaken() {
    var world = World.rack()
    for name in ["one", "two", "three", "four"] {
      world.create(name, host: "") {
        $0.hosts = ["b", "c"]
        $0.allowedPaths = [.mediated]
      }
      world.settle()
    }
    #expect(["one", "two", "three", "four"].map { assignment($0, in: world)?.host } == ["b", "c", "b", "c"])
  }

  @Test func aConditionChoosesHosts() {
    var world = World.rack()
    world.hosts["c"]?.labels = ["rack": "r7"]
    world.connect("c")
    world.create("web", host: "") { $0.hostSelector = "label.rack == 'r7'" }
    #expect(assignment("web", in: world)?.host == "c")
    #expect(world.claim("web")?.specification?.hostSelector == #"label.rack == "r7""#)
    world.create("both", host: "") {
      $0.hosts = ["a", "b"]
      $0.hostSelector = "name != \"a\""
    }
    #expect(assignment("both", in: world)?.host == "b")
    world.settle()
    #expect(world.phase("both") == .ready)
  }

  @Test func aHostThatComesMayBeTheOne() {
    var world = World.rack()
    world.create("web", host: "") { $0.hostSelector = "has(label.gpu)" }
    #expect(world.phase("web") == .pending)
    let reason = world.claim("web")?.status?.pending.first
    #expect(reason?.filter == "host" && reason?.dropped == 1)
    #expect(reason?.message == "it is to be used on a host of which has(label.gpu) is so, and none is connected")
    var d = FakeHost("d", address: "10.0.0.4")
    d.plugins = [ethernetPlugin()]
    d.labels = ["gpu": "yes"]
    world.add(d)
    world.settle()
    #expect(world.phase("web") == .ready)
    #expect(assignment("web", in: world)?.host == "d")
  }

  @Test func aHostThatIsAwayIsPassedOver() {
    var world = World.rack()
    world.disconnect("b")
    world.create("web", host: "") {
      $0.hosts = ["b", "c"]
      $0.allowedPaths = [.mediated]
    }
    #expect(assignment("web", in: world)?.host == "c")
    world.disconnect("c")
    world.create("wait", host: "") {
      $0.hosts = ["b", "c"]
      $0.allowedPaths = [.mediated]
    }
    #expect(world.claim("wait")?.status?.pending.map(\.filter) == ["host"])
    #expect(world.claim("wait")?.status?.pending.first?.message.contains("one of b, c") == true)
    world.connect("b")
    world.pass(milliseconds: 3000)
    #expect(assignment("wait", in: world)?.host == "b")
  }

  @Test func whatWasGrantedStaysWhereItIsUntilItIsGrantedAnew() {
    var world = World.rack()
    world.create("web", host: "") {
      $0.hosts = ["b", "c"]
      $0.allowedPaths = [.mediated]
    }
    world.settle()
    #expect(assignment("web", in: world)?.host == "b")
    world.disconnect("b")
    world.pass(milliseconds: 60_000)
    #expect(assignment("web", in: world)?.host == "b")
    world.restart()
    for host in ["a", "b", "c"] { world.connect(host) }
    world.settle()
    #expect(assignment("web", in: world)?.host == "b" && world.phase("web") == .ready)
    // The host that serves it dies: it gets another function, and may get another host.
    world.create("busy", host: "b")
    world.settle()
    world.crash("a")
    world.confirmDead("a")
    world.settle()
    #expect(world.phase("web") == .pending && assignment("web", in: world) == nil)
    world.connect("a")
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func everyEndNodeIsCountedOnceUnderTheFilterThatItCameFurthestTo() {
    var world = World.rack()
    world.hosts["a"]?.endNodes.append(card("ethernet/2", on: "eth2"))
    world.hosts["a"]?.endNodes[1].labels = ["colour": "blue"]
    world.reportInventory("a")
    world.create("web", host: "") {
      $0.hosts = ["a", "b", "c"]
      $0.allowedPaths = [.direct]
      $0.selector = "not has(label.colour)"
    }
    let pending = world.claim("web")?.status?.pending ?? []
    #expect(pending.map(\.filter) == ["selector", "path"] && pending.map(\.dropped) == [1, 1])
  }

  @Test func anInterfacesNameIsTakenOnTheHostThatIsChosen() {
    var world = World.rack()
    world.create("first", host: "b") { $0.consumer = Consumer { $0.interfaceName = "net0" } }
    for name in ["one", "two"] {
      world.create(name, host: "") {
        $0.hosts = ["b", "c"]
        $0.consumer = Consumer { $0.interfaceName = "net0" }
      }
    }
    world.settle()
    #expect(assignment("one", in: world)?.host == "c")
    #expect(world.phase("two") == .pending)
    #expect(world.claim("two")?.status?.pending.first?.message.contains("already has the interface 'net0'") == true)
    #expect(world.create("late", host: "c") { $0.consumer = Consumer { $0.interfaceName = "net0" } }.refusal != nil)
    world.delete("one")
    world.settle()
    #expect(assignment("two", in: world)?.host == "c")
    for name in ["first", "two"] { world.delete(name) }
    world.settle()
    #expect(world.arbiter.hasEmptyIndexes)
  }

  @Test func partsOfADiskAreFastestWhereControlCanGo() {
    var world = World.fabric()
    world.create("part", host: "", deviceClass: "sata") {
      $0.hosts = ["b", "c"]
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    world.settle()
    #expect(assignment("part", in: world)?.host == "c")
    #expect(assignment("part", in: world)?.path == .directSoftware)
    #expect(world.shared?.controllingHost == "c")
  }

  @Test func oneHostInAListIsThatHost() throws {
    var world = World.rack()
    let one = try world.create("web", host: "") { $0.hosts = ["b", "b"] }.get()
    #expect(one.specification?.host == "b" && one.specification?.hosts == [])
    #expect(try world.create("web", host: "b").get().uid == one.uid)
    let several = try world.create("two", host: "") { $0.hosts = ["c", "b"] }.get()
    #expect(try world.create("two", host: "") { $0.hosts = ["b", "c", "b"] }.get().uid == several.uid)
  }

  @Test func whatIsWrongWithAChoiceIsSaidAtOnce() {
    var world = World.rack()
    func refusal(_ change: (inout ClaimSpecification) -> Void) -> String? {
      world.create("web", host: "", change).refusal?.message
    }
    #expect(refusal { _ in }?.contains("several of which one will do") == true)
    #expect(refusal { $0.hosts = ["b", "z"] }?.contains("there is no host 'z'") == true)
    #expect(
      refusal { $0.hostSelector = "labl.rack == 'x'" }?.hasPrefix("the host selector, column 1: hosts have no field")
        == true)
    #expect(refusal { $0.hostSelector = "free.functions > 1" }?.contains("they have label.NAME, name, classes") == true)
    #expect(
      refusal {
        $0.host = "a"
        $0.hosts = ["b", "c"]
      }?.contains("and also one of b, c: either one host, or several") == true)
    // Not one of them can carry it.
    let wide = refusal {
      $0.hosts = ["b", "c"]
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.mtu = 8000 } }
    }
    #expect(wide?.contains("an MTU of 8000") == true)
    let wideOnAny = refusal {
      $0.hostSelector = "name != 'z'"
      $0.allowedPaths = [.mediated]
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.mtu = 8000 } }
    }
    #expect(wideOnAny?.contains("the mediation network of a carries 1500") == true)
    #expect(world.claim("web") == nil)
    world.create("web", host: "") {
      $0.hosts = ["a", "b"]
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.mtu = 8000 } }
    }
    #expect(assignment("web", in: world)?.host == "a")
  }

  /// Of hosts that an end node cannot tell apart one is tried; which of them it is must not matter.
  @Test func everyKindOfHostIsTriedAndTheFirstOfItTaken() {
    var world = World.rack()
    for (name, change) in [
      ("d", { $0.mediationAddress = "" }), ("e", { $0.mediationAddress = "fd00::5" }), ("f", { $0.plugins = [] }),
      ("g", { $0.mediationMtu = 1400 }), ("h", { _ in }), ("i", { _ in }),
    ] as [(String, (inout FakeHost) -> Void)] {
      var host = FakeHost(name, address: "10.0.1.\(name.utf8.first ?? 0)")
      host.plugins = [ethernetPlugin()]
      change(&host)
      world.add(host)
    }
    world.cordon(.machine("h"))
    let names = ["d", "e", "f", "g", "h", "i"]
    func choose(_ name: String, among hosts: [String], mtu: UInt32? = nil) -> String? {
      world.create(name, host: "") {
        $0.hosts = hosts
        $0.allowedPaths = [.mediated]
        if let mtu { $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.mtu = mtu } } }
      }
      return assignment(name, in: world)?.host
    }
    #expect(choose("narrow", among: names, mtu: 1350) == "g")
    #expect(choose("wide", among: names, mtu: 1450) == "i")
    // None is left of whose kind another one could do.
    #expect(choose("none", among: names.dropLast()) == "g")
    #expect(choose("waits", among: ["d", "e", "f", "h"]) == nil)
    let reasons = world.claim("waits")?.status?.pending ?? []
    #expect(reasons.contains { $0.filter == "plugin" || $0.filter == "path" || $0.filter == "cordon" })
  }

  @Test func anEndNodesOwnHostDoesNotStandForOthersOfItsKind() {
    var world = World.rack()
    // "a" has the fewest claims, and nothing is mediated to it.
    world.create("web", host: "") {
      $0.hosts = ["a", "b", "c"]
      $0.allowedPaths = [.mediated]
    }
    #expect(assignment("web", in: world)?.host == "b")
  }

  @Test func aHostThatIsForgottenIsNoneOfThem() {
    var world = World.rack()
    world.create("web", host: "") {
      $0.hosts = ["b", "c"]
      $0.selector = "has(label.nobody)"
    }
    world.crash("b")
    world.confirmDead("b")
    #expect(world.forget("b").refusal == nil)
    #expect(world.phase("web") == .pending)
  }
}
