import FunctionPluginKit
import LinuxDevices
import Services

/// Where a running virtual machine gets a function.
struct MachineSlot: Sendable, Hashable {
  /// A guest that does not let go keeps a disk that answers with errors: it is cut off all the same.
  private static let patience = Duration.seconds(5)
  private let monitor: String
  /// Empty: a spare one.
  private let bus: String
  private let id: String

  /// Nil: the consumer is no machine, or one that is yet to be started.
  init?(_ assignment: Assignment) {
    guard case .virtualMachine(let machine) = assignment.consumer?.kind, !machine.qmpSocket.isEmpty else { return nil }
    monitor = machine.qmpSocket
    bus = machine.bus
    id = "iov-" + StableDigest.hexadecimal(assignment.function)
  }

  func plug(_ source: MachineDiskSource) throws {
    var machine = try machine()
    if try machine.has(id) { return }
    try machine.plugDisk(source, as: id, into: port(of: &machine))
  }

  /// A virtual function, which the machine drives.
  func plug(_ function: PCIAddress) throws {
    var machine = try machine()
    if try machine.has(id) { return }
    try machine.plug(function, as: id, into: port(of: &machine))
  }

  private func port(of machine: inout VirtualMachine) throws -> String {
    guard let port = bus.isEmpty ? try machine.sparePorts().first : bus else {
      throw PluginError(
        .resourceExhausted,
        "the machine behind \(monitor) has no PCI Express port free: start it with more (-device pcie-root-port)")
    }
    return port
  }

  var isPlugged: Bool {
    guard var machine = try? machine() else { return false }
    return (try? machine.has(id)) ?? false
  }

  /// As far as the guest lets it go in time. A machine that has ended has let go.
  func unplug() {
    guard var machine = try? machine() else { return }
    try? machine.unplugDisk(id, patience: Self.patience)
  }

  private func machine() throws -> VirtualMachine {
    do {
      return VirtualMachine(monitor: try QMPConnection(path: monitor, timeoutMilliseconds: 2000))
    } catch {
      throw PluginError(
        .unavailable,
        "no virtual machine answers at \(monitor) (\(error)): start it with -qmp unix:\(monitor),server=on,wait=off")
    }
  }
}
