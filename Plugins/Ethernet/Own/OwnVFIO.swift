import FunctionPluginKit
import LinuxDevices
import Services

/// Functions whose consumer drives them itself: virtual machines, and programs with a driver of their own.
extension EthernetFunctions {
  func attachByVFIO(_ plan: FunctionPlan, _ function: SRIOVFunction, of card: OwnCard) throws {
    if try isInUse(plan, function, of: card) { return try applySettings(plan, to: function.index, of: card) }
    // What drives it now reads its address once. Whoever has it open through VFIO keeps it: that is its consumer, if it
    // is a function of this plan's.
    if function.driver.map(DriverBinding.isVFIO) != true { try takeBack(plan, function, of: card) }
    try applySettings(plan, to: function.index, of: card)
    try binding.bindToVFIO(function.address)
    _ = try sysfs.vfioDevice(of: function.address)
    try offerToContainers(plan, function)
    guard case .virtualMachine(let machine) = plan.consumer, !machine.qmpSocket.isEmpty else { return }
    var qemu = try machineBehind(machine)
    let port: String
    if !machine.bus.isEmpty {
      port = machine.bus
    } else if let spare = try qemu.sparePorts().first {
      port = spare
    } else {
      throw PluginError(
        .resourceExhausted,
        "the machine behind \(machine.qmpSocket) has no PCI Express port free: start it with more (-device pcie-root-port)"
      )
    }
    try qemu.plug(function.address, as: plan.names.interface, into: port)
  }

  /// Has the machine let go of the function, if it runs. Returns when the machine has said that it has.
  func unplug(_ plan: FunctionPlan, _ function: SRIOVFunction) throws {
    guard case .virtualMachine(let machine) = plan.consumer, !machine.qmpSocket.isEmpty else { return }
    // A machine that has ended has let go.
    guard var qemu = try? machineBehind(machine) else { return }
    try qemu.unplug(plan.names.interface, patience: .seconds(20))
  }

  func isPlugged(_ plan: FunctionPlan) -> Bool {
    guard case .virtualMachine(let machine) = plan.consumer, !machine.qmpSocket.isEmpty else { return true }
    guard var qemu = try? machineBehind(machine) else { return false }
    return (try? qemu.has(plan.names.interface)) ?? false
  }

  private func machineBehind(_ machine: VirtualMachineConsumer) throws -> VirtualMachine {
    do {
      return VirtualMachine(monitor: try QMPConnection(path: machine.qmpSocket, timeoutMilliseconds: 2000))
    } catch {
      throw PluginError(
        .unavailable,
        "no virtual machine answers at \(machine.qmpSocket) on host \(hostName) (\(error)): start it with "
          + "-qmp unix:\(machine.qmpSocket),server=on,wait=off")
    }
  }
}
