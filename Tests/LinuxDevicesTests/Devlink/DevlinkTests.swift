import CLinux
import Glibc
import Testing

@testable import LinuxDevices

/// The kernel's devlink with a ConnectX in switchdev mode and a card whose driver says next to nothing.
private struct FakeDevlink: NetlinkTransport {
  static let family: UInt16 = 0x1c
  var hasFamily = true
  /// Commands that are answered with an error, by card.
  var refusals: [String: [UInt32: CInt]] = [
    "0000:05:00.0": [
      DEVLINK_CMD_ESWITCH_GET.rawValue: EOPNOTSUPP, DEVLINK_CMD_INFO_GET.rawValue: EOPNOTSUPP,
      DEVLINK_CMD_RESOURCE_DUMP.rawValue: EOPNOTSUPP,
    ]
  ]

  func dump(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    switch UInt32(request.payload.bytes[0]) {
    case DEVLINK_CMD_GET.rawValue: [reply("0000:05:00.0"), reply("0000:03:00.0")]
    case DEVLINK_CMD_PORT_GET.rawValue: ports
    case DEVLINK_CMD_RATE_GET.rawValue: rates
    default: throw NetlinkError(errno: EOPNOTSUPP, operation: request.operation)
    }
  }

  func request(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    let command = UInt32(request.payload.bytes[0])
    let attributes = NetlinkAttributes(request.payload.bytes.dropFirst(4))
    if request.type == UInt16(GENL_ID_CTRL) {
      guard hasFamily, attributes.string(Int(CTRL_ATTR_FAMILY_NAME)) == "devlink" else {
        throw NetlinkError(errno: ENOENT, operation: request.operation)
      }
      return [message { $0.attribute(Int(CTRL_ATTR_FAMILY_ID), Self.family) }]
    }
    let name = attributes.string(Int(DEVLINK_ATTR_DEV_NAME.rawValue)) ?? ""
    if let errno = refusals[name]?[command] { throw NetlinkError(errno: errno, operation: request.operation) }
    switch command {
    case DEVLINK_CMD_ESWITCH_GET.rawValue:
      return [reply(name) { $0.attribute(Int(DEVLINK_ATTR_ESWITCH_MODE.rawValue), UInt16(1)) }]
    case DEVLINK_CMD_INFO_GET.rawValue: return [reply(name) { information(&$0) }]
    case DEVLINK_CMD_RESOURCE_DUMP.rawValue: return [reply(name) { resources(&$0) }]
    default: throw NetlinkError(errno: EOPNOTSUPP, operation: request.operation)
    }
  }

  private func message(_ body: (inout NetlinkPayload) -> Void) -> NetlinkReply {
    var payload = NetlinkPayload()
    payload.append(genlmsghdr(cmd: 0, version: 1, reserved: 0))
    body(&payload)
    return NetlinkReply(type: Self.family, payload: payload.bytes[...])
  }

  private func reply(_ name: String, _ body: (inout NetlinkPayload) -> Void = { _ in }) -> NetlinkReply {
    message {
      $0.attribute(Int(DEVLINK_ATTR_BUS_NAME.rawValue), "pci")
      $0.attribute(Int(DEVLINK_ATTR_DEV_NAME.rawValue), name)
      body(&$0)
    }
  }

  private func information(_ payload: inout NetlinkPayload) {
    payload.attribute(Int(DEVLINK_ATTR_INFO_DRIVER_NAME.rawValue), "mlx5_core")
    payload.attribute(Int(DEVLINK_ATTR_INFO_SERIAL_NUMBER.rawValue), "MT2147X00001")
    for (name, value) in [("fw.version", "22.35.2000"), ("fw", "22.35.2000")] {
      payload.nested(Int(DEVLINK_ATTR_INFO_VERSION_RUNNING.rawValue)) { version in
        version.attribute(Int(DEVLINK_ATTR_INFO_VERSION_NAME.rawValue), name)
        version.attribute(Int(DEVLINK_ATTR_INFO_VERSION_VALUE.rawValue), value)
      }
    }
  }

  private func resources(_ payload: inout NetlinkPayload) {
    payload.nested(Int(DEVLINK_ATTR_RESOURCE_LIST.rawValue)) { list in
      for (name, size) in [("max_external_SFs", UInt64(0)), ("max_local_SFs", 128)] {
        list.nested(Int(DEVLINK_ATTR_RESOURCE.rawValue)) { resource in
          resource.attribute(Int(DEVLINK_ATTR_RESOURCE_NAME.rawValue), name)
          resource.attribute(Int(DEVLINK_ATTR_RESOURCE_SIZE.rawValue), size)
        }
      }
    }
  }

