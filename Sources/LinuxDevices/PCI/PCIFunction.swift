/// A function on the PCI buses, as sysfs shows it (Documentation/ABI/testing/sysfs-bus-pci of the kernel).
public struct PCIFunction: Sendable, Hashable {
  public var address: PCIAddress
  public var identifiers: PCIIdentifiers
  /// Nil: no driver is bound.
  public var driver: String?
  /// Nil: near no processor in particular, which the kernel writes as -1.
  public var numaNode: Int32?
  /// Nil: there is no IOMMU. The number changes from boot to boot.
  public var iommuGroup: UInt32?
  /// Nil where it is not on PCI Express, or the link is down.
  public var link: PCIeLink?
  public var maximumLink: PCIeLink?
  /// What may reset it, best first ("flr", "bus", …); empty: nothing, or a kernel before 5.15, which does not tell.
  public var resetMethods: [String]
  public var role: Role

  public enum Role: Sendable, Hashable {
    /// It can make virtual functions.
    case physical(SRIOVCapability)
    case virtual(of: PCIAddress)
    case plain
  }

  public var sriov: SRIOVCapability? { if case .physical(let capability) = role { capability } else { nil } }

  public var physicalFunction: PCIAddress? { if case .virtual(let address) = role { address } else { nil } }
}

public struct PCIIdentifiers: Sendable, Hashable {
  public var vendor: UInt16
  public var device: UInt16
  public var subsystemVendor: UInt16
  public var subsystemDevice: UInt16
  /// Base class, subclass, programming interface: 0x020000 is Ethernet.
  public var classCode: UInt32

  public init(
    vendor: UInt16, device: UInt16, subsystemVendor: UInt16 = 0, subsystemDevice: UInt16 = 0, classCode: UInt32 = 0
  ) {
    self.vendor = vendor
    self.device = device
    self.subsystemVendor = subsystemVendor
    self.subsystemDevice = subsystemDevice
    self.classCode = classCode
  }

  public var isNetworkController: Bool { classCode >> 16 == 0x02 }
  public var isBridge: Bool { classCode >> 16 == 0x06 }
}

/// Width and speed of a PCI Express link.
public struct PCIeLink: Sendable, Hashable {
  /// Per lane, in millions of transfers a second: 8000 is "8.0 GT/s".
  public var megatransfersPerSecond: UInt32
  public var lanes: UInt32

  public init(megatransfersPerSecond: UInt32, lanes: UInt32) {
    self.megatransfersPerSecond = megatransfersPerSecond
    self.lanes = lanes
  }

  /// From "8.0 GT/s PCIe" and "4"; nil for "Unknown", and for a width of 0 or 255, which links that are down have.
  init?(speed: String?, width: String?) {
    guard let number = speed?.split(separator: " ").first, let lanes = width.flatMap({ UInt32($0) }), lanes > 0,
      lanes <= 32
    else { return nil }
    let parts = number.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = UInt32(parts[0]), whole < 1_000_000 else { return nil }
    guard let tenths = parts.count == 2 ? UInt32(parts[1]) : 0, tenths < 10 else { return nil }
    self.init(megatransfersPerSecond: whole * 1000 + tenths * 100, lanes: lanes)
  }
}

extension PCIAddress {
  /// Its directory below the root of sysfs.
  public var sysfsPath: String { "bus/pci/devices/\(self)" }
}

extension Sysfs {
  /// All functions on all PCI buses, sorted.
  public func pciAddresses() -> [PCIAddress] {
    names(in: "bus/pci/devices").compactMap { PCIAddress($0) }.sorted()
  }

  /// Those that can make virtual functions, of controllers for networks and whatever else.
  public func physicalFunctionAddresses() -> [PCIAddress] {
    pciAddresses().filter { exists("\($0.sysfsPath)/sriov_totalvfs") }
  }

  /// Nil when it is not there.
  public func pciFunction(_ address: PCIAddress) -> PCIFunction? {
    let path = address.sysfsPath
    guard let vendor: UInt16 = integer("\(path)/vendor"), let device: UInt16 = integer("\(path)/device") else {
      return nil
    }
    let identifiers = PCIIdentifiers(
      vendor: vendor, device: device, subsystemVendor: integer("\(path)/subsystem_vendor") ?? 0,
      subsystemDevice: integer("\(path)/subsystem_device") ?? 0, classCode: integer("\(path)/class") ?? 0)
    return PCIFunction(
      address: address, identifiers: identifiers, driver: driver(of: address), numaNode: numaNode(of: address),
      iommuGroup: iommuGroup(of: address),
      link: PCIeLink(speed: text("\(path)/current_link_speed"), width: text("\(path)/current_link_width")),
      maximumLink: PCIeLink(speed: text("\(path)/max_link_speed"), width: text("\(path)/max_link_width")),
      resetMethods: text("\(path)/reset_method")?.split(separator: " ").map(String.init) ?? [], role: role(of: address))
  }

  private func role(of address: PCIAddress) -> PCIFunction.Role {
    if let capability = sriovCapability(of: address) { return .physical(capability) }
    if let parent = linkName("\(address.sysfsPath)/physfn").flatMap({ PCIAddress($0) }) { return .virtual(of: parent) }
    return .plain
  }

  public func driver(of address: PCIAddress) -> String? { linkName("\(address.sysfsPath)/driver") }

  public func iommuGroup(of address: PCIAddress) -> UInt32? {
    linkName("\(address.sysfsPath)/iommu_group").flatMap { UInt32($0) }
  }

  public func numaNode(of address: PCIAddress) -> Int32? {
    integer("\(address.sysfsPath)/numa_node", as: Int32.self).flatMap { $0 < 0 ? nil : $0 }
  }

  /// Everything in an IOMMU group, sorted; what is on no PCI bus is left out.
  public func members(ofIOMMUGroup group: UInt32) -> [PCIAddress] {
    names(in: "kernel/iommu_groups/\(group)/devices").compactMap { PCIAddress($0) }.sorted()
  }

  /// The functions above one on the way to the processor, nearest first: ports and bridges.
  public func upstream(of address: PCIAddress) -> [PCIAddress] {
    guard let path = resolved(address.sysfsPath) else { return [] }
    return path.split(separator: "/").dropLast().reversed().lazy.map { PCIAddress($0) }.prefix { $0 != nil }.compactMap
    { $0 }
  }
}
