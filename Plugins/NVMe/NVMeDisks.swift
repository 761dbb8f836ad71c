import BlockFunctions
import FunctionPluginKit
import LinuxDevices
import Services

/// NVMe namespaces, on drives in this host and over fabrics. Each is an end node.
struct NVMeDisks: DiskClass {
  static let name = "nvme"
  static let givesWholeDisks = true
  static let countsFunctions = true

  private let access: NVMeAccess
  private let hostName: String
  private let memory = LookMemory()
  private let away: AwayNamespaces
  private let pulled: PulledNamespaces
  private let counts: FunctionCountKeeper

  init(context: PluginContext) {
    self.init(access: NVMeAccess(), hostName: context.hostName, stateDirectory: context.stateDirectory)
  }

  init(access: NVMeAccess, hostName: String, stateDirectory: String) {
    self.access = access
    self.hostName = hostName
    away = AwayNamespaces(stateDirectory: stateDirectory)
    pulled = PulledNamespaces(stateDirectory: stateDirectory)
    counts = FunctionCountKeeper(access.sysfs)
  }

  func describe(_ path: String) throws -> DiskDescription? {
    if let found = found(at: path) { return try description(of: found, at: path) }
    if let away = try describeAway(path) { return away }
    guard let namespace = pulled.all.first(where: { $0.path == path }) else { return nil }
    // Detached by a pull that did not come to its end: its drive refused, or an earlier run of this plugin ended there.
    try namespace.attachAgain(access)
    guard let found = found(at: path) else { return nil }
    try pulled.remove(namespace.identity)
    return try description(of: found, at: path)
  }

  private func found(at path: String) -> FoundNamespace? {
    guard let name = BlockDevice.kernelName(path) else { return nil }
    return access.sysfs.foundNamespaces().first { $0.namespace.blockName == name }
  }

  /// A namespace that a virtual function has, while its drive is there.
  private func describeAway(_ path: String) throws -> DiskDescription? {
    guard let namespace = try away.all.first(where: { $0.path == path }),
      let primary = PrimaryController(ofSubsystem: namespace.subsystem, access),
      let subsystem = access.sysfs.nvmeSubsystems().first(where: { $0.qualifiedName == namespace.subsystem })
    else { return nil }
    let look = try memory.look(at: namespace.identity) {
      try DriveLook(primary.transport(), namespace: namespace.number)
    }
    return DiskDescription(
      identity: namespace.identity, devices: [path], facts: namespace.facts,
      physicalFunction: physicalFunction(of: primary.controller, subsystem, name: namespace.identity),
      labels: labels(of: primary.controller, subsystem, namespace.number), numaNode: numaNode(of: primary.controller),
      health: look.health, makesFunctions: true, functionMaker: namespace.subsystem, isAway: true,
      sanitizes: look.erasesItAlone)
  }

  /// - Parameter path: how the configuration names it, which may be for good; the kernel's name ends with a pull.
  private func description(of found: FoundNamespace, at path: String) throws -> DiskDescription? {
    guard let node = BlockInventory(access.sysfs).node(found.namespace.blockName) else { return nil }
    let look = try look(at: found)
    let controller = found.controller
    let maker = functionMaker(of: found, look)
    return DiskDescription(
      identity: found.identity, devices: [path],
      facts: BlockFacts(
        sizeBytes: node.sizeBytes, logicalSectorBytes: node.logicalSectorBytes,
        physicalSectorBytes: node.physicalSectorBytes, isReadOnly: node.isReadOnly),
      physicalFunction: physicalFunction(of: controller, found.subsystem, name: found.name.text),
      labels: labels(of: controller, found.subsystem, found.namespace.number), numaNode: numaNode(of: controller),
      health: health(of: found, look), isMultiRoot: isReachedByOthers(controller, look) && look.keepsHostsApart,
      makesFunctions: maker.map { counts.wanted(of: $0.address) != 0 } ?? false,
      functionMaker: maker.map { _ in found.subsystem.qualifiedName }, sanitizes: look.erasesItAlone)
  }

  /// Not of a drive that other hosts reach: what keeps them apart knows nothing of virtual functions.
  private func functionMaker(of found: FoundNamespace, _ look: DriveLook) -> PrimaryController? {
    guard look.controller.hasVirtualizationManagement, look.controller.hasNamespaceManagement,
      !isReachedByOthers(found.controller, look),
      let primary = PrimaryController(ofSubsystem: found.subsystem.qualifiedName, access),
      access.sysfs.iommuGroup(of: primary.address) != nil
    else { return nil }
    return primary
  }

  private func numaNode(of controller: NVMeController) -> Int32? {
    controller.numaNode ?? controller.address.flatMap { access.sysfs.numaNode(of: $0) }
  }

