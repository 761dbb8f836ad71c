import BlockFunctions
import FunctionPluginKit
import LinuxDevices

/// A namespace in the hands of a consumer that drives it by itself: by a virtual function of its drive, to which alone it is
/// attached, in the hands of vfio-pci.
struct DrivenNamespace: Sendable {
  let primary: PrimaryController
  let away: AwayNamespaces
  let namespace: AwayNamespace

  private var access: NVMeAccess { primary.access }
  private var binding: DriverBinding { DriverBinding(access.sysfs) }

  /// A function of the drive's that nobody has.
  static func freeIndex(_ primary: PrimaryController, besides taken: Set<UInt32>) throws -> UInt32 {
    let functions = access(primary).sriovCapability(of: primary.address)?.functions ?? []
    guard let free = functions.first(where: { $0.driver == nil && !taken.contains($0.index) }) else {
      throw PluginError(
        .resourceExhausted,
        "none of the \(functions.count) virtual functions of \(primary.controller.name) is free: release a claim of one, or "
          + "what else drives it")
    }
    return free.index
  }

  private static func access(_ primary: PrimaryController) -> Sysfs { primary.access.sysfs }

  func give() throws -> PCIAddress {
    if let address = try given() { return address }
    let function = try primary.function(namespace.index)
    try checkUnopened(function)
    if function.driver != nil { try binding.release(function.address, to: nil) }
    let secondary = try primary.secondary(namespace.index)
    try primary.supply(secondary)
    try primary.detachOthers(than: namespace.number, from: secondary)
    try primary.attach(namespace.number, to: secondary.controller)
    guard access.wait(until: { !isShownHere }) else {
      throw PluginError(
        .unavailable, "namespace \(namespace.identity) was detached, and the kernel keeps its device: look at its log")
    }
    try primary.bringOnline(secondary)
    try binding.bindToVFIO(function.address)
    guard let address = try given() else {
      throw PluginError(
        .unavailable, "virtual function \(function.address) does not have \(namespace.identity) when read back")
    }
    return address
  }

  /// Nil: anything of it is missing.
  func given() throws -> PCIAddress? {
    guard let function = try? primary.function(namespace.index), let driver = function.driver,
      DriverBinding.isVFIO(driver)
    else { return nil }
    let secondary = try primary.secondary(namespace.index)
    guard secondary.isOnline, try primary.controllers(of: namespace.number) == [secondary.controller] else {
      return nil
    }
    return function.address
  }

  /// By the drive first: offline, its holder reaches nothing any more, whatever it does. Then it is taken away.
  func takeBack() throws {
    if let function = try? primary.function(namespace.index) {
      let secondary = try primary.secondary(namespace.index)
      try primary.takeOffline(secondary)
      try checkUnopened(function)
      try binding.takeBack(function.address)
      try primary.drain(secondary)
    }
    try primary.attach(namespace.number, to: primary.identifier)
    guard access.wait(until: { isShownHere }) else {
      throw PluginError(
        .unavailable, "namespace \(namespace.identity) is attached again, and the kernel has made no device of it")
    }
    try away.remove(namespace.identity)
  }

  private var isShownHere: Bool { access.sysfs.foundNamespaces().contains { $0.identity == namespace.identity } }

  /// The kernel waits for whoever has it open, and so would this thread.
  private func checkUnopened(_ function: SRIOVFunction) throws {
    guard let user = access.sysfs.vfioUser(of: function.address) else { return }
    throw PluginError(
      .unavailable,
      "process \(user) still has \(function.address) open through VFIO, where it reaches nothing of \(namespace.identity) any "
        + "more once it is taken back: end that process, and the namespace is free")
  }
}
