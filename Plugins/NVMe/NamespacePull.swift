import FunctionPluginKit
import LinuxDevices

/// Takes a namespace from whoever has it open on this host: its block device goes, and another one comes.
struct NamespacePull {
  let access: NVMeAccess
  let found: FoundNamespace
  /// Whether its drive attaches and detaches namespaces.
  let canManage: Bool
  /// How the configuration names it.
  let path: String
  let pulled: PulledNamespaces

  func carryOut() throws {
    let identifiers = found.controllers.compactMap(\.identifier)
    if canManage, identifiers.count == found.controllers.count {
      try attachAnew(identifiers)
    } else if let address = aloneBehind {
      try removeAndFind(address)
    } else {
      throw PluginError(
        .unavailable,
        "\(found.namespace.blockName) cannot be taken from whoever has it open: its drive attaches no namespaces, and its "
          + "controller has others besides. End who uses it, or unmount it.")
    }
  }

  private func attachAnew(_ controllers: [UInt16]) throws {
    let drive = try access.transport(to: found.controller)
    let namespace = PulledNamespace(found, path: path, controllers: controllers)
    try pulled.write(namespace)
    try drive.send(NamespaceAttachment(.detach, namespace: found.namespace.number, controllers: controllers))
    access.lookAgain(found.controllers.map(\.name))
    let isGone = access.wait { !isThere }
    // Also when the kernel has not noticed: nobody is to find the drive without its namespace.
    try namespace.attachAgain(access)
    try pulled.remove(namespace.identity)
    guard isGone else {
      throw PluginError(
        .unavailable,
        "\(found.namespace.blockName) was detached from its controllers, and the kernel kept its device for "
          + "\(access.patience): look at the kernel's log.")
    }
  }

  private var isThere: Bool { access.sysfs.exists("block/\(found.namespace.blockName)") }

  /// Of a controller that has nothing but this namespace, and no virtual functions.
  private var aloneBehind: PCIAddress? {
    guard found.controllers.count == 1, let address = found.controller.address,
      found.subsystem.namespaces.filter({ $0.controllers.contains(found.controller.name) }).count == 1,
      access.sysfs.sriovCapability(of: address)?.count ?? 0 == 0
    else { return nil }
    return address
  }

  private func removeAndFind(_ address: PCIAddress) throws {
    try access.sysfs.write(1, to: "\(address.sysfsPath)/remove")
    let isGone = access.wait { !access.sysfs.exists(address.sysfsPath) && !isThere }
    try access.sysfs.write(1, to: "bus/pci/rescan")
    guard isGone else {
      throw PluginError(.unavailable, "\(address) was removed and is still there after \(access.patience).")
    }
  }
}
