import Glibc
import LinuxDevices
import Synchronization

/// A tree like sysfs in a directory that goes with this value, and a kernel that answers writes to it: it makes and removes
/// virtual functions, binds and unbinds drivers, and refuses what it is told to refuse.
public final class FakeKernel: Sendable {
  public struct Behaviour: Sendable {
    /// Error numbers to answer to the next writes to an attribute, by its path below the root; a nil lets one pass.
    public var refusals: [String: [CInt?]] = [:]
    /// How many functions a driver makes at most, whatever is asked.
    public var most: UInt32 = .max
    /// Which driver takes a virtual function that nobody has overridden.
    public var virtualDriver: String? = "igbvf"
    /// What happens before the write to an attribute, by its path below the root: an unplugged card, say.
    public var before: [String: @Sendable () -> Void] = [:]
  }

  public struct Card: Sendable {
    public var address: PCIAddress
    public var total: UInt32
    public var driver: String?
    public var identifiers = PCIIdentifiers(
      vendor: 0x8086, device: 0x10c9, subsystemVendor: 0x8086, subsystemDevice: 0xa03c, classCode: 0x020000)
    /// The port above it.
    public var port: PCIAddress

    public init(address: PCIAddress, total: UInt32 = 7, driver: String? = "igb", port: PCIAddress) {
      self.address = address
      self.total = total
      self.driver = driver
      self.port = port
    }
  }

  public let root: String
  public let behaviour = Mutex(Behaviour())
  public let writes = Mutex<[String]>([])
  private let nextGroup = Mutex<UInt32>(10)

