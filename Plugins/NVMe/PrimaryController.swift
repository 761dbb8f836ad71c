import FunctionPluginKit
import LinuxDevices

/// The controller of a drive that makes virtual functions, gives them queues and interrupts, and attaches namespaces to them.
struct PrimaryController: Sendable {
  let access: NVMeAccess
  let controller: NVMeController
  let address: PCIAddress
  /// Among those of the drive.
  let identifier: UInt16

  /// Nil: the drive is not there, not live, or makes no functions.
  init?(ofSubsystem name: String, _ access: NVMeAccess) {
    let controllers = access.sysfs.nvmeSubsystems().first { $0.qualifiedName == name }?.controllers ?? []
    for controller in controllers where controller.state == .live {
      guard let address = controller.address, let identifier = controller.identifier,
        let capability = access.sysfs.sriovCapability(of: address), capability.total > 0
      else { continue }
      self.access = access
      self.controller = controller
      self.address = address
      self.identifier = identifier
      return
    }
    return nil
  }

  func transport() throws -> any NVMeTransport { try access.transport(to: controller) }

  /// Makes functions where there are none: nobody can hold one then. Some are left alone as they are.
  func makeFunctions(_ count: UInt32) throws {
    guard let capability = access.sysfs.sriovCapability(of: address), capability.count == 0 else { return }
    let control = SRIOVControl(access.sysfs)
    // The kernel's driver is to take none: a controller without queues keeps it waiting, and it would show their disks here.
    try control.setDriversAutoprobe(false, of: address)
    let wanted = min(capability.total, count)
    try control.carryOut(control.plan(address, count: wanted, holders: [:]), acceptsFewer: true)
  }

  /// Who holds a function of the drive, in words, by its index: ours, and whoever drives one besides.
  func holders(_ away: [AwayNamespace]) -> [UInt32: String] {
    var holders: [UInt32: String] = [:]
    for function in access.sysfs.sriovCapability(of: address)?.functions ?? [] {
      if let driver = function.driver { holders[function.index] = "\(driver) on \(function.address)" }
    }
    for namespace in away { holders[namespace.index] = namespace.function }
    return holders
  }

  func function(_ index: UInt32) throws -> SRIOVFunction {
    guard let function = access.sysfs.sriovCapability(of: address)?.functions.first(where: { $0.index == index }) else {
      throw PluginError(.unavailable, "\(controller.name) (\(address)) has no virtual function \(index) now")
    }
    return function
  }

  func secondary(_ index: UInt32) throws -> NVMeSecondary {
    guard
      let secondary = try transport().secondaries().first(where: { UInt32($0.virtualFunction ?? 0) == index + 1 })
    else {
      throw PluginError(.unavailable, "\(controller.name) lists no secondary controller for virtual function \(index)")
    }
    return secondary
  }

  // MARK: Queues and interrupts

  /// Offline, with its share: one function is not to have what others will need.
  func supply(_ secondary: NVMeSecondary) throws {
    let drive = try transport()
    let functions = UInt32(max(1, access.sysfs.sriovCapability(of: address)?.count ?? 1))
    try takeOffline(secondary)
    for (resource, least) in [(NVMeResource.queues, UInt32(2)), (.interrupts, 1)] {
      let there = try drive.send(Identify.primaryCapabilities(of: identifier))[resource]
      let own = UInt32(resource == .queues ? secondary.queues : secondary.interrupts)
      let share = max(least, there.flexible / functions)
      let count = min(there.free + own, UInt32(there.mostPerSecondary), share)
      guard count >= least else {
        throw PluginError(
          .resourceExhausted,
          "\(controller.name) has \(there.free) \(resource) to give away, of \(there.flexible), and a virtual function needs "
            + "\(least): take some from the primary (nvme virt-mgmt -c \(identifier) -r \(resource.rawValue) -a 1 -n 0, then "
            + "nvme reset), or release claims of its other functions")
      }
      _ = try drive.send(
        VirtualizationManagement(.assign(resource, UInt16(clamping: count)), controller: secondary.controller))
    }
  }

  func takeOffline(_ secondary: NVMeSecondary) throws {
    _ = try transport().send(VirtualizationManagement(.takeOffline, controller: secondary.controller))
  }

  func bringOnline(_ secondary: NVMeSecondary) throws {
    _ = try transport().send(VirtualizationManagement(.bringOnline, controller: secondary.controller))
  }

  /// What it had is for others.
  func drain(_ secondary: NVMeSecondary) throws {
    try takeOffline(secondary)
    for resource in [NVMeResource.queues, .interrupts] {
      _ = try transport().send(VirtualizationManagement(.assign(resource, 0), controller: secondary.controller))
    }
  }

  // MARK: Namespaces

  func namespaces() throws -> [UInt32] { try transport().send(Identify.allocatedNamespaces()) }

  func controllers(of namespace: UInt32) throws -> Set<UInt16> {
    Set(try transport().send(Identify.controllers(ofNamespace: namespace)))
  }

  /// Attached to this controller and to no other of the drive's.
  func attach(_ namespace: UInt32, to only: UInt16) throws {
    let drive = try transport()
    let now = try controllers(of: namespace)
    let others = now.subtracting([only])
    if !others.isEmpty {
      try drive.send(NamespaceAttachment(.detach, namespace: namespace, controllers: Array(others)))
    }
    if !now.contains(only) {
      try drive.send(NamespaceAttachment(.attach, namespace: namespace, controllers: [only]))
    }
    let after = try controllers(of: namespace)
    guard after == [only] else {
      throw PluginError(
        .unavailable,
        "namespace \(namespace) of \(controller.name) was to be attached to controller \(only) alone, and is to \(after.sorted())"
      )
    }
    lookAgain()
  }

  /// Drives attach shared namespaces to functions that they make: none of another's is to be reached by this one.
  func detachOthers(than namespace: UInt32, from secondary: NVMeSecondary) throws {
    for other in try namespaces() where try other != namespace && controllers(of: other).contains(secondary.controller)
    {
      try transport().send(NamespaceAttachment(.detach, namespace: other, controllers: [secondary.controller]))
    }
  }

  private func lookAgain() { access.lookAgain([controller.name]) }
}
