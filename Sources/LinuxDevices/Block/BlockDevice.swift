import CLinux
import Glibc

/// What the kernel says of a block device.
public struct BlockFacts: Sendable, Hashable {
  public var sizeBytes: UInt64
  public var logicalSectorBytes: UInt32
  public var physicalSectorBytes: UInt32
  public var isReadOnly: Bool

  public init(sizeBytes: UInt64, logicalSectorBytes: UInt32, physicalSectorBytes: UInt32, isReadOnly: Bool) {
    self.sizeBytes = sizeBytes
    self.logicalSectorBytes = logicalSectorBytes
    self.physicalSectorBytes = physicalSectorBytes
    self.isReadOnly = isReadOnly
  }
}

/// Questions about a block device, by path.
public enum BlockDevice {
  public static func facts(_ path: String) throws(SystemCallError) -> BlockFacts {
    let device = try FileDescriptor(opening: path, O_RDONLY)
    var facts = iov_block_facts()
    try checked(iov_read_block_facts(device.number, &facts), "read the geometry of \(path)")
    return BlockFacts(
      sizeBytes: facts.size_bytes, logicalSectorBytes: facts.logical_sector_bytes,
      physicalSectorBytes: facts.physical_sector_bytes, isReadOnly: facts.read_only != 0)
  }

  /// As `stat` numbers devices; nil: there is no block device of this path.
  public static func number(_ path: String) -> UInt64? {
    var facts = stat()
    guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFBLK else { return nil }
    return UInt64(facts.st_rdev)
  }

  /// True if the kernel itself uses the device or a partition of it: mounted, swap, part of an array. Those open it
  /// exclusively; loop devices and storage daemons of ours do not. Our own mapped devices do, and with one of them on it nobody
  /// else can.
  public static func isClaimedByKernel(_ path: String) throws(SystemCallError) -> Bool {
    // Whoever looks in the same way at this moment, such as a plugin that is just being replaced, has it alone as well, and lets go.
    for _ in 0..<looks {
      do throws(SystemCallError) {
        _ = try FileDescriptor(opening: path, O_RDONLY | O_EXCL)
        return false
      } catch {
        guard error.errno == EBUSY else { throw error }
        guard MappedDevice.names(over: path).isEmpty else { return false }
        usleep(lookMicroseconds)
      }
    }
    return true
  }
  private static let looks = 5
  private static let lookMicroseconds: UInt32 = 5000

  /// What the kernel calls the device that a path leads to: "sdb". Nil: there is none.
  public static func kernelName(_ path: String) -> String? {
    SmallFile.resolved(path)?.split(separator: "/").last.map(String.init)
  }

  /// Tells the disk that has a kernel's name now from one that had it before (Linux 5.15; a partition has its disk's). Nil: none has
  /// it, or the kernel does not count.
  public static func sequence(ofKernelName name: String, sysfs: String = "/sys") -> UInt64? {
    let node = "\(sysfs)/class/block/\(name)"
    return (SmallFile.text("\(node)/diskseq") ?? SmallFile.text("\(node)/../diskseq")).flatMap { UInt64($0) }
  }

  /// Whether blocks can be given back to the device (TRIM, UNMAP, Deallocate). A partition has its disk's queue.
  public static func takesDiscard(_ path: String, sysfs: String = "/sys") -> Bool {
    guard let name = kernelName(path) else { return false }
    let node = "\(sysfs)/class/block/\(name)"
    let limit =
      SmallFile.text("\(node)/queue/discard_max_bytes") ?? SmallFile.text("\(node)/../queue/discard_max_bytes")
    return limit.flatMap { UInt64($0) } ?? 0 > 0
  }

  /// What names the device for good: WWN or serial number, for a loop device its backing file, for a partition its disk and
  /// number. nil if the device has none of these. `sysfs` is the root of sysfs.
  ///
  /// Kernel names move with slots and the order of discovery; they are no identity.
  public static func stableIdentity(_ path: String, sysfs: String = "/sys") -> String? {
    kernelName(path).flatMap { stableIdentity(kernelName: $0, sysfs: sysfs) }
  }

  /// As above, of "sdb" or "nvme0n1p1".
  public static func stableIdentity(kernelName name: String, sysfs: String = "/sys") -> String? {
    let node = "\(sysfs)/class/block/\(name)"
    if let partition = SmallFile.text("\(node)/partition") {
      guard let disk = parentDisk(node) else { return nil }
      return stableIdentity(kernelName: disk, sysfs: sysfs).map { "\($0)-part\(partition)" }
    }
    if let backing = SmallFile.text("\(node)/loop/backing_file") { return "loop-" + StableDigest.hexadecimal(backing) }
    return Sysfs(root: sysfs).diskName(ofBlock: name)?.identifier
  }

  private static func parentDisk(_ partition: String) -> String? {
    SmallFile.resolved(partition)?.split(separator: "/").dropLast().last.map(String.init)
  }
}
