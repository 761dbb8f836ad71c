import Glibc

/// Gives functions to drivers and takes them away, one function at a time and never by its device number (`new_id` grabs
/// every card of that kind). Calls block; taking a function from a program that holds it open through VFIO waits until the
/// program lets go.
///
/// The way, each step of which others skip at their cost: override, unbind, probe, and look whether it was taken, since the
/// kernel reports success also when no driver matched (Documentation/ABI/testing/sysfs-bus-pci).
public struct DriverBinding: Sendable {
  public let sysfs: Sysfs
  private let loadModule: ModuleLoader

  /// Loads a kernel module by name, or throws what the loader complained about.
  public typealias ModuleLoader = @Sendable (String) throws(SystemCallError) -> Void

  public init(_ sysfs: Sysfs, loadModule: @escaping ModuleLoader = KernelModule.load) {
    self.sysfs = sysfs
    self.loadModule = loadModule
  }

  public static let vfio = "vfio-pci"

  /// Also those of makers ("mlx5-vfio-pci", "hisi-acc-vfio-pci"), which are vfio-pci with migration.
  public static func isVFIO(_ driver: String) -> Bool {
    driver.utf8.split(separator: UInt8(ascii: "-")).contains { $0.elementsEqual("vfio".utf8) }
  }

  // MARK: To VFIO

  /// Binds a function to vfio-pci, or leaves it on the VFIO driver that it is on.
  ///
  /// - Returns: the driver that it had, to be handed to `release`; nil: none.
  /// - Throws: `BindingError`, with the former driver back where it was possible.
  @discardableResult
  public func bindToVFIO(_ address: PCIAddress) throws(BindingError) -> String? {
    guard sysfs.exists(address.sysfsPath) else { throw .vanished(address) }
    guard let group = sysfs.iommuGroup(around: address) else { throw .noGroup(address) }
    let obstacles = group.obstacles(besides: address)
    guard obstacles.isEmpty else { throw .groupShared(address, group: group.number, with: obstacles) }
    if let count = sysfs.sriovCapability(of: address)?.count, count > 0 {
      throw .hasVirtualFunctions(address, count: count)
    }
    try loadVFIO()
    let former = sysfs.driver(of: address)
    if let former, Self.isVFIO(former) { return former }
    do {
      try give(address, to: Self.vfio)
    } catch {
      throw blame(error, address, wanted: Self.vfio, former: restore(former, to: address))
    }
    return former
  }

  /// Takes a function from VFIO and gives it to the driver that it had before; nil: to none.
  ///
  /// Also finishes what was left half done, and does nothing where all is well.
  public func release(_ address: PCIAddress, to former: String?) throws(BindingError) {
    guard sysfs.exists(address.sysfsPath) else { throw .vanished(address) }
    let before = sysfs.driver(of: address)
    do {
      if let former, !Self.isVFIO(former) {
        try give(address, to: former)
      } else if let before, Self.isVFIO(before) {
        try unbind(address)
      }
      try clearOverride(of: address)
    } catch {
      let isAsBefore = sysfs.driver(of: address) == before
      throw blame(
        error, address, wanted: former ?? "no driver", former: isAsBefore ? .unchanged : .lost(before ?? "none"))
    }
  }

  /// Takes a function from VFIO, and with it whatever its last user left in its registers, where it can be reset. Waits for whoever
  /// has it open.
  public func takeBack(_ address: PCIAddress) throws {
    if sysfs.driver(of: address) != nil { try release(address, to: nil) }
    if sysfs.pciFunction(address)?.resetMethods.isEmpty == false { try sysfs.reset(address) }
  }

  /// Takes a function from whatever driver it has, and gives it to none.
  public func unbind(_ address: PCIAddress) throws(SysfsError) {
    guard let driver = sysfs.driver(of: address) else { return }
    do {
      try sysfs.write(address, to: "bus/pci/drivers/\(driver)/unbind")
    } catch {
      // Somebody else was faster.
      guard sysfs.driver(of: address) == nil, sysfs.exists(address.sysfsPath) else { throw error }
    }
  }

  // MARK: Steps

  private enum Failure: Error {
    case refused(SysfsError)
    case notTaken(found: String?)
  }

  /// The override comes first, so that no other driver can take the function in between; and it alone makes the kernel bind
  /// a function whose card has `sriov_drivers_autoprobe` off.
  private func give(_ address: PCIAddress, to driver: String) throws(Failure) {
    guard sysfs.driver(of: address) != driver else { return }
    do {
      try sysfs.write(driver, to: "\(address.sysfsPath)/driver_override")
      try unbind(address)
      try sysfs.write(address, to: "bus/pci/drivers_probe")
    } catch {
      throw .refused(error)
    }
    let found = sysfs.driver(of: address)
    guard found == driver else { throw .notTaken(found: found) }
  }

  /// A cleared override reads "(null)", and on some kernels nothing.
  private func clearOverride(of address: PCIAddress) throws(Failure) {
    let path = "\(address.sysfsPath)/driver_override"
    guard let override = sysfs.text(path), !override.isEmpty, override != "(null)" else { return }
    do { try sysfs.write("", to: path) } catch { throw .refused(error) }
  }

  private func restore(_ former: String?, to address: PCIAddress) -> BindingError.Former {
    guard sysfs.exists(address.sysfsPath) else { return former.map { .lost($0) } ?? .restored(nil) }
    do {
      if let former { try give(address, to: former) }
      try clearOverride(of: address)
    } catch {
      return former.map { .lost($0) } ?? .restored(sysfs.driver(of: address))
    }
    return .restored(former)
  }

  private func blame(
    _ failure: any Error, _ address: PCIAddress, wanted: String, former: BindingError.Former
  ) -> BindingError {
    guard sysfs.exists(address.sysfsPath) else { return .vanished(address) }
    return switch failure {
    case Failure.notTaken(let found): .notTaken(address, wanted: wanted, found: found, former: former)
    case Failure.refused(let error): .refused(address, error, former: former)
    case let error as SysfsError: .refused(address, error, former: former)
    default: preconditionFailure("only the steps above throw here")
    }
  }

  private func loadVFIO() throws(BindingError) {
    try load(Self.vfio, unless: "bus/pci/drivers/\(Self.vfio)")
    // vfio-pci does not ask for it, and without it there is no container to open.
    try load("vfio_iommu_type1", unless: "module/vfio_iommu_type1")
  }

  private func load(_ module: String, unless path: String) throws(BindingError) {
    guard !sysfs.exists(path) else { return }
    var complaint = ""
    do { try loadModule(module) } catch { complaint = error.description }
    guard sysfs.exists(path) else { throw .noDriver(module, complaint: complaint) }
  }
}

/// Parts of the kernel that are loaded when they are needed.
public enum KernelModule {
  public static let load: DriverBinding.ModuleLoader = { name throws(SystemCallError) in
    try load(name, parameters: [])
  }

  /// By the program that the kernel itself uses for it; waits for it, half a minute at most.
  public static func load(_ name: String, parameters: [String]) throws(SystemCallError) {
    let program = SmallFile.text("/proc/sys/kernel/modprobe").flatMap { $0.isEmpty ? nil : $0 } ?? "modprobe"
    let outcome = try Command(executable: program, arguments: ["--", name] + parameters).run(atMost: .seconds(30))
    guard outcome.status == .exited(0) else {
      let said = outcome.complaints.split(separator: "\n").last.map(String.init) ?? ""
      let ended = outcome.status.map { "\($0)" } ?? "no end within 30 s"
      throw SystemCallError("\(program) \(name) (\(said.isEmpty ? ended : said))", errno: ENOEXEC)
    }
  }
}
