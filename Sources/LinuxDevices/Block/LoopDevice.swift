import CLinux
import Glibc

/// A loop device that is attached to an extent of a file or device.
public struct LoopDevice: Sendable, Hashable {
  /// "/dev/loop3"
  public let path: String
  /// Another one each time something is attached: tells this use of the path from later ones.
  public let sequence: UInt64
  /// What is behind it, as the kernel keeps it: names may have changed since.
  public let backingDevice: UInt64
  public let backingInode: UInt64
  public let offsetBytes: UInt64
  /// Zero: to the end.
  public let sizeBytes: UInt64
  public let isReadOnly: Bool

  /// How often a device that another process took first is tried again.
  private static let attempts = 64

  /// Attaches an extent, with direct I/O where the file below can. Several loop devices may share one file.
  public static func attach(
    to backing: String, offset: UInt64, size: UInt64, readOnly: Bool
  ) throws(SystemCallError) -> LoopDevice {
    let file = try FileDescriptor(opening: backing, readOnly ? O_RDONLY : O_RDWR)
    // Before Linux 6.17 a loop device takes the size that the kernel remembers of the file. Of a file that is itself the root
    // of a FUSE mount, as nbdfuse's, it remembers none until somebody asks.
    var facts = stat()
    guard fstat(file.number, &facts) == 0 else { throw SystemCallError("look at \(backing)", errno: Glibc.errno) }
    let control = try FileDescriptor(opening: "/dev/loop-control", O_RDWR)
    for _ in 0..<attempts {
      let number = try checked(iov_loop_free_number(control.number), "find a free loop device")
      let path = "/dev/loop\(number)"
      guard let device = try openUnlessGoing(path, readOnly ? O_RDONLY : O_RDWR) else { continue }
      let result = iov_loop_configure(device.number, file.number, offset, size, 0, readOnly ? 1 : 0, 1, backing)
      if result == -EBUSY { continue }
      try checked(result, "attach \(path) to \(backing)")
      guard let loop = try status(path) else { throw SystemCallError("read back \(path)", errno: ENXIO) }
      return loop
    }
    throw SystemCallError("find a free loop device in \(attempts) attempts", errno: EBUSY)
  }

  /// Nil while the device's former use is on its way out of the kernel, which takes a moment (ENXIO): it is given out as
  /// free before that.
  private static func openUnlessGoing(_ path: String, _ flags: CInt) throws(SystemCallError) -> FileDescriptor? {
    do throws(SystemCallError) {
      return try FileDescriptor(opening: path, flags)
    } catch {
      guard error.errno == ENXIO else { throw error }
      usleep(1000)
      return nil
    }
  }

  /// All that are attached.
  public static func all() -> [LoopDevice] {
    var devices: [LoopDevice] = []
    for name in SmallFile.names(in: "/sys/block") where name.hasPrefix("loop") {
      // Opening an unattached loop device is harmless but slow; its directory tells.
      guard access("/sys/block/\(name)/loop", F_OK) == 0 else { continue }
      // The kernel asks the file behind the device before it answers. One whose file system is dead (ENOTCONN from FUSE)
      // must not keep anybody from finding the others.
      if let device = try? status("/dev/\(name)") { devices.append(device) }
    }
    return devices
  }

  /// The one on an extent of a file or device, of `size` bytes if that is given; none that is given up.
  public static func find(backing: String, offset: UInt64, size: UInt64? = nil) throws(SystemCallError) -> LoopDevice? {
    var facts = stat()
    guard stat(backing, &facts) == 0 else {
      if errno == ENOENT { return nil }
      throw SystemCallError("stat \(backing)", errno: Glibc.errno)
    }
    let (device, inode) = (UInt64(facts.st_dev), UInt64(facts.st_ino))
    for name in SmallFile.names(in: "/sys/block") where name.hasPrefix("loop") {
      // Asked first, because whoever has a device open keeps others from detaching it.
      let node = "/sys/block/\(name)/loop"
      guard SmallFile.text("\(node)/offset") == "\(offset)",
        size.map({ SmallFile.text("\(node)/sizelimit") == "\($0)" }) ?? true, !isGivenUp(name),
        let found = try? status("/dev/\(name)")
      else { continue }
      if found.backingDevice == device, found.backingInode == inode, found.offsetBytes == offset { return found }
    }
    return nil
  }

  /// Whether the device goes with its last user, as one does that was withdrawn while somebody had it open.
  public static func isGivenUp(_ path: String) -> Bool {
    SmallFile.text("/sys/block/\(path.split(separator: "/").last ?? "")/loop/autoclear") == "1"
  }

