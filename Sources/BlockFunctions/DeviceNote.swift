import Glibc
import LinuxDevices

/// Tells udev which device is a claim's. Its rule finds the note by what the kernel says of the device, which no other device
/// will ever say: for a loop or mapped device its number with the count of disks that the kernel has seen, for a network block device
/// the name under which it was connected, for a whole disk its WWN.
struct DeviceNote: Sendable {
  static let directory = "/run/iov/names"
  let claim: String

  private var text: String { "IOV_CLAIM=\(claim)" }

  /// Instead of what was written for another device of the claim. A device that nothing names has no note.
  func write(for device: String) throws(SystemCallError) {
    let name = Self.name(of: device)
    try remove(except: name)
    guard let name, SmallFile.text(file(name)) != text else { return }
    try SmallFile.makeDirectory(Self.directory, mode: 0o755)
    try SmallFile.replace(file(name), with: Array((text + "\n").utf8), durably: false, mode: 0o644)
  }

  func remove() throws(SystemCallError) { try remove(except: nil) }

  /// Whether a device is still what it was written for: the kernel gives a device's number again. Of one that nothing names it is
  /// not known, and taken to be so.
  func isOf(_ device: String) -> Bool { Self.name(of: device).map { SmallFile.text(file($0)) == text } ?? true }

  /// Has udev look at the device again, where there is one; nobody else minds.
  func announce(_ device: String) {
    guard let kernelName = BlockDevice.kernelName(device),
      let event = try? FileDescriptor(opening: "/sys/class/block/\(kernelName)/uevent", O_WRONLY)
    else { return }
    try? SmallFile.append(Array("change".utf8), to: event, path: kernelName)
  }

  private func remove(except kept: String?) throws(SystemCallError) {
    for name in SmallFile.names(in: Self.directory) where name != kept && SmallFile.text(file(name)) == text {
      try SmallFile.remove(file(name))
    }
  }

  private func file(_ name: String) -> String { "\(Self.directory)/\(name)" }

  private static func name(of device: String) -> String? {
    guard let kernelName = BlockDevice.kernelName(device) else { return nil }
    let node = "/sys/class/block/\(kernelName)"
    func numbered(_ attribute: String) -> String? {
      SmallFile.text("\(node)/\(attribute)").map { "\(kernelName)-\($0)" }
    }
    let name =
      if kernelName.hasPrefix("loop") || kernelName.hasPrefix("dm-") {
        numbered("diskseq")
      } else if kernelName.hasPrefix("nbd") {
        numbered("backend")
      } else {
        SmallFile.text("\(node)/device/wwid") ?? SmallFile.text("\(node)/wwid")
      }
    return name.flatMap { $0.isEmpty || $0.contains("/") ? nil : $0 }
  }
}
