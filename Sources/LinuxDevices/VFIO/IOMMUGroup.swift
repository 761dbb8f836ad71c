/// The functions that the IOMMU cannot tell apart: whoever gets one of them gets them all.
public struct IOMMUGroup: Sendable, Hashable {
  public struct Member: Sendable, Hashable {
    public var address: PCIAddress
    public var driver: String?
    public var isBridge: Bool

    public init(address: PCIAddress, driver: String?, isBridge: Bool = false) {
      self.address = address
      self.driver = driver
      self.isBridge = isBridge
    }

    /// Whether it lets the group be used through VFIO: nobody drives it, VFIO does, or it only passes on what others do
    /// (the kernel's port driver and pci-stub manage no memory accesses of their own).
    var isNoObstacle: Bool {
      guard let driver else { return true }
      return isBridge || driver == "pci-stub" || DriverBinding.isVFIO(driver)
    }
  }

  /// Changes from boot to boot.
  public var number: UInt32
  /// Sorted by address.
  public var members: [Member]

  public init(number: UInt32, members: [Member]) {
    self.number = number
    self.members = members
  }

  /// Who keeps the group from being used through VFIO, besides the one that is about to be given to it.
  public func obstacles(besides address: PCIAddress? = nil) -> [Member] {
    members.filter { $0.address != address && !$0.isNoObstacle }
  }
}

extension Sysfs {
  /// The group that a function is in, with everybody in it; nil: there is no IOMMU, or no such function.
  public func iommuGroup(around address: PCIAddress) -> IOMMUGroup? {
    guard let number = iommuGroup(of: address) else { return nil }
    let members = members(ofIOMMUGroup: number).map { member in
      let classCode: UInt32 = integer("\(member.sysfsPath)/class") ?? 0
      return IOMMUGroup.Member(address: member, driver: driver(of: member), isBridge: classCode >> 16 == 0x06)
    }
    return IOMMUGroup(number: number, members: members)
  }
}

/// How a program reaches a function that is bound to VFIO.
public struct VFIODevice: Sendable, Hashable {
  public var group: UInt32
  /// "/dev/vfio/14": of the group.
  public var groupPath: String
  /// "/dev/vfio/devices/vfio3": of the function alone, from kernel 6.6 on where it was built so.
  public var devicePath: String?
}

extension Sysfs {
  /// Found anew at each attachment: the group's number changes from boot to boot.
  ///
  /// - Throws: `BindingError`: without a group; with members that others drive; when it is not bound to VFIO.
  public func vfioDevice(of address: PCIAddress, devices: String = "/dev") throws(BindingError) -> VFIODevice {
    guard let group = iommuGroup(around: address) else {
      throw exists(address.sysfsPath) ? .noGroup(address) : .vanished(address)
    }
    let driver = driver(of: address)
    guard let driver, DriverBinding.isVFIO(driver) else {
      throw .notTaken(address, wanted: DriverBinding.vfio, found: driver, former: .unchanged)
    }
    let obstacles = group.obstacles()
    guard obstacles.isEmpty else { throw .groupShared(address, group: group.number, with: obstacles) }
    let path = "\(devices)/vfio/\(group.number)"
    let name = names(in: "\(address.sysfsPath)/vfio-dev").first
    guard Sysfs(root: devices).exists("vfio/\(group.number)") || name != nil else { throw .noDeviceFile(address, path) }
    return VFIODevice(group: group.number, groupPath: path, devicePath: name.map { "\(devices)/vfio/devices/\($0)" })
  }
}
