import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// A card with functions of its own, that shares itself in software as well: what its paths can do differs.
func iovCard(_ id: String, functions: UInt32 = 2) -> EndNode {
  func support(_ attribute: String, _ support: Support = .supported, _ reason: String = "") -> AttributeSupport {
    AttributeSupport {
      $0.attribute = "ethernet.\(attribute)"
      $0.support = support
      $0.reason = reason
    }
  }
  let common = ["mac_address", "mtu"].map { support($0) }
  let limits = ["max_transmit_bits_per_second", "max_receive_bits_per_second"]
  var node = card(id, functions: 100)
  node.capabilities?.paths = [.direct, .directSoftware, .mediated]
  node.capabilities?.byPath = [
    PathCapabilities {
      $0.path = .direct
      $0.functions = functions
      $0.consumers = ["host", "network_namespace", "container", "virtual_machine", "user_space"]
      $0.attributes =
        common + [
          support("vlan"), support("vlan_priority"), support("trust"),
          support("max_transmit_bits_per_second", .unverified, "igb under emulation"),
          support("link_state", .refused, "Operation not supported"),
        ]
      $0.minimumMtu = 68
      $0.maximumMtu = 9216
    },
    PathCapabilities {
      $0.path = .directSoftware
      $0.consumers = ["host", "network_namespace"]
      $0.attributes = common + limits.map { support($0) }
      $0.minimumMtu = 68
      $0.maximumMtu = 1500
    },
  ]
  return node
}

@Suite struct PathOfferTests {
  private func rack(functions: UInt32 = 2) -> World {
    var world = World.rack()
    world.hosts["a"]?.endNodes = [iovCard("ethernet/52:54:00:00:00:01", functions: functions)]
    world.reportInventory("a")
    return world
  }

  private func refusal(_ result: Result<Claim, Refusal>) -> String? {
    if case .failure(let refusal) = result { refusal.message } else { nil }
  }

