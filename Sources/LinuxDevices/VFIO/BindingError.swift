/// Why a function has not got the driver that was asked for.
public enum BindingError: Error, Hashable, CustomStringConvertible {
  case vanished(PCIAddress)
  case noGroup(PCIAddress)
  /// A card cannot be given away while functions of it are in use.
  case hasVirtualFunctions(PCIAddress, count: UInt32)
  case groupShared(PCIAddress, group: UInt32, with: [IOMMUGroup.Member])
  /// There is no such driver, and its module could not be loaded; `complaint` is what was said to that.
  case noDriver(String, complaint: String)
  /// The kernel reports success whether or not a driver takes a function; this one has another driver, or none.
  case notTaken(PCIAddress, wanted: String, found: String?, former: Former)
  case refused(PCIAddress, SysfsError, former: Former)
  case noDeviceFile(PCIAddress, String)

  /// What became of the driver that the function had.
  public enum Former: Sendable, Hashable {
    /// Nothing was changed.
    case unchanged
    case restored(String?)
    case lost(String)
  }

  public var description: String {
    switch self {
    case .vanished(let address): "\(address) is gone"
    case .noGroup(let address):
      "\(address) is in no IOMMU group: switch the IOMMU on in the machine's firmware and on the kernel's command line "
        + "(intel_iommu=on; AMD's is on by itself)"
    case .hasVirtualFunctions(let address, let count):
      "\(address) has \(count) virtual functions: bring their number to 0 before the card itself is given to VFIO"
    case .groupShared(let address, let group, let others):
      "\(address) shares IOMMU group \(group) with "
        + others.map { "\($0.address) (driver \($0.driver ?? "none"))" }.joined(separator: ", ")
        + ", which another driver uses: unbind it, give it to VFIO as well, or move the card to another slot"
    case .noDriver(let driver, let complaint):
      "there is no driver \(driver): `modprobe \(driver)`" + (complaint.isEmpty ? "" : " says: \(complaint)")
    case .notTaken(let address, let wanted, let found, let former):
      "\(address) was to be bound to \(wanted) and is bound to \(found ?? "no driver"); look at the kernel's log. \(former)"
    case .refused(let address, let error, let former):
      "the driver of \(address) could not be changed: \(error). \(former)"
    case .noDeviceFile(let address, let path):
      "\(address) is bound to VFIO and there is no \(path): is devtmpfs mounted on /dev, and the module "
        + "vfio_iommu_type1 loaded?"
    }
  }
}

extension BindingError.Former: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unchanged: "Nothing was changed"
    case .restored(let driver?): "It is bound to \(driver), as before"
    case .restored(nil): "It is bound to no driver, as before"
    case .lost(let driver): "It had driver \(driver) before, which has not taken it back"
    }
  }
}
