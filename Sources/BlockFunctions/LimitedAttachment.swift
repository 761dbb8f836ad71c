import FunctionPluginKit
import LinuxDevices
import Services

/// An extent with limits used on its disk's own host: the same storage daemon as for another host, and the same client. A
/// loop device cannot be held back, and what its user could change would be no limit.
struct LimitedAttachment: LocalAttachment {
  let part: FunctionExtent
  let daemon: StorageDaemon
  let disk: NetworkDisk

  /// Whether anything of it is on this host, wanted or not.
  var isThere: Bool { daemon.directory.exists || !disk.isAbsent }

  func attach() throws -> FunctionStatus {
    // A client whose daemon has gone never finds another.
    if !daemon.isRunning { try disk.disconnect() }
    _ = try daemon.serveHere(ServedExtent(part, for: .local))
    return part.completed(try disk.connect(), daemon.recordedLimits)
  }

  func current() throws -> FunctionStatus? {
    guard daemon.isRunning, let status = try disk.connected() else { return nil }
    return part.completed(status, daemon.recordedLimits)
  }

  func holder() throws -> String? {
    daemon.isProvenGone && disk.isAbsent ? nil : "a disk with limits"
  }

  /// First the daemon: nothing reaches the disk from then on.
  func detach() throws {
    try daemon.stop()
    try disk.disconnect()
  }
}
