import BlockFunctions
import FunctionPluginKit
import LinuxDevices
import Services

/// Disks that are reached by SCSI over a transport that several hosts may be on: SAS, Fibre Channel, iSCSI; and SATA disks
/// behind a SAS adapter. Those on a SATA controller or on USB are of other classes.
struct SASDisks: DiskClass {
  static let name = "sas"
  static let givesWholeDisks = true

  private let access: DiskAccess
  private let finder: PathFinder
  private let memory = LookMemory()

  init(context: PluginContext) { self.init(access: DiskAccess(tell: { context.logger.info("\($0)") })) }

  init(access: DiskAccess) {
    self.access = access
    finder = PathFinder(sysfs: access.sysfs)
  }

  func describe(_ path: String) throws -> DiskDescription? {
    guard let device = BlockDevice.kernelName(path),
      let disk = finder.disk(ofBlock: device)
    else { return nil }
    return try description(of: disk, configured: path)
  }

  /// Its paths' names end with the disk's next reset; how it is configured may be for good. Where that is a link which leads to
  /// a path of it, it stands first.
  private func description(of disk: DiskPaths, configured: String?) throws -> DiskDescription? {
    guard let best = disk.paths.first, let facts = facts(of: best) else { return nil }
    let look = try memory.look(at: disk) { try DiskLook(disk, access) }
    var devices = disk.paths.map { access.devicePath(of: $0) }
    if let configured, access.isStableName(configured), let path = access.path(of: disk, behind: configured) {
      devices.removeAll { $0 == access.devicePath(of: path) }
      devices.insert(configured, at: 0)
    }
    return DiskDescription(
      identity: disk.name.identifier, devices: devices, facts: facts, physicalFunction: physicalFunction(of: disk),
      labels: look.labels, numaNode: best.controller.address.flatMap { access.sysfs.numaNode(of: $0) },
      health: look.report.health(lostPaths: disk.lost), isMultiRoot: look.isMultiRoot,
      sanitizes: look.sanitizes)
  }

  /// By the kernel's files, which can be read also while somebody else's reservation keeps this host out.
  private func facts(of path: SCSIUnitPath) -> BlockFacts? {
    guard let node = path.blockName.flatMap({ BlockInventory(access.sysfs).node($0) }) else { return nil }
    return BlockFacts(
      sizeBytes: node.sizeBytes, logicalSectorBytes: node.logicalSectorBytes,
      physicalSectorBytes: node.physicalSectorBytes, isReadOnly: node.isReadOnly)
  }

  private func physicalFunction(of disk: DiskPaths) -> PhysicalFunction {
    PhysicalFunction {
      $0.permanentAddress = disk.name.text
      guard let path = disk.paths.first else { return }
      $0.driver = path.controller.driver
      $0.serialNumber = path.serialNumber ?? ""
      $0.firmware = path.revision
      guard let address = path.controller.address else { return }
      $0.pciAddress = "\(address)"
      // For people: functions of an adapter's own are set up by its driver's means, and disks are assigned to them there.
      guard let capability = access.sysfs.sriovCapability(of: address), capability.total > 0 else { return }
      $0.functionCount = FunctionCount {
        $0.maximum = capability.total
        $0.present = capability.count
        $0.functionDriver = capability.functions.lazy.compactMap(\.driver).first ?? ""
      }
    }
  }

  func rescan() {
    memory.forgetAll()
    finder.forgetAll()
  }

  func pull(_ disk: DiskDescription) throws -> DiskDescription {
    guard let paths = finder.disk(disk.identity) else { throw vanished(disk) }
    let pull = DiskPull(access: access, disk: paths)
    try pull.remove()
    memory.forget(paths.name)
    let configured = disk.device.isEmpty || !access.isStableName(disk.device) ? nil : disk.device
    return try pull.bringBack {
      // Registrations are made on every path that there was.
      guard let found = finder.disk(disk.identity), found.paths.count >= paths.paths.count,
        configured.map({ access.path(of: found, behind: $0) != nil }) ?? true
      else { return nil }
      return try description(of: found, configured: configured)
    }
  }

  func keeper(of disk: DiskDescription) throws -> (any DiskKeeper)? {
    guard disk.isMultiRoot else { return nil }
    guard let paths = finder.disk(disk.identity) else { throw vanished(disk) }
    return ReservationKeeper(paths: try access.transports(to: paths).map { SCSIReservationDevice($0) })
  }

  func sanitize(_ disk: DiskDescription) throws {
    guard let paths = finder.disk(disk.identity) else { throw vanished(disk) }
    try SelfErasing(access.transports(to: paths)).carryOut(pause: access.erasingPause) {
      access.tell("\(disk.identity) erases itself: \($0) %")
    }
  }

  private func vanished(_ disk: DiskDescription) -> PluginError {
    PluginError(
      .unavailable,
      "No path of this host leads to \(disk.identity) any more: bring it back, or rescan its adapter (/sys/class/scsi_host)."
    )
  }
}
