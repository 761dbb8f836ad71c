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
    guard let loop = try LoopDevice.find(backing: disk, offset: extent.offsetBytes), loop.sizeBytes == extent.sizeBytes
    else {
      return nil
    }
    return loop
  }

  func attach() throws -> FunctionStatus {
    var loop = try found()
    if let other = loop, other.isReadOnly != plan.isReadOnly {
      try other.detach()
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

  /// Throws while somebody holds the device open: as long as that lasts, it can be written to.
  func detach() throws {
    guard let loop = try found() else { return }
    do throws(SystemCallError) {
      try loop.detach()
    } catch {
      guard error.errno == EBUSY else { throw error }
      throw PluginError(.unavailable, "\(plan.link.path): \(error). Unmount it or stop who uses it.")
    }
    try plan.link.remove(to: loop.path)
  }
}