  private var ports: [NetlinkReply] {
    [
      reply("0000:03:00.0") {
        $0.attribute(Int(DEVLINK_ATTR_PORT_INDEX.rawValue), UInt32(2))
        $0.attribute(Int(DEVLINK_ATTR_PORT_FLAVOUR.rawValue), UInt16(DEVLINK_PORT_FLAVOUR_PCI_VF.rawValue))
        $0.attribute(Int(DEVLINK_ATTR_PORT_PCI_PF_NUMBER.rawValue), UInt16(0))
        $0.attribute(Int(DEVLINK_ATTR_PORT_PCI_VF_NUMBER.rawValue), UInt16(3))
        $0.attribute(Int(DEVLINK_ATTR_PORT_NETDEV_IFINDEX.rawValue), UInt32(12))
        $0.attribute(Int(DEVLINK_ATTR_PORT_NETDEV_NAME.rawValue), "eth0r3")
      },
      reply("0000:03:00.0") {
        $0.attribute(Int(DEVLINK_ATTR_PORT_INDEX.rawValue), UInt32(1))
        $0.attribute(Int(DEVLINK_ATTR_PORT_FLAVOUR.rawValue), UInt16(DEVLINK_PORT_FLAVOUR_PHYSICAL.rawValue))
        $0.attribute(Int(DEVLINK_ATTR_PORT_NUMBER.rawValue), UInt32(0))
      },
      // Of a card that came after the list of cards was made.
      reply("0000:09:00.0") { $0.attribute(Int(DEVLINK_ATTR_PORT_INDEX.rawValue), UInt32(1)) },
    ]
  }

  private var rates: [NetlinkReply] {
    [
      reply("0000:03:00.0") {
        $0.attribute(Int(DEVLINK_ATTR_PORT_INDEX.rawValue), UInt32(2))
        $0.attribute(Int(DEVLINK_ATTR_RATE_TX_SHARE.rawValue), UInt64(125_000_000))
        $0.attribute(Int(DEVLINK_ATTR_RATE_TX_MAX.rawValue), UInt64.max)
        $0.attribute(Int(DEVLINK_ATTR_RATE_PARENT_NODE_NAME.rawValue), "tenant")
      },
      reply("0000:03:00.0") { $0.attribute(Int(DEVLINK_ATTR_RATE_NODE_NAME.rawValue), "tenant") },
    ]
  }
}

@Suite struct DevlinkTests {
  @Test func aKernelWithoutDevlinkOffersNone() throws {
    #expect(try Devlink(through: FakeDevlink(hasFamily: false)) == nil)
  }

  @Test func whatACardOffersIsFound() throws {
    let devlink = try #require(try Devlink(through: FakeDevlink()))
    let devices = try devlink.devices()
    #expect(
      devices.map(\.pciAddress) == [
        PCIAddress(bus: 3, device: 0, function: 0), PCIAddress(bus: 5, device: 0, function: 0),
      ])
    let card = try #require(devices.first)
    #expect(card.switchMode == .switchdev)
    #expect(card.driver == "mlx5_core")
    #expect(card.serialNumber == "MT2147X00001")
    #expect(card.runningVersions == ["fw": "22.35.2000", "fw.version": "22.35.2000"])
    #expect(card.ports.map(\.flavour) == [.physical(0), .virtualFunction(3, ofPhysicalFunction: 0)])
    #expect(card.ports[1].interfaceIndex == 12)
    #expect(
      card.rates[0]
        == DevlinkRate(
          subject: .port(2), shareBitsPerSecond: 1_000_000_000, maximumBitsPerSecond: .max, parent: "tenant"))
    #expect(card.rates[1].subject == .node("tenant"))
    #expect(card.subfunctionRoom == 128)
    #expect(
      card.capabilities
        == DevlinkCapabilities(switchMode: .switchdev, hasRepresentors: true, hasRates: true, hasSubfunctions: true))
  }

  @Test func aCardThatSaysNothingOffersNothing() throws {
    let devlink = try #require(try Devlink(through: FakeDevlink()))
    let card = try #require(try devlink.devices().last)
    #expect(
      card.capabilities
        == DevlinkCapabilities(switchMode: nil, hasRepresentors: false, hasRates: false, hasSubfunctions: false))
  }

  @Test func aCardThatIsPulledOutMeanwhileIsLeftOut() throws {
    var kernel = FakeDevlink()
    kernel.refusals["0000:03:00.0"] = [DEVLINK_CMD_INFO_GET.rawValue: ENODEV]
    let devlink = try #require(try Devlink(through: kernel))
    #expect(try devlink.devices().map(\.name) == ["0000:05:00.0"])
  }

  @Test func theKernelHereAnswersOneWayOrTheOther() throws {
    // No devlink, or one whose list can be read.
    _ = try Devlink(in: .current())?.devices()
  }
}
