import FunctionPluginKit
import LinuxDevices
import Services

/// How fast a function may be used, reads and writes apart. Zero: no limit.
struct DiskLimits: Sendable, Hashable {
  var readOperations: UInt64
  var writeOperations: UInt64
  var readBytes: UInt64
  var writeBytes: UInt64
  /// After a rest it may go at this multiple of each limit, for so many seconds.
  var burstFactor: UInt64
  var burstSeconds: UInt64

  /// As capabilities name them.
  static let attributes = [
    "block.max_read_operations_per_second", "block.max_write_operations_per_second", "block.max_read_bytes_per_second",
    "block.max_write_bytes_per_second", "block.burst_factor", "block.burst_seconds",
  ]

  /// Promised by the coordinator out of what the disk is known to do; there is nothing to set up for it.
  static let promises = [
    "block.min_operations_per_second", "block.min_bytes_per_second", "block.rate_guarantee",
  ]

  init(_ attributes: BlockAttributes?) throws(PluginError) {
    readOperations = attributes?.maxReadOperationsPerSecond ?? 0
    writeOperations = attributes?.maxWriteOperationsPerSecond ?? 0
    readBytes = attributes?.maxReadBytesPerSecond ?? 0
    writeBytes = attributes?.maxWriteBytesPerSecond ?? 0
    burstFactor = UInt64(max(1, attributes?.burstFactor ?? 1))
    burstSeconds = UInt64(max(1, attributes?.burstSeconds ?? 1))
    // QEMU's THROTTLE_VALUE_MAX, which a burst must not pass either.
    let most: UInt64 = 1_000_000_000_000_000
    for limit in [readOperations, writeOperations, readBytes, writeBytes] {
      let (burst, overflow) = limit.multipliedReportingOverflow(by: burstFactor)
      guard !overflow, burst <= most else {
        throw PluginError(
          .invalidArgument,
          "A limit of \(limit) a second with a burst of \(burstFactor) times is above \(most), the most that is kept.")
      }
    }
  }

  var isNone: Bool { readOperations == 0 && writeOperations == 0 && readBytes == 0 && writeBytes == 0 }

  /// The properties of a throttle group (QEMU's ThrottleLimits); all of them, so that what was set before is taken back.
  var throttle: JSONValue {
    var members: [String: JSONValue] = [:]
    for (name, limit) in [
      ("iops-read", readOperations), ("iops-write", writeOperations), ("bps-read", readBytes),
      ("bps-write", writeBytes),
    ] {
      let isBursting = limit > 0 && burstFactor > 1
      members[name] = .integer(Int64(clamping: limit))
      members["\(name)-max"] = .integer(isBursting ? Int64(clamping: limit * burstFactor) : 0)
      members["\(name)-max-length"] = .integer(isBursting ? Int64(clamping: burstSeconds) : 1)
    }
    return .object(members)
  }

  /// As read back from the daemon.
  init?(throttle: JSONValue) {
    func number(_ name: String) -> UInt64? { throttle[name]?.integer.flatMap { UInt64(exactly: $0) } }
    guard let readOperations = number("iops-read"), let writeOperations = number("iops-write"),
      let readBytes = number("bps-read"), let writeBytes = number("bps-write")
    else { return nil }
    (self.readOperations, self.writeOperations) = (readOperations, writeOperations)
    (self.readBytes, self.writeBytes) = (readBytes, writeBytes)
    burstFactor = 1
    burstSeconds = 1
    for (name, limit) in [
      ("iops-read", readOperations), ("iops-write", writeOperations), ("bps-read", readBytes),
      ("bps-write", writeBytes),
    ] where limit > 0 {
      if let most = number("\(name)-max"), most > 0 { burstFactor = most / limit }
      burstSeconds = max(1, number("\(name)-max-length") ?? 1)
    }
  }

  /// Writes what is in force into what a host reports.
  func describe(_ attributes: inout BlockAttributes) {
    if readOperations > 0 { attributes.maxReadOperationsPerSecond = readOperations }
    if writeOperations > 0 { attributes.maxWriteOperationsPerSecond = writeOperations }
    if readBytes > 0 { attributes.maxReadBytesPerSecond = readBytes }
    if writeBytes > 0 { attributes.maxWriteBytesPerSecond = writeBytes }
    guard burstFactor > 1, !isNone else { return }
    attributes.burstFactor = UInt32(clamping: burstFactor)
    attributes.burstSeconds = UInt32(clamping: burstSeconds)
  }
}
