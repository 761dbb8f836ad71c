import CBlkid
import Glibc

/// What somebody else has put on a disk.
public enum DiskSignature {
  /// The file system, volume or partition table on a device or file as libblkid names it ("ext4", "gpt"), or nil if it
  /// finds none.
  public static func find(on path: String) throws(SystemCallError) -> String? {
    guard let probe = blkid_new_probe_from_filename(path) else {
      throw SystemCallError("look for data on \(path)", errno: Glibc.errno)
    }
    defer { blkid_free_probe(probe) }
    blkid_probe_enable_superblocks(probe, 1)
    blkid_probe_set_superblocks_flags(probe, CInt(BLKID_SUBLKS_TYPE))
    blkid_probe_enable_partitions(probe, 1)
    switch blkid_do_safeprobe(probe) {
    case 0: return value(probe, "TYPE") ?? value(probe, "PTTYPE") ?? "data"
    case 1: return nil
    // Several signatures at once: old data under new data.
    case -2: return "several signatures"
    default: throw SystemCallError("look for data on \(path)", errno: EIO)
    }
  }

  private static func value(_ probe: blkid_probe, _ name: String) -> String? {
    var text: UnsafePointer<CChar>?
    guard blkid_probe_lookup_value(probe, name, &text, nil) == 0, let text else { return nil }
    return String(cString: text)
  }
}
