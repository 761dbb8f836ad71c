import FunctionPluginKit
import LinuxDevices

/// Where disks are found, and how they are spoken to. Tests have a kernel and disks of their own.
struct DiskAccess: Sendable {
  var sysfs = Sysfs()
  var devices = "/dev"
  var open: @Sendable (_ path: String) throws -> any SCSITransport = { try SCSIPath($0) }
  /// How long a disk that was pulled may take to come back. An expander is asked anew within seconds, a disk that spins up takes
  /// ten or more.
  var patience: Duration = .seconds(30)
  /// How long a disk that erases itself is left alone before it is asked again how far it is.
  var erasingPause: Duration = .seconds(2)
  /// For operators.
  var tell: @Sendable (_ news: String) -> Void = { _ in }

  func devicePath(of path: SCSIUnitPath) -> String { "\(devices)/\(path.blockName ?? "")" }

  /// Below /dev/disk or the like, where udev has names by what a disk is; "/dev/sdb" may be another disk tomorrow.
  func isStableName(_ path: String) -> Bool {
    path.dropFirst(devices.utf8.count + 1).contains("/")
  }

  /// The path of the disk that a link leads to now.
  func path(of disk: DiskPaths, behind link: String) -> SCSIUnitPath? {
    guard let device = BlockDevice.kernelName(link) else { return nil }
    return disk.paths.first { $0.blockName == device }
  }

  /// Ways for commands; those paths that cannot be opened just now are left out, if there is another.
  func transports(to disk: DiskPaths) throws -> [any SCSITransport] {
    var failure: (any Error)?
    var transports: [any SCSITransport] = []
    for path in disk.paths {
      guard let device = path.devicePath(under: devices) else { continue }
      do { transports.append(try open(device)) } catch { failure = failure ?? error }
    }
    if transports.isEmpty, let failure { throw PluginError(.unavailable, "\(disk.name): \(failure)") }
    return transports
  }
}