  public init() throws {
    var template = Array("/tmp/iov-kernel-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemCallError("mkdtemp", errno: errno) }
    root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    for directory in ["bus/pci/devices", "bus/pci/drivers", "bus/pci/slots", "kernel/iommu_groups"] { make(directory) }
  }

  deinit { remove("") }

  public var sysfs: Sysfs {
    Sysfs(root: root) { [weak self] value, path throws(SysfsError) in
      guard let self else { return }
      try self.answer(value, path)
    }
  }

  // MARK: The tree

  public func make(_ directory: String) { try? SmallFile.makeDirectory("\(root)/\(directory)", mode: 0o755) }

  public func put(_ text: String, at path: String) { put(Array("\(text)\n".utf8), at: path) }

  public func put(_ bytes: [UInt8], at path: String) {
    let file = fopen("\(root)/\(path)", "w")
    if let file {
      fwrite(bytes, 1, bytes.count, file)
      fclose(file)
    }
  }

  /// Relative, as the kernel's are: from where the link really lies.
  public func link(_ path: String, to target: String) {
    let parts = path.split(separator: "/")
    let directory = parts.dropLast().joined(separator: "/")
    guard let name = parts.last, let from = sysfs.resolved(directory), let to = sysfs.resolved(target) else { return }
    var up = from.dropFirst(root.utf8.count + 1).split(separator: "/")[...]
    var down = to.dropFirst(root.utf8.count + 1).split(separator: "/")[...]
    // The kernel names the target also where it lies above.
    while let first = up.first, down.count > 1, first == down.first {
      up.removeFirst()
      down.removeFirst()
    }
    unlink("\(from)/\(name)")
    symlink((up.map { _ in ".." } + down).joined(separator: "/"), "\(from)/\(name)")
  }

  public func remove(_ path: String) {
    let full = path.isEmpty ? root : "\(root)/\(path)"
    var status = stat()
    guard lstat(full, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
      for name in SmallFile.names(in: full) { remove(path.isEmpty ? name : "\(path)/\(name)") }
      rmdir(full)
    } else {
      unlink(full)
    }
  }

  public func addFunction(
    _ address: PCIAddress, below parent: String, _ identifiers: PCIIdentifiers, driver: String?, group: UInt32? = nil
  ) {
    let directory = "\(parent)/\(address)"
    make(directory)
    link("bus/pci/devices/\(address)", to: directory)
    put("0x" + hexadecimal(identifiers.vendor, digits: 4), at: "\(directory)/vendor")
    put("0x" + hexadecimal(identifiers.device, digits: 4), at: "\(directory)/device")
    put("0x" + hexadecimal(identifiers.subsystemVendor, digits: 4), at: "\(directory)/subsystem_vendor")
    put("0x" + hexadecimal(identifiers.subsystemDevice, digits: 4), at: "\(directory)/subsystem_device")
    put("0x" + hexadecimal(identifiers.classCode, digits: 6), at: "\(directory)/class")
    put("-1", at: "\(directory)/numa_node")
    put("(null)", at: "\(directory)/driver_override")
    put("flr bus", at: "\(directory)/reset_method")
    let group =
      group
      ?? nextGroup.withLock { next in
        next += 1
        return next
      }
    make("kernel/iommu_groups/\(group)/devices")
    link("kernel/iommu_groups/\(group)/devices/\(address)", to: directory)
    link("\(directory)/iommu_group", to: "kernel/iommu_groups/\(group)")
    if let driver { bind(address, to: driver) }
  }

  public func addCard(_ card: Card) {
    let port = "devices/pci0000:00/\(card.port)"
    if !sysfs.exists(port) {
      addFunction(
        card.port, below: "devices/pci0000:00", PCIIdentifiers(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
        driver: "pcieport")
    }
    addFunction(card.address, below: port, card.identifiers, driver: card.driver)
    let directory = card.address.sysfsPath
    put("\(card.total)", at: "\(directory)/sriov_totalvfs")
    put("0", at: "\(directory)/sriov_numvfs")
    put("128", at: "\(directory)/sriov_offset")
    put("2", at: "\(directory)/sriov_stride")
    put("10ca", at: "\(directory)/sriov_vf_device")
    put("1", at: "\(directory)/sriov_drivers_autoprobe")
  }

  public func bind(_ address: PCIAddress, to driver: String) {
    make("bus/pci/drivers/\(driver)")
    link("\(address.sysfsPath)/driver", to: "bus/pci/drivers/\(driver)")
    link("bus/pci/drivers/\(driver)/\(address)", to: address.sysfsPath)
  }

  public func unbind(_ address: PCIAddress) {
    guard let driver = sysfs.driver(of: address) else { return }
    remove("bus/pci/drivers/\(driver)/\(address)")
    remove("\(address.sysfsPath)/driver")
  }

  public func unplug(_ address: PCIAddress) {
    unbind(address)
    if let group = sysfs.iommuGroup(of: address) { remove("kernel/iommu_groups/\(group)/devices/\(address)") }
    let directory = sysfs.resolved(address.sysfsPath).map { String($0.dropFirst(root.utf8.count + 1)) }
    remove("bus/pci/devices/\(address)")
    if let directory { remove(directory) }
  }

  // MARK: The kernel

  private func answer(_ value: String, _ path: String) throws(SysfsError) {
    let relative = String(path.dropFirst(root.utf8.count + 1))
    writes.withLock { $0.append("\(relative)=\(value)") }
    behaviour.withLock { $0.before.removeValue(forKey: relative) }?()
    guard access(path, F_OK) == 0 || isAction(relative) else {
      throw SysfsError(.open, path, value: value, errno: ENOENT)
    }
    let refusal = behaviour.withLock { behaviour -> CInt? in
      guard var next = behaviour.refusals[relative], !next.isEmpty else { return nil }
      let errno = next.removeFirst()
      behaviour.refusals[relative] = next
      return errno
    }
    if let refusal { throw SysfsError(refusal == EACCES ? .open : .write, path, value: value, errno: refusal) }
    let errno = carryOut(value, relative)
    if errno != 0 { throw SysfsError(.write, path, value: value, errno: errno) }
  }

  /// Attributes that are written and never read are no files here.
  private func isAction(_ path: String) -> Bool {
    let parts = path.split(separator: "/")
    switch parts.last {
    case "drivers_probe": return true
    case "bind", "unbind", "reset": return sysfs.exists(parts.dropLast().joined(separator: "/"))
    default: return false
    }
  }

  private func carryOut(_ value: String, _ path: String) -> CInt {
    let parts = path.split(separator: "/").map(String.init)
    guard let attribute = parts.last, parts.count >= 3 else { return EINVAL }
    let owner = parts[parts.count - 2]
    switch attribute {
    case "sriov_numvfs": return PCIAddress(owner).map { setCount(value, of: $0) } ?? EINVAL
    case "unbind":
      guard let address = PCIAddress(value), sysfs.driver(of: address) == owner else { return ENODEV }
      unbind(address)
    case "bind":
      guard let address = PCIAddress(value), sysfs.driver(of: address) == nil else { return ENODEV }
      bind(address, to: owner)
    case "drivers_probe":
      guard let address = PCIAddress(value), sysfs.exists(address.sysfsPath) else { return ENODEV }
      probe(address)
    case "driver_override": put(value.isEmpty ? "(null)" : value, at: path)
    case "reset": break
    default: put(value, at: path)
    }
    return 0
  }

  /// As the kernel: reports success also when no driver takes the function.
  private func probe(_ address: PCIAddress) {
    guard sysfs.driver(of: address) == nil else { return }
    let wanted = sysfs.text("\(address.sysfsPath)/driver_override")
    if let wanted, wanted != "(null)" {
      if sysfs.exists("bus/pci/drivers/\(wanted)") { bind(address, to: wanted) }
    } else if sysfs.exists("\(address.sysfsPath)/physfn"), let driver = behaviour.withLock({ $0.virtualDriver }) {
      bind(address, to: driver)
    }
  }

  /// sriov_numvfs_store of drivers/pci/iov.c.
  private func setCount(_ value: String, of address: PCIAddress) -> CInt {
    guard let count = UInt32(value), let capability = sysfs.sriovCapability(of: address) else { return EINVAL }
    if count > capability.total { return ERANGE }
    if count == capability.count { return 0 }
    if sysfs.driver(of: address) == nil { return ENOENT }
    if count > 0 && capability.count > 0 { return EBUSY }
    for function in capability.functions {
      remove("\(address.sysfsPath)/virtfn\(function.index)")
      unplug(function.address)
    }
    let made = min(count, behaviour.withLock { $0.most })
    for index in 0..<made { addVirtualFunction(index, of: address) }
    put("\(made)", at: "\(address.sysfsPath)/sriov_numvfs")
    return 0
  }

  private func addVirtualFunction(_ index: UInt32, of physical: PCIAddress) {
    let number = UInt32(physical.bus) << 8 | UInt32(physical.device) << 3 | UInt32(physical.function)
    let routing = number + 128 + 2 * index
    let address = PCIAddress(
      domain: physical.domain, bus: UInt8(routing >> 8), device: UInt8(routing >> 3 & 31), function: UInt8(routing & 7))
    let parent =
      sysfs.resolved(physical.sysfsPath).map { $0.dropFirst(root.utf8.count + 1).split(separator: "/") } ?? []
    addFunction(
      address, below: parent.dropLast().joined(separator: "/"),
      PCIIdentifiers(vendor: 0x8086, device: 0x10ca, classCode: 0x020000), driver: nil)
    link("\(address.sysfsPath)/physfn", to: physical.sysfsPath)
    link("\(physical.sysfsPath)/virtfn\(index)", to: address.sysfsPath)
    if sysfs.text("\(physical.sysfsPath)/sriov_drivers_autoprobe") == "1" { probe(address) }
  }
}

/// Lower case, with leading zeros.
func hexadecimal(_ value: some UnsignedInteger, digits: Int) -> String {
  let text = String(value, radix: 16)
  return String(repeating: "0", count: max(0, digits - text.count)) + text
}
