import FunctionPluginKit
import LinuxDevices
import Services

/// Functions for containers: a container engine takes one by the name of a device (CDI), and its runtime moves the interface
/// into the container and, when that ends, leaves it to the kernel, which puts it back here.
extension EthernetFunctions {
  static let containerVendor = "iovmesh.io"

  /// By the claim's name, which people know, where CDI allows it.
  func containerDevice(_ plan: FunctionPlan) throws -> ContainerDevice {
    let vendor = Self.containerVendor
    guard
      var device = ContainerDevice(vendor: vendor, deviceClass: EthernetPlugin.deviceClass, name: plan.claim)
        ?? ContainerDevice(vendor: vendor, deviceClass: EthernetPlugin.deviceClass, name: plan.names.interface)
    else { throw PluginError(.internalError, "\(plan.names.interface) cannot name a container's device") }
    device.interfaces = [plan.names.interface: plan.interfaceName]
    return device
  }

  func offerToContainers(_ plan: FunctionPlan) throws {
    guard case .container = plan.consumer else { return }
    try containers.write(containerDevice(plan))
  }

  /// No engine finds it any more. A container that has it already is told by the interface that goes.
  func withdrawFromContainers(_ plan: FunctionPlan) throws {
    guard case .container = plan.consumer else { return }
    try containers.remove(containerDevice(plan))
  }

  func isOfferedToContainers(_ plan: FunctionPlan) -> Bool {
    guard let device = try? containerDevice(plan) else { return false }
    return containers.has(device)
  }
}
