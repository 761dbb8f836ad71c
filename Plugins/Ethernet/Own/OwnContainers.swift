import FunctionPluginKit
import LinuxDevices
import Services

/// Functions for containers: a container engine takes one by the name of a device (CDI). Its runtime moves the interface into
/// the container and, when that ends, leaves it to the kernel, which puts it back here; or it gives the container the files by
/// which a program drives the function.
extension EthernetFunctions {
  static let containerVendor = "iovmesh.io"

  /// By the claim's name, which people know, where CDI allows it.
  func containerDevice(_ plan: FunctionPlan) throws -> ContainerDevice {
    let vendor = Self.containerVendor
    guard
      let device = ContainerDevice(vendor: vendor, deviceClass: EthernetPlugin.deviceClass, name: plan.claim)
        ?? ContainerDevice(vendor: vendor, deviceClass: EthernetPlugin.deviceClass, name: plan.names.interface)
    else { throw PluginError(.internalError, "\(plan.names.interface) cannot name a container's device") }
    return device
  }

  /// With what the container gets of the function. The number of its group is another one after a reboot.
  private func containerDevice(_ plan: FunctionPlan, _ function: SRIOVFunction) throws -> ContainerDevice {
    var device = try containerDevice(plan)
    if plan.consumer.drivesFunction {
      try device.give(sysfs.vfioDevice(of: function.address), of: function.address)
    } else {
      device.interfaces = [plan.names.interface: plan.interfaceName]
    }
    return device
  }

  func offerToContainers(_ plan: FunctionPlan, _ function: SRIOVFunction) throws {
    guard case .container = plan.consumer else { return }
    try containers.write(containerDevice(plan, function))
  }

  /// No engine finds it any more. A container that has it already is told by the interface that goes, and a program by the
  /// function that does.
  func withdrawFromContainers(_ plan: FunctionPlan) throws {
    guard case .container = plan.consumer else { return }
    try containers.remove(containerDevice(plan))
  }

  func isOfferedToContainers(_ plan: FunctionPlan, _ function: SRIOVFunction) -> Bool {
    guard let device = try? containerDevice(plan, function) else { return false }
    return containers.has(device)
  }
}