  private func ask(
    _ world: inout World, _ ethernet: EthernetAttributes, paths: [Path] = [], _ consumer: Consumer? = nil
  ) -> Result<Claim, Refusal> {
    world.create(
      "web",
      ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = "a"
        $0.allowedPaths = paths
        $0.consumer = consumer
        $0.attributes = Attributes { $0.ethernet = ethernet }
      })
  }

  @Test func theFastestPathIsTakenWhileItLasts() {
    var world = rack(functions: 2)
    for name in ["one", "two", "three"] { world.create(name, host: "a") }
    world.settle()
    let paths = ["one", "two", "three"].map { world.claim($0)?.status?.assignment?.path }
    #expect(paths == [.direct, .direct, .directSoftware])
  }

  @Test func aClaimThatAllowsNoOtherPathWaitsForOne() {
    var world = rack(functions: 1)
    world.create("one", host: "a")
    world.create("two", host: "a") { $0.allowedPaths = [.direct] }
    world.settle()
    #expect(world.phase("two") == .pending)
    #expect(
      world.claim("two")?.status?.pending.first?.message
        == "all 1 functions of a/eth1 for the path direct are in use")
    world.delete("one")
    world.settle()
    #expect(world.phase("two") == .ready)
  }

  @Test func anAttributeChoosesThePath() throws {
    var world = rack()
    let limited = ask(&world, EthernetAttributes { $0.maxTransmitBitsPerSecond = 1_000_000 })
    _ = try limited.get()
    world.settle()
    // The device accepts a limit there and does not keep it.
    #expect(world.claim("web")?.status?.assignment?.path == .directSoftware)
    world.delete("web")
    world.settle()
    _ = try ask(&world, EthernetAttributes { $0.vlan = 100 }, paths: [.directSoftware, .direct]).get()
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.path == .direct)
  }

  @Test func aLimitThatIsNotKeptIsForThoseWhoSaySo() throws {
    var world = rack()
    let refused = refusal(ask(&world, EthernetAttributes { $0.maxTransmitBitsPerSecond = 1_000_000 }, paths: [.direct]))
    #expect(
      refused
        == "a/eth1 of class ethernet does not keep ethernet.max_transmit_bits_per_second on the path direct "
        + "(igb under emulation): ask for best effort, or for another path")
    let effort = EthernetAttributes {
      $0.maxTransmitBitsPerSecond = 1_000_000
      $0.rateGuarantee = .bestEffort
    }
    _ = try ask(&world, effort, paths: [.direct]).get()
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.path == .direct)
  }

  @Test func whatTheDeviceRefusesIsSaid() {
    var world = rack()
    let refused = refusal(ask(&world, EthernetAttributes { $0.linkState = .enabled }, paths: [.direct]))
    #expect(
      refused
        == "a/eth1 of class ethernet refuses the attribute ethernet.link_state on the path direct: Operation not supported"
    )
  }

  @Test func aVirtualMachineGetsAFunctionOfTheDevicesOwn() throws {
    var world = rack()
    let machine = Consumer { $0.kind = .virtualMachine(VirtualMachineConsumer { $0.qmpSocket = "/run/vm.qmp" }) }
    let software = refusal(ask(&world, EthernetAttributes(), paths: [.directSoftware], machine))
    #expect(software?.contains("cannot be used by a virtual machine on the path direct-software") == true)
    _ = try ask(&world, EthernetAttributes(), paths: [], machine).get()
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.path == .direct)
  }

  @Test func aSizeThatNobodyAskedForIsTheCardsOwn() throws {
    var world = rack()
    world.hosts["a"]?.endNodes[0].capabilities?.maximumMtu = 1500
    world.reportInventory("a")
    world.create("web", host: "a")
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.path == .direct)
    #expect(world.claim("web")?.status?.assignment?.attributes?.ethernet?.mtu == 1500)
  }

  @Test func eachPathHasItsOwnSize() throws {
    var world = rack()
    _ = try ask(&world, EthernetAttributes { $0.mtu = 9000 }, paths: [.directSoftware, .direct]).get()
    world.settle()
    #expect(world.claim("web")?.status?.assignment?.path == .direct)
    #expect(world.claim("web")?.status?.assignment?.attributes?.ethernet?.mtu == 9000)
  }

  @Test(arguments: [
    (EthernetAttributes { $0.vlan = 0 }, "VLANs are 1 to 4094"),
    (EthernetAttributes { $0.vlan = 4095 }, "VLANs are 1 to 4094"),
    (EthernetAttributes { $0.vlanPriority = 3 }, "without the VLAN itself"),
    (
      EthernetAttributes {
        $0.vlan = 7
        $0.vlanPriority = 8
      }, "priorities are 0 to 7"
    ),
    (
      EthernetAttributes {
        $0.minTransmitBitsPerSecond = 20
        $0.maxTransmitBitsPerSecond = 10
      }, "above the maximum"
    ),
    (
      EthernetAttributes { $0.maxTransmitBitsPerSecond = 7 },
      "transmit rate of 7 bit/s is asked for; the smallest one is 8"
    ),
    (
      EthernetAttributes { $0.maxReceiveBitsPerSecond = 1 },
      "receive rate of 1 bit/s is asked for; the smallest one is 8"
    ),
    (EthernetAttributes { $0.linkState = .unrecognized(9) }, "link state number 9 is not known"),
  ])
  func whatMakesNoSenseIsRefused(ethernet: EthernetAttributes, reason: String) {
    var world = rack()
    #expect(refusal(ask(&world, ethernet))?.contains(reason) == true)
  }

  @Test func aMachinesInterfaceCannotBeNamed() {
    var world = rack()
    let consumer = Consumer {
      $0.kind = .userSpace(UserSpaceConsumer())
      $0.interfaceName = "eth0"
    }
    #expect(
      refusal(ask(&world, EthernetAttributes(), paths: [], consumer))?.contains("makes its own interface") == true)
    let machine = Consumer { $0.kind = .virtualMachine(VirtualMachineConsumer { $0.qmpSocket = "vm.qmp" }) }
    #expect(refusal(ask(&world, EthernetAttributes(), paths: [], machine))?.contains("absolute path") == true)
  }

  @Test func aContainerWhoseProgramDrivesTheFunctionNeedsACardThatCanGiveItWhole() throws {
    let consumer = Consumer { $0.kind = .container(ContainerConsumer { $0.userSpace = true }) }
    var world = rack()
    _ = try ask(&world, EthernetAttributes(), paths: [.direct], consumer).get()
    var other = rack()
    other.hosts["a"]?.endNodes[0].capabilities?.byPath[0].consumers = ["host", "container"]
    other.reportInventory("a")
    let refused = refusal(ask(&other, EthernetAttributes(), paths: [.direct], consumer))
    #expect(refused?.contains("cannot be used by a user-space driver in a container") == true)
    var named = consumer
    named.interfaceName = "eth0"
    var third = rack()
    #expect(refusal(ask(&third, EthernetAttributes(), paths: [], named))?.contains("makes its own interface") == true)
  }

  @Test func sayingTheUsualIsSayingNothing() throws {
    var world = rack()
    _ = try ask(&world, EthernetAttributes { $0.vlan = 7 }).get()
    let again = EthernetAttributes {
      $0.vlan = 7
      $0.vlanProtocol = .ieee8021q
      $0.rateGuarantee = .required
    }
    _ = try ask(&world, again).get()
  }
}
