import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// Takes what a function's user left off its disk, piece by piece, and reads all of it back. Its methods block.
struct ExtentScrubber: Sendable {
  /// Small enough for progress on a slow disk, large enough for a fast one's commands.
  static let pieceBytes: UInt64 = 64 << 20
  static let slowestBytesPerSecond: UInt64 = 1 << 20
  private static let readBytes = 1 << 20
  let part: FunctionExtent
  let method: ScrubMethod
  /// Has the disk erase itself; blocks until it has.
  let eraseAll: @Sendable (DiskDescription) throws -> Void
  /// At most; nil: as fast as the disk goes.
  let bytesPerSecond: UInt64?
  let journal: ScrubJournal
  private(set) var record: ScrubRecord

  private var disk: String { part.disk.device }

  /// Goes on where an earlier run came to, if that was about the same place under the same token.
  init(
    _ part: FunctionExtent, by method: ScrubMethod, bytesPerSecond: UInt64? = nil, journal: ScrubJournal,
    sanitize: @escaping @Sendable (DiskDescription) throws -> Void
  ) {
    self.part = part
    self.method = method
    eraseAll = sanitize
    self.bytesPerSecond = bytesPerSecond
    self.journal = journal
    record = ScrubRecord(
      function: part.plan.function, endNode: part.plan.endNode, token: part.plan.token.value, place: part.extent.place,
      method: method)
    guard let known = journal.record(of: record.function), known.token == record.token, known.place == record.place,
      method != .sanitize || known.method == .sanitize
    else { return }
    (record.isSanitized, record.doneBytes, record.failure) = (known.isSanitized, known.doneBytes, known.failure)
  }

  /// A few pieces a second, so that whoever else uses the disk waits for one at most.
  private var pieceBytes: UInt64 {
    bytesPerSecond.map { min(Self.pieceBytes, max(1, ($0 / 4) >> 20) << 20) } ?? Self.pieceBytes
  }

  /// How long cleaning so much is to take at least.
  func pace(_ bytes: UInt64) -> Duration {
    bytesPerSecond.map { .seconds(Double(bytes) / Double($0)) } ?? .zero
  }

  /// On record before anything is done: from here on the function is not known to be clean until it is.
  func begin() throws { try journal.write(record, durably: true) }

  /// Cleans the next piece. What fails is on record, and begins there when it is tried again.
  mutating func advance() throws {
    do {
      try clean()
    } catch {
      record.failure = "\(error)"
      try journal.write(record, durably: true)
      throw PluginError(
        .dataLoss,
        "\(record.function) is not clean from byte \(record.doneBytes) of \(record.place.sizeBytes) on (scrub: \(method.rawValue)): "
          + "\(error). Nobody else gets it until it is: mend the disk, or change 'scrub' of \(record.endNode) in the "
          + "configuration, or give its data up there by name (acceptUnscrubbed)")
    }
  }

  private mutating func clean() throws {
    if method == .sanitize, !record.isSanitized {
      try eraseAll(part.disk)
      record.isSanitized = true
      return try journal.write(record, durably: true)
    }
    let device = try FileDescriptor(opening: disk, O_RDWR)
    let offset = record.place.offsetBytes + record.doneBytes
    let piece = offset..<offset + min(pieceBytes, record.place.sizeBytes - record.doneBytes)
    switch method {
    case .zero: try overwrite(piece, device)
    case .discard:
      try check(
        iov_block_discard(device.number, piece.lowerBound, piece.upperBound - piece.lowerBound), "discard on \(disk)")
      try flush(device)
    case .sanitize, .none: break
    }
    // Read once where it is clean at once: that is half of what a cleaning costs.
    var left = try firstLeft(in: piece)
    if left != nil, method != .zero {
      try overwrite(piece, device)
      left = try firstLeft(in: piece)
    }
    // A command for zeroes may become one on its way that a disk can ignore. Plain writes are plain writes everywhere.
    if left != nil {
      try write(zeroesTo: piece, device)
      left = try firstLeft(in: piece)
    }
    if let left {
      throw PluginError(.dataLoss, "\(disk) does not hold zeroes at \(left) although they were written")
    }
    record.doneBytes += piece.upperBound - piece.lowerBound
    record.failure = nil
    try journal.write(record, durably: record.isComplete)
  }

  private func overwrite(_ piece: Range<UInt64>, _ device: FileDescriptor) throws {
    let count = piece.upperBound - piece.lowerBound
    try check(iov_block_write_zeroes(device.number, piece.lowerBound, count), "write zeroes to \(disk)")
    try flush(device)
  }

  private func write(zeroesTo piece: Range<UInt64>, _ device: FileDescriptor) throws {
    let zeroes = [UInt8](repeating: 0, count: Self.readBytes)
    var offset = piece.lowerBound
    while offset < piece.upperBound {
      let count = pwrite(
        device.number, zeroes, min(zeroes.count, Int(piece.upperBound - offset)), off_t(offset))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw SystemCallError("write \(disk) at \(offset)", errno: count < 0 ? errno : EIO) }
      offset += UInt64(count)
    }
    try flush(device)
  }

  private func flush(_ device: FileDescriptor) throws {
    guard fsync(device.number) == 0 else { throw SystemCallError("flush \(disk)", errno: errno) }
  }

  private func check(_ result: CInt, _ what: String) throws(SystemCallError) {
    guard result == 0 else { throw SystemCallError(what, errno: -result) }
  }

  /// Where the first block begins that is not all zeroes; nil: there is none. Past the page cache, which holds what was written
  /// whether the disk took it or not.
  private func firstLeft(in piece: Range<UInt64>) throws -> UInt64? {
    let opened = iov_open_direct(disk)
    guard opened >= 0 else { throw SystemCallError("open \(disk) past the page cache", errno: -opened) }
    let direct = FileDescriptor(owning: opened)
    return try withUnsafeTemporaryAllocation(byteCount: Self.readBytes, alignment: 4096) { buffer in
      var offset = piece.lowerBound
      while offset < piece.upperBound {
        let wanted = Int(min(UInt64(Self.readBytes), piece.upperBound - offset))
        let count = pread(direct.number, buffer.baseAddress, wanted, off_t(offset))
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw SystemCallError("read \(disk) at \(offset)", errno: count < 0 ? errno : EIO) }
        if !Self.isZero(UnsafeRawBufferPointer(rebasing: buffer[..<count])) { return offset }
        offset += UInt64(count)
      }
      return nil
    }
  }

  /// Each byte is the one before it, and the first is zero: as fast as memory is read, also in a debug build.
  private static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let base = bytes.baseAddress, bytes.count > 1 else { return bytes.first ?? 0 == 0 }
    return bytes[0] == 0 && memcmp(base, base + 1, bytes.count - 1) == 0
  }
}

extension FunctionExtent {
  /// Writes what the kernel and the disk hold back.
  func flush() throws {
    let device = try FileDescriptor(opening: disk.device, O_RDWR)
    guard fsync(device.number) == 0 else { throw SystemCallError("flush \(disk.device)", errno: errno) }
  }
}
