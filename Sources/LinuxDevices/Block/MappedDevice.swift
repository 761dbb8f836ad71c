import CLinux
import Glibc

/// A part of a block device as a block device of its own: the device mapper's linear target. The kernel adds an offset to each
/// request and hands it on, in the same thread and without a copy. While there is one, nobody can mount the device below.
///
/// By Documentation/admin-guide/device-mapper/linear.rst of the kernel and its <linux/dm-ioctl.h>.
public struct MappedDevice: Sendable, Hashable {
  /// "iov-3f2a…": a use's own.
  public let name: String
  /// "/dev/dm-3"
  public let path: String
  /// The number of the device below, as `stat` has it.
  public let lower: UInt64
  public let offsetBytes: UInt64
  public let sizeBytes: UInt64
  public let isReadOnly: Bool
  /// Whether it leads anywhere and stays: not once it is withdrawn.
  public let isInUse: Bool

  /// What all of them are called, and how others can tell them from devices that are not the product's.
  public static let prefix = "iov-"
  private static let sectorBytes: UInt64 = 512

  /// Nil: this kernel has no device mapper, or this place no way to it.
  /// Whatever else keeps it from being opened tells nothing of the devices that are there.
  private static func control() throws(SystemCallError) -> FileDescriptor? {
    do throws(SystemCallError) {
      return try FileDescriptor(opening: "/dev/mapper/control", O_RDWR)
    } catch {
      guard [ENOENT, ENODEV, ENXIO, EACCES, EPERM].contains(error.errno) else { throw error }
      return nil
    }
  }

  public static var isPossible: Bool { ((try? control()) ?? nil) != nil }

  /// Maps a part. Both ends are multiples of the device's logical sector.
  ///
  /// - Throws: EBUSY when the name is taken, or the kernel uses the device below for something else: it is mounted, swap space,
  ///   part of an array.
  public static func make(
    _ name: String, over lower: String, offset: UInt64, size: UInt64, readOnly: Bool
  ) throws(SystemCallError) -> MappedDevice {
    let control = try FileDescriptor(opening: "/dev/mapper/control", O_RDWR)
    guard let number = BlockDevice.number(lower) else { throw SystemCallError("look at \(lower)", errno: ENOTBLK) }
    try checked(iov_mapper_create(control.number, name), "make the mapped device \(name)")
    do throws(SystemCallError) {
      try checked(
        iov_mapper_load_linear(
          control.number, name, size / sectorBytes, number, offset / sectorBytes, readOnly ? 1 : 0),
        "map bytes \(offset) to \(offset + size) of \(lower)")
      try checked(iov_mapper_resume(control.number, name), "start the mapped device \(name)")
    } catch {
      _ = iov_mapper_remove(control.number, name, 0)
      throw error
    }
    guard let made = try find(name) else { throw SystemCallError("read back the mapped device \(name)", errno: ENXIO) }
    return made
  }

  public static func find(_ name: String) throws(SystemCallError) -> MappedDevice? {
    guard let control = try control() else { return nil }
    var mapping = iov_mapping()
    let result = iov_mapper_read(control.number, name, &mapping)
    if result == -ENXIO { return nil }
    try checked(result, "read the table of the mapped device \(name)")
    return MappedDevice(
      name: name, path: "/dev/dm-\(mapping.minor)", lower: mapping.lower,
      offsetBytes: mapping.start_sectors * sectorBytes, sizeBytes: mapping.length_sectors * sectorBytes,
      isReadOnly: mapping.read_only != 0, isInUse: mapping.is_linear != 0 && mapping.goes == 0)
  }

  /// All of the product's over a device.
  public static func all(over lower: String) throws(SystemCallError) -> [MappedDevice] {
    var devices: [MappedDevice] = []
    for name in names(over: lower) {
      if let device = try find(name) { devices.append(device) }
    }
    return devices
  }

  /// Who has them has the device below for itself: nobody else of the kernel's has it or a part of it.
  static func names(over lower: String, sysfs: String = "/sys") -> [String] {
    guard let kernelName = BlockDevice.kernelName(lower) else { return [] }
    return SmallFile.names(in: "\(sysfs)/class/block/\(kernelName)/holders")
      .compactMap { SmallFile.text("\(sysfs)/class/block/\($0)/dm/name") }
      .filter { $0.hasPrefix(prefix) }
  }

  /// Takes the device from its users at once, and its name with it. One that nobody has open is gone on return. With any
  /// other every request fails from then on, whoever holds it open or has mounted it, and it goes with its last user.
  public func withdraw() throws(SystemCallError) {
    let control = try FileDescriptor(opening: "/dev/mapper/control", O_RDWR)
    // The name may be another's by now.
    guard try Self.find(name)?.path == path else { return }
    let removed = iov_mapper_remove(control.number, name, 0)
    guard removed == -EBUSY else {
      if removed != -ENXIO { try checked(removed, "remove the mapped device \(name)") }
      return
    }
    guard try cut(control) else { return }
    guard let left = try Self.find(retiredName) else { return }
    guard !left.isInUse else { throw SystemCallError("withdraw \(path)", errno: EBUSY) }
  }

  /// What it is called until its last user lets go: no other device can be in its place so long.
  private var retiredName: String { "\(Self.prefix)gone-\(path.split(separator: "-").last ?? "")" }

  /// False: its last user let go meanwhile.
  private func cut(_ control: FileDescriptor) throws(SystemCallError) -> Bool {
    let device = control.number
    let steps: [(name: String, perform: () -> CInt)] = [
      ("suspend", { iov_mapper_suspend(device, name) }),
      ("cut off", { iov_mapper_load_error(device, name, max(1, sizeBytes / Self.sectorBytes)) }),
      ("resume", { iov_mapper_resume(device, name) }),
      ("remove", { iov_mapper_remove(device, name, 1) }),
      ("rename", { iov_mapper_rename(device, name, retiredName) }),
    ]
    for step in steps {
      let result = step.perform()
      if result == -ENXIO { return false }
      try checked(result, "\(step.name) \(path), which somebody holds open or has mounted,")
    }
    return true
  }
}
