import CLinux
import Glibc

/// What a physical function says of its virtual functions (Documentation/PCI/pci-iov-howto.rst of the kernel).
public struct SRIOVCapability: Sendable, Hashable {
  /// How many the driver would make at most; it may lower this while it runs. Fewer may be usable than can be made:
  /// interrupt vectors run out.
  public var total: UInt32
  /// How many there are now.
  public var count: UInt32
  /// Of a virtual function.
  public var deviceIdentifier: UInt16?
  /// Of the routing ids, for people: where a function is, `functions` says, as it may be on the next bus.
  public var offset: UInt32?
  public var stride: UInt32?
  /// Whether the kernel looks for a driver when it makes a function; nil before kernel 4.12, which always does.
  public var driversAutoprobe: Bool?
  /// Sorted by index. Shorter than `count` while functions come or go.
  public var functions: [SRIOVFunction]

  public init(
    total: UInt32, count: UInt32, deviceIdentifier: UInt16? = nil, offset: UInt32? = nil, stride: UInt32? = nil,
    driversAutoprobe: Bool? = nil, functions: [SRIOVFunction] = []
  ) {
    self.total = total
    self.count = count
    self.deviceIdentifier = deviceIdentifier
    self.offset = offset
    self.stride = stride
    self.driversAutoprobe = driversAutoprobe
    self.functions = functions
  }
}

/// One virtual function of a card.
public struct SRIOVFunction: Sendable, Hashable {
  /// The number by which rtnetlink and the driver know it, from zero.
  public var index: UInt32
  public var address: PCIAddress
  /// Nil: no driver is bound.
  public var driver: String?
  public var iommuGroup: UInt32?

  public init(index: UInt32, address: PCIAddress, driver: String? = nil, iommuGroup: UInt32? = nil) {
    self.index = index
    self.address = address
    self.driver = driver
    self.iommuGroup = iommuGroup
  }
}

extension Sysfs {
  /// Nil: it cannot make virtual functions, or it is not there.
  public func sriovCapability(of address: PCIAddress) -> SRIOVCapability? {
    let path = address.sysfsPath
    guard let total: UInt32 = integer("\(path)/sriov_totalvfs"), let count: UInt32 = integer("\(path)/sriov_numvfs")
    else {
      return nil
    }
    let autoprobe: UInt32? = integer("\(path)/sriov_drivers_autoprobe")
    return SRIOVCapability(
      total: total, count: count, deviceIdentifier: text("\(path)/sriov_vf_device").flatMap { UInt16($0, radix: 16) },
      offset: integer("\(path)/sriov_offset"), stride: integer("\(path)/sriov_stride"),
      driversAutoprobe: autoprobe.map { $0 != 0 }, functions: virtualFunctions(of: address, count: count))
  }

  /// By the links that the kernel makes, never by computing: a routing id can reach into the next bus. From the open
  /// directory of the card, as there may be thousands of them.
  private func virtualFunctions(of address: PCIAddress, count: UInt32) -> [SRIOVFunction] {
    guard count > 0, let card = try? FileDescriptor(opening: path(address.sysfsPath), O_RDONLY | O_DIRECTORY) else {
      return []
    }
    return (0..<count).compactMap { index in
      let link = Self.withLink("virtfn\(index)", in: card.number) { String(decoding: $0, as: UTF8.self) }
      guard let path = link, let function = PCIAddress(path.utf8.lastPart) else { return nil }
      return SRIOVFunction(
        index: index, address: function, driver: Self.linkName("\(path)/driver", in: card.number),
        iommuGroup: Self.linkName("\(path)/iommu_group", in: card.number).flatMap { UInt32($0) })
    }
  }
}

extension String.UTF8View {
  /// What is behind the last slash.
  fileprivate var lastPart: Substring {
    Substring(lastIndex(of: UInt8(ascii: "/")).map { self[index(after: $0)...] } ?? self[...])
  }
}
