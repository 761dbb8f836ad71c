/// A network interface of a PCI function, as sysfs shows it. A function may have several: cards with two ports on one
/// function, and in switchdev mode a representor for each of its virtual functions.
public struct NetworkPort: Sendable, Hashable {
  public var name: String
  public var index: Int32
  public var macAddress: MACAddress?
  /// Counts the ports of one function, from zero.
  public var devicePort: UInt32
  /// The hardware's own name for it; nil: the driver gives none.
  public var portName: String?
  /// Ports with one id are on one switch in the hardware; nil: it has none, or it is not in switchdev mode.
  public var switchID: String?

  public var flavour: PortFlavour { portName.map(PortFlavour.init) ?? .unnamed }
}

/// What a port is by its hardware name, as devlink composes those (net/devlink/port.c of the kernel): "p0", "p0s1",
/// "pf0", "pf0vf3", "pf0sf88", behind "c1" for another host's.
public enum PortFlavour: Sendable, Hashable {
  case physical(UInt32)
  /// Representors: each stands on the card's switch for a function that somebody else uses.
  case physicalFunction(UInt32)
  case virtualFunction(UInt32, ofPhysicalFunction: UInt32)
  case subfunction(UInt32, ofPhysicalFunction: UInt32)
  /// No name, or one of the driver's own making.
  case unnamed

  public init(_ portName: String) {
    var rest = portName[...]
    _ = Self.take("c", from: &rest)
    if let function = Self.take("pf", from: &rest) {
      if rest.isEmpty {
        self = .physicalFunction(function)
      } else if let number = Self.take("vf", from: &rest), rest.isEmpty {
        self = .virtualFunction(number, ofPhysicalFunction: function)
      } else if let number = Self.take("sf", from: &rest), rest.isEmpty {
        self = .subfunction(number, ofPhysicalFunction: function)
      } else {
        self = .unnamed
      }
    } else if let port = Self.take("p", from: &rest) {
      _ = Self.take("s", from: &rest)
      self = rest.isEmpty ? .physical(port) : .unnamed
    } else {
      self = .unnamed
    }
  }

  public var isRepresentor: Bool {
    switch self {
    case .physicalFunction, .virtualFunction, .subfunction: true
    case .physical, .unnamed: false
    }
  }

  private static func take(_ prefix: String, from text: inout Substring) -> UInt32? {
    guard text.hasPrefix(prefix) else { return nil }
    let digits = text.dropFirst(prefix.count).prefix { ("0"..."9").contains($0) }
    guard let number = UInt32(digits) else { return nil }
    text = text[digits.endIndex...]
    return number
  }
}

extension Sysfs {
  /// The interfaces of a function that are in the network namespace in which this sysfs was mounted, sorted by port and
  /// name. One that is renamed or goes meanwhile is left out.
  public func networkPorts(of address: PCIAddress) -> [NetworkPort] {
    let directory = "\(address.sysfsPath)/net"
    let ports = names(in: directory).compactMap { name -> NetworkPort? in
      let path = "\(directory)/\(name)"
      guard let index: Int32 = integer("\(path)/ifindex") else { return nil }
      return NetworkPort(
        name: name, index: index, macAddress: text("\(path)/address").flatMap { MACAddress($0) },
        devicePort: integer("\(path)/dev_port") ?? 0, portName: text("\(path)/phys_port_name").flatMap(nonEmpty),
        switchID: text("\(path)/phys_switch_id").flatMap(nonEmpty))
    }
    return ports.sorted { ($0.devicePort, $0.name) < ($1.devicePort, $1.name) }
  }

  private func nonEmpty(_ text: String) -> String? { text.isEmpty ? nil : text }
}
