import CLinux
import Glibc

/// Reads what cards offer beyond sysfs and rtnetlink: switch mode, representors, rates, scalable functions. Reading only.
public struct Devlink: Sendable {
  private let family: GenericNetlink

  /// Nil: the kernel offers no devlink.
  public init?(in namespace: NetworkNamespace) throws {
    guard let devlink = try Devlink(through: NetlinkSocket(.generic, in: namespace)) else { return nil }
    self = devlink
  }

  init?(through netlink: any NetlinkTransport) throws(NetlinkError) {
    guard let family = try GenericNetlink(DEVLINK_GENL_NAME, through: netlink) else { return nil }
    self.family = family
  }

  /// Every card of the namespace whose driver takes part, sorted. One that is pulled out meanwhile is left out.
  public func devices() throws(NetlinkError) -> [DevlinkDevice] {
    var devices: [DevlinkDevice] = []
    for attributes in try family.dump(DEVLINK_CMD_GET.rawValue, operation: "list the cards of devlink") {
      guard let handle = Handle(attributes), let device = try device(handle) else { continue }
      devices.append(device)
    }
    for attributes in try family.dump(DEVLINK_CMD_PORT_GET.rawValue, operation: "list the ports of devlink") {
      guard let index = Handle(attributes).flatMap({ $0.index(in: devices) }), let port = DevlinkPort(attributes) else {
        continue
      }
      devices[index].ports.append(port)
    }
    for attributes in try rates() {
      guard let index = Handle(attributes).flatMap({ $0.index(in: devices) }), let rate = DevlinkRate(attributes) else {
        continue
      }
      devices[index].rates.append(rate)
    }
    for index in devices.indices { devices[index].ports.sort { $0.index < $1.index } }
    return devices.sorted { ($0.bus, $0.name) < ($1.bus, $1.name) }
  }

  private func device(_ handle: Handle) throws(NetlinkError) -> DevlinkDevice? {
    var device = DevlinkDevice(
      bus: handle.bus, name: handle.name, switchMode: nil, driver: nil, serialNumber: nil, boardSerialNumber: nil,
      runningVersions: [:], ports: [], rates: [], subfunctionRoom: nil)
    do throws(NetlinkError) {
      let mode = try ask(DEVLINK_CMD_ESWITCH_GET.rawValue, "the switch mode", handle)
      device.switchMode = mode?.integer(Int(DEVLINK_ATTR_ESWITCH_MODE)).flatMap(DevlinkDevice.SwitchMode.init)
      if let information = try ask(DEVLINK_CMD_INFO_GET.rawValue, "the versions", handle) { device.read(information) }
      let resources = try ask(DEVLINK_CMD_RESOURCE_DUMP.rawValue, "the resources", handle)
      device.subfunctionRoom = resources.flatMap(Self.subfunctionRoom)
    } catch  where error.isAbsence {
      return nil
    }
    return device
  }

  /// Nil: the driver does not say.
  private func ask(
    _ command: UInt32, _ what: String, _ handle: Handle
  ) throws(NetlinkError) -> NetlinkAttributes? {
    do {
      return try family.request(command, operation: "read \(what) of \(handle.bus)/\(handle.name)") {
        $0.attribute(Int(DEVLINK_ATTR_BUS_NAME), handle.bus)
        $0.attribute(Int(DEVLINK_ATTR_DEV_NAME), handle.name)
      }.first
    } catch  where error.isUnknownCommand {
      return nil
    }
  }

  private func rates() throws(NetlinkError) -> [NetlinkAttributes] {
    do {
      return try family.dump(DEVLINK_CMD_RATE_GET.rawValue, operation: "list the rates of devlink")
    } catch  where error.isUnknownCommand {
      return []
    }
  }

  /// Of mlx5, "max_local_SFs" (this host's) and "max_external_SFs".
  private static func subfunctionRoom(_ attributes: NetlinkAttributes) -> UInt64? {
    let resources = attributes.nested(Int(DEVLINK_ATTR_RESOURCE_LIST))?.inOrder ?? []
    return resources.lazy.map { NetlinkAttributes($0.value) }
      .first { $0.string(Int(DEVLINK_ATTR_RESOURCE_NAME)) == "max_local_SFs" }?
      .integer(Int(DEVLINK_ATTR_RESOURCE_SIZE))
  }

  /// By what devlink names a card.
  private struct Handle {
    var bus: String
    var name: String

    init?(_ attributes: NetlinkAttributes) {
      guard let bus = attributes.string(Int(DEVLINK_ATTR_BUS_NAME)),
        let name = attributes.string(Int(DEVLINK_ATTR_DEV_NAME))
      else { return nil }
      self.bus = bus
      self.name = name
    }

