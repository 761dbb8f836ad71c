import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// A function used on the disk's own host: a loop device over its extent.
struct DirectAttachment: Sendable {
  let plan: FunctionPlan
  let disk: String
  let extent: Extent

  /// The loop device over exactly this extent, if there is one.
  func found() throws -> LoopDevice? {
    try LoopDevice.find(backing: disk, offset: extent.offsetBytes, size: extent.sizeBytes)
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
        to: disk, offset: extent.offsetBytes, size: extent.sizeBytes, readOnly: plan.isReadOnly)
    try plan.link.make(to: attached.path)
    return try status(attached)
  }

  func status(_ loop: LoopDevice) throws -> FunctionStatus {
    let facts = try BlockDevice.facts(loop.path)
    guard facts.sizeBytes == extent.sizeBytes, facts.isReadOnly == plan.isReadOnly else {
      throw PluginError(
        .internalError,
        "\(loop.path) has \(facts.sizeBytes) bytes and read-only \(facts.isReadOnly) instead of \(extent.sizeBytes) and "
          + "\(plan.isReadOnly).")
    }
    return plan.arrived(device: plan.link.path, sizeBytes: facts.sizeBytes, isReadOnly: facts.isReadOnly)
  }

  /// Whether the link that its user was told of leads to the device.
  func isLinked(to loop: LoopDevice) -> Bool { plan.link.target == loop.path }

  /// Cuts the device off from the extent, also while somebody holds it open or has mounted it: what was written and not
  /// yet flushed by a file system is lost then, as when a disk is pulled.
  func detach() throws {
    guard let loop = try found() else { return }
    try plan.link.remove(to: loop.path)
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
