import FunctionPluginKit
import LinuxDevices
import Services

/// An extent used by a virtual machine of its disk's host: a storage daemon plays a virtio disk, whose queues it shares with
/// the guest. The machine never has the disk itself: when the daemon ends, so does the machine's way to it.
struct MachineAttachment: LocalAttachment {
  let part: FunctionExtent
  let daemon: StorageDaemon
  /// Nil: the machine is yet to be started, with the socket.
  let slot: MachineSlot?

  func attach() throws -> FunctionStatus {
    // A machine whose daemon has gone connects to no other by itself.
    if !daemon.isRunning { slot?.unplug() }
    let socket = try daemon.serveHere(ServedExtent(part, for: .machine))
    try slot?.plug(.vhostUser(socket: socket))
    guard let status = try current() else {
      throw PluginError(.unavailable, "\(part.plan.function) is not in its machine when read back.")
    }
    return status
  }

  func current() throws -> FunctionStatus? {
    guard daemon.isRunning, let limits = daemon.recordedLimits, slot?.isPlugged ?? true else { return nil }
    let status = part.plan.arrived(sizeBytes: part.extent.sizeBytes, isReadOnly: part.plan.isReadOnly) {
      $0.vhostUserSocket = daemon.localSocket
    }
    return part.completed(status, limits)
  }

  func holder() throws -> String? { daemon.isProvenGone ? nil : "a disk of a virtual machine" }

  func detach() throws {
    slot?.unplug()
    try daemon.stop()
  }
}