    func index(in devices: [DevlinkDevice]) -> Int? { devices.firstIndex { $0.bus == bus && $0.name == name } }
  }
}

extension NetlinkError {
  /// EINVAL is what kernels answer that do not know a command.
  fileprivate var isUnknownCommand: Bool { isUnsupported || errno == EINVAL }
}

extension Int {
  fileprivate init(_ attribute: devlink_attr) { self = Int(attribute.rawValue) }
}

extension DevlinkDevice {
  fileprivate mutating func read(_ information: NetlinkAttributes) {
    driver = information.string(Int(DEVLINK_ATTR_INFO_DRIVER_NAME))
    serialNumber = information.string(Int(DEVLINK_ATTR_INFO_SERIAL_NUMBER))
    boardSerialNumber = information.string(Int(DEVLINK_ATTR_INFO_BOARD_SERIAL_NUMBER))
    for (type, value) in information.inOrder where type == Int(DEVLINK_ATTR_INFO_VERSION_RUNNING) {
      let version = NetlinkAttributes(value)
      guard let name = version.string(Int(DEVLINK_ATTR_INFO_VERSION_NAME)) else { continue }
      runningVersions[name] = version.string(Int(DEVLINK_ATTR_INFO_VERSION_VALUE))
    }
  }
}

extension DevlinkPort {
  fileprivate init?(_ attributes: NetlinkAttributes) {
    guard let index: UInt32 = attributes.integer(Int(DEVLINK_ATTR_PORT_INDEX)) else { return nil }
    self.index = index
    flavour = Self.flavour(attributes)
    interfaceIndex = attributes.integer(Int(DEVLINK_ATTR_PORT_NETDEV_IFINDEX), as: UInt32.self).map(
      Int32.init(bitPattern:))
    interfaceName = attributes.string(Int(DEVLINK_ATTR_PORT_NETDEV_NAME))
    isExternal = attributes.integer(Int(DEVLINK_ATTR_PORT_EXTERNAL), as: UInt8.self) == 1
  }

  private static func flavour(_ attributes: NetlinkAttributes) -> PortFlavour? {
    guard let flavour: UInt16 = attributes.integer(Int(DEVLINK_ATTR_PORT_FLAVOUR)) else { return nil }
    let function = UInt32(attributes.integer(Int(DEVLINK_ATTR_PORT_PCI_PF_NUMBER), as: UInt16.self) ?? 0)
    switch UInt32(flavour) {
    case DEVLINK_PORT_FLAVOUR_PHYSICAL.rawValue:
      return .physical(attributes.integer(Int(DEVLINK_ATTR_PORT_NUMBER)) ?? 0)
    case DEVLINK_PORT_FLAVOUR_PCI_PF.rawValue: return .physicalFunction(function)
    case DEVLINK_PORT_FLAVOUR_PCI_VF.rawValue:
      let number: UInt16? = attributes.integer(Int(DEVLINK_ATTR_PORT_PCI_VF_NUMBER))
      return number.map { .virtualFunction(UInt32($0), ofPhysicalFunction: function) }
    case DEVLINK_PORT_FLAVOUR_PCI_SF.rawValue:
      return attributes.integer(Int(DEVLINK_ATTR_PORT_PCI_SF_NUMBER)).map {
        .subfunction($0, ofPhysicalFunction: function)
      }
    default: return nil
    }
  }
}

extension DevlinkRate {
  fileprivate init?(_ attributes: NetlinkAttributes) {
    if let name = attributes.string(Int(DEVLINK_ATTR_RATE_NODE_NAME)) {
      subject = .node(name)
    } else if let port: UInt32 = attributes.integer(Int(DEVLINK_ATTR_PORT_INDEX)) {
      subject = .port(port)
    } else {
      return nil
    }
    shareBitsPerSecond = Self.bits(attributes.integer(Int(DEVLINK_ATTR_RATE_TX_SHARE)))
    maximumBitsPerSecond = Self.bits(attributes.integer(Int(DEVLINK_ATTR_RATE_TX_MAX)))
    parent = attributes.string(Int(DEVLINK_ATTR_RATE_PARENT_NODE_NAME))
  }

  /// devlink counts bytes per second.
  private static func bits(_ bytes: UInt64?) -> UInt64 {
    let (bits, isTooMuch) = (bytes ?? 0).multipliedReportingOverflow(by: 8)
    return isTooMuch ? .max : bits
  }
}
