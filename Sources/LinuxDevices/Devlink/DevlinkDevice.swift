/// A card as its driver describes it to devlink (Documentation/networking/devlink of the kernel).
public struct DevlinkDevice: Sendable, Hashable {
  /// How the card's internal switch works; nil: the driver does not let anybody choose.
  public enum SwitchMode: UInt16, Sendable, Hashable {
    /// The driver forwards by MAC address and VLAN, as set by rtnetlink.
    case legacy = 0
    /// Every function has a representor, an interface by which the kernel forwards.
    case switchdev = 1
  }

  /// "pci" and "0000:03:00.0".
  public var bus: String
  public var name: String
  public var switchMode: SwitchMode?
  public var driver: String?
  /// Of the card, as the driver reads it.
  public var serialNumber: String?
  public var boardSerialNumber: String?
  /// What runs in the card now, by the driver's names: "fw.mgmt": "7.4.1".
  public var runningVersions: [String: String]
  /// Sorted by index.
  public var ports: [DevlinkPort]
  public var rates: [DevlinkRate]
  /// How many scalable functions the card has room for; nil: its driver does not count them, which says nothing of whether
  /// it makes any.
  public var subfunctionRoom: UInt64?

  public var pciAddress: PCIAddress? { bus == "pci" ? PCIAddress(name) : nil }
}

/// A port of the card's internal switch.
public struct DevlinkPort: Sendable, Hashable {
  public var index: UInt32
  /// Nil: none of those that matter here (ports to a processor, unused ones).
  public var flavour: PortFlavour?
  public var interfaceIndex: Int32?
  public var interfaceName: String?
  /// A representor of a function of another host that the card is plugged into as well.
  public var isExternal: Bool
}

/// Something whose transmission the card shares out: a function's, or that of a node above several.
public struct DevlinkRate: Sendable, Hashable {
  public enum Subject: Sendable, Hashable {
    case port(UInt32)
    case node(String)
  }

  public var subject: Subject
  /// Bits per second; zero: none is promised.
  public var shareBitsPerSecond: UInt64
  /// Bits per second; zero: no limit.
  public var maximumBitsPerSecond: UInt64
  public var parent: String?
}

/// What a card offers through devlink, as found.
public struct DevlinkCapabilities: Sendable, Hashable {
  public var switchMode: DevlinkDevice.SwitchMode?
  public var hasRepresentors: Bool
  /// Rates of functions can be read, and hence set, through devlink.
  public var hasRates: Bool
  public var hasSubfunctions: Bool
}

extension DevlinkDevice {
  public var capabilities: DevlinkCapabilities {
    let flavours = ports.compactMap(\.flavour)
    let hasSubfunctionPorts = flavours.contains { if case .subfunction = $0 { true } else { false } }
    return DevlinkCapabilities(
      switchMode: switchMode, hasRepresentors: flavours.contains(where: \.isRepresentor), hasRates: !rates.isEmpty,
      hasSubfunctions: hasSubfunctionPorts || subfunctionRoom ?? 0 > 0)
  }
}