  /// Counts what was ever attached there; nil if nothing is. Asks the kernel alone, never the file behind the device.
  public static func attachedSequence(_ path: String) -> UInt64? {
    let node = "/sys/block/\(path.split(separator: "/").last ?? "")"
    guard access("\(node)/loop", F_OK) == 0 else { return nil }
    return SmallFile.text("\(node)/diskseq").flatMap { UInt64($0) } ?? 0
  }

  /// What is attached there now, nil if nothing is. An error of the file behind the device is thrown.
  public static func status(_ path: String) throws(SystemCallError) -> LoopDevice? {
    let device: FileDescriptor
    do throws(SystemCallError) {
      device = try FileDescriptor(opening: path, O_RDONLY)
    } catch {
      if error.errno == ENXIO || error.errno == ENOENT { return nil }
      throw error
    }
    var status = iov_loop_status()
    let result = iov_read_loop_status(device.number, &status)
    if result == -ENXIO { return nil }
    try checked(result, "read the status of \(path)")
    guard let sequence = attachedSequence(path) else { return nil }
    return LoopDevice(
      path: path, sequence: sequence, backingDevice: status.backing_device, backingInode: status.backing_inode,
      offsetBytes: status.offset_bytes, sizeBytes: status.size_limit_bytes, isReadOnly: status.read_only != 0)
  }

  /// Detaches and reads back. EBUSY if somebody keeps it open or mounted: it goes when they let go, not before.
  ///
  /// Blocks for up to `patienceMilliseconds`: programs such as udev look at every new device for a moment.
  public func detach(patienceMilliseconds: Int = 2000) throws(SystemCallError) {
    try Self.detach(path, sequence: sequence, patienceMilliseconds: patienceMilliseconds)
  }

  /// As above, also when the file behind the device does not answer any more.
  public static func detach(
    _ path: String, sequence: UInt64, patienceMilliseconds: Int = 2000
  ) throws(SystemCallError) {
    for _ in 0...max(0, patienceMilliseconds) {
      guard attachedSequence(path) == sequence else { return }
      do {
        guard let device = try openUnlessGoing(path, O_RDONLY) else { continue }
        // It may have been taken for something else before it was open.
        guard attachedSequence(path) == sequence else { return }
        let result = iov_loop_clear(device.number)
        if result != -ENXIO, result != -EBUSY { try checked(result, "detach \(path)") }
      }
      guard attachedSequence(path) == sequence else { return }
      usleep(1000)
    }
    throw SystemCallError("detach \(path), which somebody holds open or has mounted", errno: EBUSY)
  }

  /// Takes the device from its users at once. One that nobody has open is gone on return. Any other has no size and no
  /// way to what is behind it from then on, whoever holds it open or has mounted it, and goes with its last user.
  ///
  /// A user with write access to the device node itself can set its extent anew (LOOP_SET_STATUS64): that is root, or
  /// somebody whom root gave the node.
  public func withdraw() throws(SystemCallError) {
    if try !Self.release(path, sequence: sequence) { try cut() }
    guard let left = try Self.status(path), left.sequence == sequence else { return }
    let isCut = left.offsetBytes != offsetBytes && Self.isGivenUp(path) && (try? BlockDevice.facts(path).sizeBytes) == 0
    // Its last user may have let go while it was looked at, and taken all signs with it.
    guard isCut || Self.attachedSequence(path) != sequence else {
      throw SystemCallError("withdraw \(path)", errno: EBUSY)
    }
  }

  /// Detaches the device, or leaves it to go with its last user: right for one whose backing file is dead already.
  /// Answers whether it is gone.
  @discardableResult
  public static func release(_ path: String, sequence: UInt64) throws(SystemCallError) -> Bool {
    guard attachedSequence(path) == sequence else { return true }
    do {
      guard let device = try openUnlessGoing(path, O_RDONLY) else { return attachedSequence(path) != sequence }
      // It may have been taken for something else before it was open.
      guard attachedSequence(path) == sequence else { return true }
      let result = iov_loop_clear(device.number)
      if result != -ENXIO { try checked(result, "detach \(path)") }
    }
    return attachedSequence(path) != sequence
  }

  private func cut() throws(SystemCallError) {
    guard let device = try Self.openUnlessGoing(path, O_RDONLY) else { return }
    guard Self.attachedSequence(path) == sequence else { return }
    let result = iov_loop_cut(device.number)
    if result == -ENXIO { return }
    try checked(result, "cut \(path) off, which somebody holds open or has mounted,")
  }
}
