import LinuxDevices

/// A namespace of which this host has a block device, and by which controllers it is reached.
struct FoundNamespace: Sendable, Hashable {
  var subsystem: NVMeSubsystem
  var namespace: NVMeNamespace
  /// Those that are live first; one at least.
  var controllers: [NVMeController]

  /// The controller that is asked.
  var controller: NVMeController

  init?(_ namespace: NVMeNamespace, of subsystem: NVMeSubsystem) {
    let own = subsystem.controllers.filter { namespace.controllers.contains($0.name) }
    controllers = own.filter { $0.state == .live } + own.filter { $0.state != .live }
    guard let first = controllers.first else { return nil }
    controller = first
    self.subsystem = subsystem
    self.namespace = namespace
  }

  /// The namespace's own name; without one, its number in its drive.
  var name: DiskName {
    namespace.name
      ?? DiskName(rank: .serialNumber, text: "\(subsystem.serialNumber)-ns\(namespace.number)")
  }

  var identity: String { name.identifier }
}

extension Sysfs {
  func foundNamespaces() -> [FoundNamespace] {
    nvmeSubsystems().flatMap { subsystem in subsystem.namespaces.compactMap { FoundNamespace($0, of: subsystem) } }
  }
}