  private func look(at found: FoundNamespace) throws -> DriveLook {
    try memory.look(at: found.identity) {
      try DriveLook(access.transport(to: found.controller), namespace: found.namespace.number)
    }
  }

  /// A drive with one port is one host's, whatever its virtual functions share.
  private func isReachedByOthers(_ controller: NVMeController, _ look: DriveLook) -> Bool {
    controller.transport != "pcie" || look.controller.subsystemHasSeveralPorts
  }

  private func physicalFunction(
    of controller: NVMeController, _ subsystem: NVMeSubsystem, name: String
  ) -> PhysicalFunction {
    PhysicalFunction {
      $0.serialNumber = subsystem.serialNumber
      $0.firmware = subsystem.firmware
      $0.permanentAddress = name
      guard let address = controller.address else { return }
      $0.pciAddress = "\(address)"
      $0.driver = access.sysfs.driver(of: address) ?? ""
      guard let capability = access.sysfs.sriovCapability(of: address), capability.total > 0 else { return }
      $0.functionCount = FunctionCount {
        $0.maximum = capability.total
        $0.present = capability.count
        $0.functionDriver = capability.functions.lazy.compactMap(\.driver).first ?? ""
        $0.wanted = counts.wanted(of: address)
        guard let wanted = $0.wanted, wanted != capability.count else { return }
        guard let primary = PrimaryController(ofSubsystem: subsystem.qualifiedName, access) else {
          $0.message = "its controller is not live"
          return
        }
        do {
          ($0.held, $0.message) = counts.standing(
            of: address, wanted: wanted, present: capability.count,
            holders: try holders(of: primary, subsystem.qualifiedName))
        } catch {
          $0.message = "\(error)"
        }
      }
    }
  }

  private func labels(
    of controller: NVMeController, _ subsystem: NVMeSubsystem, _ namespace: UInt32
  ) -> [String: String] {
    var labels = ["subsystem": subsystem.qualifiedName, "namespace": "\(namespace)"]
    if let identifier = controller.identifier { labels["controller"] = "\(identifier)" }
    return labels
  }

  private func health(of found: FoundNamespace, _ look: DriveLook) -> Health {
    guard case .notLive(let state) = found.controller.state else { return look.health }
    return Health {
      $0.state = .unhealthy
      $0.message = "its controller \(found.controller.name) is \(state)"
    }
  }

  func rescan() {
    memory.forgetAll()
    counts.forget()
  }

  func settleFunctions(of disk: DiskDescription, wanted: UInt32?) {
    guard let subsystem = disk.labels["subsystem"], let primary = PrimaryController(ofSubsystem: subsystem, access)
    else { return }
    guard let wanted else { return counts.leave(primary.address) }
    counts.inTurn {
      guard let capability = access.sysfs.sriovCapability(of: primary.address) else { return }
      // Where nobody knows which function is whose, none is destroyed; it is shown that the record is damaged.
      guard let holders = try? holders(of: primary, subsystem) else {
        return counts.wait(primary.address, wanted: wanted)
      }
      counts.settle(
        primary.address, capability, wanted: wanted, holders: holders,
        prepare: { try SRIOVControl(access.sysfs).setDriversAutoprobe(false, of: primary.address) })
    }
  }

  private func holders(of primary: PrimaryController, _ subsystem: String) throws -> [UInt32: String] {
    try primary.holders(away.all.filter { $0.subsystem == subsystem })
  }

  func pull(_ disk: DiskDescription) throws -> DiskDescription {
    guard let found = access.sysfs.foundNamespaces().first(where: { $0.identity == disk.identity }) else {
      throw vanished(disk)
    }
    try NamespacePull(
      access: access, found: found, canManage: look(at: found).controller.hasNamespaceManagement, path: disk.device,
      pulled: pulled
    )
    .carryOut()
    var again: DiskDescription?
    _ = access.wait {
      again = try? describeAgain(disk, formerly: found.namespace.blockName)
      return again != nil
    }
    guard let again else { throw vanished(disk) }
    return again
  }

  /// Where the disk's path is a link, udev leads it to the new device a moment later than there is one.
  private func describeAgain(_ disk: DiskDescription, formerly blockName: String) throws -> DiskDescription? {
    guard let found = access.sysfs.foundNamespaces().first(where: { $0.identity == disk.identity }) else { return nil }
    let wasKernelName = disk.device == "\(access.devices)/\(blockName)"
    let path = wasKernelName ? "\(access.devices)/\(found.namespace.blockName)" : disk.device
    guard BlockDevice.kernelName(path) == found.namespace.blockName else { return nil }
    return try description(of: found, at: path)
  }

