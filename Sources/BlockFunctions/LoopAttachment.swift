import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// An extent used on its disk's own host: a loop device over it.
struct LoopAttachment: LocalAttachment {
  let part: FunctionExtent

  private var plan: FunctionPlan { part.plan }

  /// The loop device over exactly this extent, if there is one.
  func found() throws -> LoopDevice? {
    try LoopDevice.find(backing: part.disk.device, offset: part.extent.offsetBytes, size: part.extent.sizeBytes)
  }

  func attach() throws -> FunctionStatus {
    var loop = try found()
    if let other = loop, other.isReadOnly != plan.isReadOnly {
      try other.withdraw()
      loop = nil
    }
    let attached =
      try loop
      ?? LoopDevice.attach(
        to: part.disk.device, offset: part.extent.offsetBytes, size: part.extent.sizeBytes, readOnly: plan.isReadOnly)
    try plan.handover.give(attached.path)
    return try part.arrived(as: attached.path)
  }

  func current() throws -> FunctionStatus? {
    guard let loop = try found(), plan.handover.isGiven(loop.path) else { return nil }
    return try part.arrived(as: loop.path)
  }

  func holder() throws -> String? { try found()?.path }

  /// Cuts the device off from the extent, also while somebody holds it open or has mounted it: what was written and not
  /// yet flushed by a file system is lost then, as when a disk is pulled.
  func detach() throws {
    guard let loop = try found() else { return }
    try plan.handover.take(loop.path)
    do throws(SystemCallError) {
      try loop.withdraw()
    } catch {
      // Linux refuses to change a loop device under a mounted file system from 6.19 on.
      guard error.errno == EBUSY else { throw error }
      throw PluginError(
        .unavailable,
        "\(loop.path) of \(plan.function): \(error). Unmount it: this kernel takes no mounted device away.")
    }
    guard try found() == nil else {
      throw PluginError(.unavailable, "\(plan.function) is still attached when read back.")
    }
  }
}
