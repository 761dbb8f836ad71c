import FunctionPluginKit
import Glibc
import LinuxDevices

/// The name under which a claim's disk is found on its host: `/dev/iov/<claim>`, a symbolic link.
struct DeviceLink: Sendable, Hashable {
  static let directory = "/dev/iov"
  let path: String

  /// Claims' names are checked by the coordinator; here they become file names, so they are checked again.
  init(claim: String) throws(PluginError) {
    guard !claim.isEmpty, claim != ".", claim != "..", claim.utf8.count < 200, !claim.utf8.contains(UInt8(ascii: "/"))
    else {
      throw PluginError(.invalidArgument, "Claim '\(claim)' cannot be a file name in \(Self.directory).")
    }
    path = "\(Self.directory)/\(claim)"
  }

  /// What a process leaves that is killed before it gives the link its name.
  private var temporary: String { "\(Self.directory)/.\(path.split(separator: "/").last ?? "").new" }

  var target: String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 257) { buffer in
      guard let base = buffer.baseAddress else { return nil }
      let count = readlink(path, base, buffer.count - 1)
      guard count > 0 else { return nil }
      base[count] = 0
      return String(cString: base)
    }
  }

  func make(to device: String) throws(SystemCallError) {
    if target == device { return }
    try SmallFile.makeDirectory(Self.directory, mode: 0o755)
    try SmallFile.remove(temporary)
    guard symlink(device, temporary) == 0 else { throw SystemCallError("link \(temporary)", errno: errno) }
    guard rename(temporary, path) == 0 else { throw SystemCallError("rename \(temporary)", errno: errno) }
  }

  /// Removes the link if it leads to this device: another claim of that name may have made it anew.
  func remove(to device: String) throws(SystemCallError) {
    if target == device { try SmallFile.remove(path) }
  }

  /// Removes the link wherever it leads: its device may have been detached by somebody else, and its number given on.
  func remove() throws(SystemCallError) {
    try SmallFile.remove(temporary)
    try SmallFile.remove(path)
  }
}
