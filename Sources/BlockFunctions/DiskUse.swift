import Glibc
import LinuxDevices
import Services

/// A part of a disk that somebody on this host has open for functions: a mapped device, a loop device, or a storage daemon.
struct DiskUse: Sendable, Hashable {
  /// In words.
  var user: String
  var place: Extent

  /// All of one disk, found without opening any: whoever has a device open keeps others from letting it go.
  ///
  /// Left out is what reads alone: a backup's devices are harmless, and those of functions are found by their own way.
  static func all(of device: String) -> [DiskUse] {
    guard let disk = SmallFile.resolved(device) else { return [] }
    return mappings(over: disk) + loops(over: disk) + daemons(over: disk)
  }

  private static func mappings(over disk: String) -> [DiskUse] {
    let devices = (try? MappedDevice.all(over: disk)) ?? []
    return devices.filter { $0.isInUse && !$0.isReadOnly }
      .map { DiskUse(user: $0.path, offset: $0.offsetBytes, size: $0.sizeBytes) }
  }

  private static func loops(over disk: String) -> [DiskUse] {
    SmallFile.names(in: "/sys/block").filter { $0.hasPrefix("loop") }.compactMap { name in
      let node = "/sys/block/\(name)"
      guard SmallFile.text("\(node)/loop/backing_file") == disk, !LoopDevice.isGivenUp(name),
        SmallFile.text("\(node)/ro") == "0",
        let offset = SmallFile.text("\(node)/loop/offset").flatMap({ UInt64($0) }),
        let sectors = SmallFile.text("\(node)/size").flatMap({ UInt64($0) })
      else { return nil }
      return DiskUse(user: "/dev/\(name)", offset: offset, size: sectors * 512)
    }
  }

  private static func daemons(over disk: String) -> [DiskUse] {
    SmallFile.names(in: "/proc").compactMap { name in
      guard let process = pid_t(name), let bytes = try? SmallFile.read("/proc/\(name)/cmdline") else { return nil }
      let arguments = bytes.split(separator: 0)
      guard arguments.first.map({ String(decoding: $0, as: UTF8.self).hasSuffix(StorageDaemon.program) }) == true else {
        return nil
      }
      let nodes = arguments.filter { $0.first == UInt8(ascii: "{") }.compactMap { JSONValue(parsing: $0) }
      guard nodes.contains(where: { $0["filename"]?.string.flatMap(SmallFile.resolved) == disk }),
        let part = nodes.first(where: { $0["node-name"]?.string == StorageDaemon.extentNode }),
        let offset = part["offset"]?.integer, let size = part["size"]?.integer
      else { return nil }
      return DiskUse(
        user: "\(StorageDaemon.program) (process \(process))", offset: UInt64(max(0, offset)),
        size: UInt64(max(0, size)))
    }
  }

  private init(user: String, offset: UInt64, size: UInt64) {
    self.user = user
    place = Extent {
      $0.offsetBytes = offset
      $0.sizeBytes = size
    }
  }
}
