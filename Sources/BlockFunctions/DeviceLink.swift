import FunctionPluginKit
import Glibc
import LinuxDevices

/// The name under which a claim's disk is found on its host: `/dev/iov/<claim>`, a symbolic link.
///
/// Where a udevd runs with the rule that ships (`cluster/systemd/70-iov.rules`), it makes and mends the same link, by what
/// `DeviceNote` has written down.
struct DeviceLink: Sendable, Hashable {
  static let directory = "/dev/iov"
  let path: String
  private let claim: String

  /// Claims' names are checked by the coordinator; here they become file names, so they are checked again.
  init(claim: String) throws(PluginError) {
    guard !claim.isEmpty, claim != ".", claim != "..", claim.utf8.count < 200, !claim.utf8.contains(UInt8(ascii: "/"))
    else {
      throw PluginError(.invalidArgument, "Claim '\(claim)' cannot be a file name in \(Self.directory).")
    }
    self.claim = claim
    path = "\(Self.directory)/\(claim)"
  }

  /// Every one that is there.
  static var all: [DeviceLink] {
    SmallFile.names(in: directory).filter { !$0.hasPrefix(".") }.compactMap { try? DeviceLink(claim: $0) }
  }

  /// What a process leaves that is killed before it gives the link its name.
  private var temporary: String { "\(Self.directory)/.\(path.split(separator: "/").last ?? "").new" }

  private var note: DeviceNote { DeviceNote(claim: claim) }

  /// Where it leads; udev writes that from the link's own directory, and so does `make`.
  var target: String? {
    guard let text = text else { return nil }
    return text.hasPrefix("../") ? "/dev/" + text.dropFirst(3) : text
  }

  /// Where it leads, if that is still the device that the claim was given.
  var given: String? { target.flatMap { note.isOf($0) ? $0 : nil } }

  /// Also where the link and the device's own path are two links to it.
  func leads(to device: String) -> Bool {
    guard let target else { return false }
    return target == device || SmallFile.resolved(target).map { $0 == SmallFile.resolved(device) } ?? false
  }

  private var text: String? { SmallFile.linkTarget(path) }

  func make(to device: String) throws(SystemCallError) {
    try note.write(for: device)
    defer { note.announce(device) }
    if leads(to: device) { return }
    try SmallFile.makeDirectory(Self.directory, mode: 0o755)
    try SmallFile.remove(temporary)
    let isInDev = device.hasPrefix("/dev/") && device.split(separator: "/").count == 2
    guard symlink(isInDev ? "../" + device.dropFirst(5) : device, temporary) == 0 else {
      throw SystemCallError("link \(temporary)", errno: errno)
    }
    guard rename(temporary, path) == 0 else { throw SystemCallError("rename \(temporary)", errno: errno) }
  }

  /// Removes the link if it leads to this device: another claim of that name may have made it anew.
  func remove(to device: String) throws(SystemCallError) {
    guard leads(to: device) else { return }
    try note.remove()
    try SmallFile.remove(path)
    note.announce(device)
  }

  /// Removes the link wherever it leads: its device may have been detached by somebody else, and its number given on.
  func remove() throws(SystemCallError) {
    let device = target
    try note.remove()
    try SmallFile.remove(temporary)
    try SmallFile.remove(path)
    if let device { note.announce(device) }
  }
}
