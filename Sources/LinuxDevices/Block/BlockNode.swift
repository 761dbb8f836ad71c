import Glibc

/// A block device as the kernel's files show it: who it is, how large, and who uses it.
public struct BlockNode: Sendable, Hashable {
  /// "sda", "nvme0n1p2", "dm-3": until the next boot, or less.
  public var kernelName: String
  public var number: DeviceNumber
  public var kind: Kind
  /// Of a partition that of its disk; nil: there is nothing by which it could be known again.
  public var diskName: DiskName?
  public var sizeBytes: UInt64
  public var logicalSectorBytes: UInt32
  public var physicalSectorBytes: UInt32
  /// How far from the beginning the first physical sector begins.
  public var alignmentOffsetBytes: UInt64
  public var isReadOnly: Bool
  public var isRemovable: Bool
  /// What blocks are given back in; nil: it takes none back.
  public var discardGranularityBytes: UInt64?
  public var uses: [BlockUse]

  public enum Kind: Sendable, Hashable {
    case disk
    case partition(of: String, number: UInt32)
    /// Of the device mapper: multipath, volumes, encryption. By the name that it was made under.
    case mapped(String)
    case loop(backing: String?)
  }

  /// "naa.5000c50011110010", or "naa.5000c50011110010-part1": fit for names and paths.
  public var identity: String? {
    guard let name = diskName?.identifier else { return nil }
    if case .partition(_, let number) = kind { return "\(name)-part\(number)" }
    return name
  }

  public struct DeviceNumber: Sendable, Hashable, CustomStringConvertible {
    public var major: UInt32
    public var minor: UInt32

    /// "8:16"; nil for anything else.
    public init?(_ text: some StringProtocol) {
      let parts = text.split(separator: ":")
      guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else { return nil }
      (self.major, self.minor) = (major, minor)
    }

    public var description: String { "\(major):\(minor)" }
  }
}

/// What keeps a disk from being given away.
public enum BlockUse: Sendable, Hashable, CustomStringConvertible {
  /// The disk, or a partition of it.
  case mounted(String, at: String)
  case swap(String)
  /// By what the kernel has built on it: an array, a volume, several paths made one. `kind` is as the device mapper calls it
  /// ("mpath", "LVM", "CRYPT"), nil for other holders.
  case held(String, by: String, kind: String?)

  public var description: String {
    switch self {
    case .mounted(let device, let place): "\(device) is mounted at \(place)"
    case .swap(let device): "\(device) is swap space"
    case .held(let device, let holder, let kind): "\(device) is part of \(holder)" + (kind.map { " (\($0))" } ?? "")
    }
  }

  /// Several paths to one disk that the kernel has made one: the disk is free if that one is.
  public var isMultipath: Bool { if case .held(_, _, "mpath") = self { true } else { false } }
}

extension DiskName {
  /// Its text in lower case without blanks: firmware pads with them and uses whatever characters it likes.
  public var identifier: String { Self.identifier(text) }

  static func identifier(_ text: String) -> String {
    text.split(whereSeparator: \.isWhitespace).joined(separator: "-").lowercased()
      .filter { $0.isASCII && ($0.isLetter || $0.isNumber || "-._:".contains($0)) }
  }
}

/// The block devices of this host, by the kernel's files.
public struct BlockInventory: Sendable {
  public let sysfs: Sysfs
  private let processes: String

  /// - Parameter processes: the root of procfs.
  public init(_ sysfs: Sysfs = Sysfs(), processes: String = "/proc") {
    self.sysfs = sysfs
    self.processes = processes
  }

  /// Sorted by name. Those that are paths of another one, which nobody can open, are left out.
  public func all() -> [BlockNode] { sysfs.names(in: "class/block").compactMap { node($0) } }

  /// - Parameter path: "/dev/sdb", or a link to it (/dev/disk/by-id/…).
  public func node(path: String) -> BlockNode? {
    BlockDevice.kernelName(path).flatMap { node($0) }
  }

  /// By the kernel's name; nil when there is none.
  public func node(_ name: String) -> BlockNode? {
    let node = "class/block/\(name)"
    guard let number = sysfs.text("\(node)/dev").flatMap({ BlockNode.DeviceNumber($0) }),
      let sectors: UInt64 = sysfs.integer("\(node)/size"), !sectors.multipliedReportingOverflow(by: 512).overflow
    else { return nil }
    let kind = kind(name)
    let disk = if case .partition(let disk, _) = kind { disk } else { name }
    let queue = "class/block/\(disk)/queue"
    let discard: UInt64? = sysfs.integer("\(queue)/discard_max_bytes")
    return BlockNode(
      kernelName: name, number: number, kind: kind, diskName: sysfs.diskName(ofBlock: disk), sizeBytes: sectors * 512,
      logicalSectorBytes: sysfs.integer("\(queue)/logical_block_size") ?? 512,
      physicalSectorBytes: sysfs.integer("\(queue)/physical_block_size") ?? 512,
      alignmentOffsetBytes: sysfs.integer("\(node)/alignment_offset") ?? 0, isReadOnly: sysfs.text("\(node)/ro") == "1",
      isRemovable: sysfs.text("class/block/\(disk)/removable") == "1",
      discardGranularityBytes: discard ?? 0 == 0 ? nil : sysfs.integer("\(queue)/discard_granularity"),
      uses: uses(of: name))
  }