  /// Looked at anew: what else is on the drive may have changed since it was found to be alone.
  func sanitize(_ disk: DiskDescription) throws {
    guard let found = access.sysfs.foundNamespaces().first(where: { $0.identity == disk.identity }) else {
      throw vanished(disk)
    }
    let drive = try access.transport(to: found.controller)
    let look = try DriveLook(drive, namespace: found.namespace.number)
    guard look.erasesItAlone else {
      throw PluginError(
        .failedPrecondition,
        "\(found.controller.name) would erase other namespaces with \(disk.identity): set scrub: zero.")
    }
    try drive.send(FormatNamespace(found.namespace.number, .userData, of: look.namespace))
  }

  func keeper(of disk: DiskDescription) throws -> (any DiskKeeper)? {
    guard disk.isMultiRoot else { return nil }
    guard let found = access.sysfs.foundNamespaces().first(where: { $0.identity == disk.identity }) else {
      throw vanished(disk)
    }
    for controller in found.controllers where controller.state == .live && controller.transport == "pcie" {
      try HostIdentifier(host: hostName).set(on: access.transport(to: controller))
    }
    // Reads and writes, reservations among them, are sent to the namespace's device: the kernel chooses one of its paths.
    let device = try access.open("\(access.devices)/\(found.namespace.blockName)")
    return ReservationKeeper(paths: [NVMeReservationDevice(device, namespace: found.namespace.number)])
  }

  // MARK: By a virtual function

  func give(_ disk: DiskDescription, to function: String) throws -> PCIAddress {
    try counts.inTurn { try giveInTurn(disk, to: function) }
  }

  private func giveInTurn(_ disk: DiskDescription, to function: String) throws -> PCIAddress {
    let known = try away.all
    if let namespace = known.first(where: { $0.identity == disk.identity }) {
      guard namespace.function == function else {
        throw PluginError(.failedPrecondition, "\(namespace.function) has \(disk.identity) by a virtual function.")
      }
      let primary = try primary(of: namespace)
      try makeFunctions(of: primary)
      return try DrivenNamespace(primary: primary, away: away, namespace: namespace).give()
    }
    guard let found = access.sysfs.foundNamespaces().first(where: { $0.identity == disk.identity }) else {
      throw vanished(disk)
    }
    guard disk.makesFunctions, let primary = PrimaryController(ofSubsystem: found.subsystem.qualifiedName, access)
    else {
      throw PluginError(
        .failedPrecondition,
        "The drive of \(disk.identity) makes no virtual functions that could have it (SR-IOV, with virtualization and "
          + "namespace management, behind an IOMMU): allow another path than direct.")
    }
    try makeFunctions(of: primary)
    let taken = Set(known.filter { $0.subsystem == found.subsystem.qualifiedName }.map(\.index))
    let namespace = AwayNamespace(
      function: function, identity: disk.identity, path: disk.device, subsystem: found.subsystem.qualifiedName,
      number: found.namespace.number, index: try DrivenNamespace.freeIndex(primary, besides: taken), facts: disk.facts)
    try away.write(namespace)
    return try DrivenNamespace(primary: primary, away: away, namespace: namespace).give()
  }

  /// Where there are none yet: as many as are wanted, or enough for all namespaces.
  private func makeFunctions(of primary: PrimaryController) throws {
    try primary.makeFunctions(
      counts.wanted(of: primary.address) ?? UInt32(clamping: max(4, primary.namespaces().count)))
  }

  func given(_ disk: DiskDescription, to function: String) throws -> PCIAddress? {
    guard let driven = try driven(disk, by: function) else { return nil }
    return try driven.given()
  }

  func takeBack(_ disk: DiskDescription, from function: String) throws {
    guard let driven = try driven(disk, by: function) else { return }
    try driven.takeBack()
    // Where the disk's path is a link, it leads to the new device a moment later than there is one.
    guard access.wait(until: { (try? describe(disk.device))?.isAway == false }) else {
      throw PluginError(.unavailable, "\(disk.identity) is back, and \(disk.device) does not lead to it.")
    }
  }

  private func driven(_ disk: DiskDescription, by function: String) throws -> DrivenNamespace? {
    guard let namespace = try away.all.first(where: { $0.identity == disk.identity && $0.function == function }) else {
      return nil
    }
    return DrivenNamespace(primary: try primary(of: namespace), away: away, namespace: namespace)
  }

  private func primary(of namespace: AwayNamespace) throws -> PrimaryController {
    guard let primary = PrimaryController(ofSubsystem: namespace.subsystem, access) else {
      throw PluginError(.unavailable, "The drive \(namespace.subsystem) is not there, or its controller is not live.")
    }
    return primary
  }

  private func vanished(_ disk: DiskDescription) -> PluginError {
    PluginError(
      .unavailable,
      "No controller of this host has namespace \(disk.identity) now: bring its drive back, or attach it "
        + "(nvme list-ctrl, nvme attach-ns).")
  }
}
