import Glibc
import LinuxDevices
import Synchronization

/// A disk with the paths that this host has to it.
struct DiskPaths: Sendable, Hashable {
  var name: DiskName
  /// Those that work, best first.
  var paths: [SCSIUnitPath]
  /// Those that the kernel knows and that do not work.
  var lost: [SCSIUnitPath]
  /// Which ones they are, beyond their numbers: a disk that was unplugged and plugged in again has new ones.
  var stamps: Set<PathFinder.Stamp>
}

/// Finds disks by their names. Who a path leads to is remembered as long as it is that path: what makes a name is a dozen files.
final class PathFinder: Sendable {
  /// A directory of sysfs is another one when it has been made anew, whatever its name.
  struct Stamp: Sendable, Hashable {
    var address: String
    var inode: UInt64
    var changedNanoseconds: Int64
  }

  private let sysfs: Sysfs
  private let names = Mutex<[Stamp: DiskName]>([:])

  init(sysfs: Sysfs) { self.sysfs = sysfs }

  func forgetAll() { names.withLock { $0 = [:] } }

  /// The disk that a block device ("sdb") is a path to; nil: it is no SCSI disk, of another class, or has no name.
  func disk(ofBlock block: String) -> DiskPaths? {
    guard let address = sysfs.linkName("class/block/\(block)/device"), let stamp = stamp(of: address),
      let name = name(of: stamp)
    else { return nil }
    return disk { $0 == name }
  }

  /// By `DiskName.identifier`; nil: no path leads to it.
  func disk(_ identity: String) -> DiskPaths? { disk { $0.identifier == identity } }

  private func disk(_ isWanted: (DiskName) -> Bool) -> DiskPaths? {
    let all = stamps()
    names.withLock { names in names = names.filter { all.contains($0.key) } }
    let paths = all.compactMap { stamp -> (Stamp, SCSIUnitPath)? in
      guard name(of: stamp).map(isWanted) == true, let path = sysfs.scsiUnitPath(stamp.address), path.isSharedDisk
      else { return nil }
      return (stamp, path)
    }
    let working = paths.map(\.1).filter { $0.state == .running && $0.blockName != nil }
    guard let name = working.first?.name else { return nil }
    return DiskPaths(
      name: name,
      paths: working.map { (!isPreferred($0), $0) }.sorted {
        ($0.0 ? 1 : 0, $0.1.address) < ($1.0 ? 1 : 0, $1.1.address)
      }
      .map(\.1), lost: paths.map(\.1).filter { $0.state != .running }, stamps: Set(paths.map(\.0)))
  }

  /// Behind one of two controllers of a storage system, the other of which answers more slowly or not at all.
  private func isPreferred(_ path: SCSIUnitPath) -> Bool {
    let state = sysfs.text("bus/scsi/devices/\(path.address)/access_state")
    return state == nil || state == "active/optimized"
  }

  private func name(of stamp: Stamp) -> DiskName? {
    if let name = names.withLock({ $0[stamp] }) { return name }
    // A path that has no name yet may be one whose pages the kernel is still reading.
    guard let name = sysfs.scsiUnitPath(stamp.address)?.name else { return nil }
    names.withLock { $0[stamp] = name }
    return name
  }

  private func stamps() -> [Stamp] { sysfs.names(in: "bus/scsi/devices").compactMap { stamp(of: $0) } }

  private func stamp(of address: String) -> Stamp? {
    var status = stat()
    guard address.split(separator: ":").count == 4, stat(sysfs.path("bus/scsi/devices/\(address)"), &status) == 0 else {
      return nil
    }
    return Stamp(
      address: address, inode: UInt64(status.st_ino),
      changedNanoseconds: Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec))
  }
}

extension SCSIUnitPath {
  /// A disk, and none that another class shares.
  var isSharedDisk: Bool {
    guard deviceType == 0 || deviceType == 0x14 else { return false }
    return switch attachment {
    case .ata, .usb: false
    case .sas, .iSCSI, .fibreChannel, .other: true
    }
  }
}