  private func kind(_ name: String) -> BlockNode.Kind {
    let node = "class/block/\(name)"
    if let number: UInt32 = sysfs.integer("\(node)/partition"),
      let disk = sysfs.resolved(node)?.split(separator: "/").dropLast().last
    {
      return .partition(of: String(disk), number: number)
    }
    if let mapped = sysfs.text("\(node)/dm/name") { return .mapped(mapped) }
    // A loop device that nothing is attached to has no such directory.
    if name.hasPrefix("loop") { return .loop(backing: sysfs.text("\(node)/loop/backing_file")) }
    return .disk
  }

  // MARK: Uses

  /// Partitions of a disk, by the kernel's names.
  public func partitions(of disk: String) -> [String] {
    sysfs.names(in: "class/block/\(disk)").filter { sysfs.exists("class/block/\(disk)/\($0)/partition") }
  }

  /// What this host's own mounts, swap spaces and holders make of a disk and its partitions. Mounts in other namespaces are
  /// not seen: opening it exclusively tells (`BlockDevice.isClaimedByKernel`).
  private func uses(of name: String) -> [BlockUse] {
    let (mounts, swaps) = (mounts(), swaps())
    return ([name] + partitions(of: name)).flatMap { device in
      let number = sysfs.text("class/block/\(device)/dev").flatMap { BlockNode.DeviceNumber($0) }
      let places = mounts.filter { $0.number == number || $0.device == device }.map {
        BlockUse.mounted(device, at: $0.place)
      }
      let holders = sysfs.names(in: "class/block/\(device)/holders").map {
        BlockUse.held(device, by: $0, kind: mapping($0))
      }
      return places + (swaps.contains(device) ? [.swap(device)] : []) + holders
    }
  }

  /// "mpath" of "mpath-3600…": the device mapper's users put their name in front.
  private func mapping(_ holder: String) -> String? {
    sysfs.text("class/block/\(holder)/dm/uuid")?.split(separator: "-").first.map(String.init)
  }

  private struct Mount {
    var number: BlockNode.DeviceNumber?
    /// File systems over several devices have a number of their own, and name one device.
    var device: String?
    var place: String
  }

  /// "36 35 98:0 /root /place options … - ext4 /dev/sda1 options" (Documentation/filesystems/proc.rst of the kernel).
  private func mounts() -> [Mount] {
    lines("self/mountinfo").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count >= 5 else { return nil }
      let source = fields.firstIndex(of: "-").flatMap { $0 + 2 < fields.count ? fields[$0 + 2] : nil }
      return Mount(
        number: BlockNode.DeviceNumber(fields[2]), device: source.flatMap { deviceName(String($0)) },
        place: Self.unescaped(fields[4]))
    }
  }

  private func swaps() -> Set<String> {
    Set(lines("swaps").dropFirst().compactMap { $0.split(separator: " ").first.flatMap { deviceName(String($0)) } })
  }

  private func lines(_ file: String) -> [Substring] {
    SmallFile.text("\(processes)/\(file)")?.split(separator: "\n") ?? []
  }

  /// "/dev/sda1" is "sda1"; "/dev/mapper/data" is what the link leads to.
  private func deviceName(_ path: String) -> String? {
    guard path.hasPrefix("/dev/") else { return nil }
    let name = path.split(separator: "/").last.map(String.init)
    if let name, path == "/dev/\(name)" { return name }
    return BlockDevice.kernelName(path)
  }

  /// Blanks and the like stand there in octal: "\040".
  private static func unescaped(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.first {
      let digits = rest.dropFirst().prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(value)
        rest = rest.dropFirst(4)
      } else {
        bytes.append(byte)
        rest = rest.dropFirst()
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension Sysfs {
  /// What names a whole disk for good, best first: for SCSI what it says in its page 0x83, for NVMe its NGUID, EUI-64 or
  /// UUID, then the kernel's own choice, then a serial number. Never where it is plugged in.
  ///
  /// - Parameter name: "sda", "nvme0n1".
  public func diskName(ofBlock name: String) -> DiskName? {
    let node = "class/block/\(name)"
    if let parts = NVMeBlockName(name), parts.controller == nil, let name = nvmeName(node) { return name }
    if let unit = linkName("\(node)/device"), let name = scsiUnitPath(unit)?.name { return name }
    for attribute in ["wwid", "device/wwid"] {
      guard let text = text("\(node)/\(attribute)"), !text.isEmpty else { continue }
      return DiskName(sysfs: text) ?? DiskName(rank: .serialNumber, text: text)
    }
    for attribute in ["device/serial", "serial"] {
      guard let text = text("\(node)/\(attribute)"), !text.isEmpty else { continue }
      return DiskName(rank: .serialNumber, text: text)
    }
    return nil
  }
}
