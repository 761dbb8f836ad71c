import Foundation

/// Finds damage in SQLite's write-ahead log before SQLite reads it.
///
/// SQLite takes the first frame whose checksum is wrong for the log's end, which is right after a power failure in the
/// middle of a commit, and forgets everything after it, which is wrong where a disk has lost what was synchronized. The two
/// can be told apart: a commit begins after the one before it has reached the disk, so that only the last one can
/// be torn. The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
enum WriteAheadLog {
  private static let headerByteCount = 32
  private static let frameHeaderByteCount = 24

  /// Why the log cannot be trusted; nil if it can, or if there is none.
  static func problem(at path: String) -> String? {
    guard let size = StoreFiles.size(of: path), size > 0 else { return nil }
    guard let log = FileManager.default.contents(atPath: path) else { return "the log \(path) cannot be read" }
    return log.withUnsafeBytes { problem(in: $0) }.map { "the log \(path) \($0)" }
  }

  static func problem(in log: UnsafeRawBufferPointer) -> String? {
    // A header is synchronized before the first commit: one that never came to the disk had nothing behind it.
    guard log.count >= headerByteCount, log.prefix(headerByteCount).contains(where: { $0 != 0 }) else { return nil }
    guard let header = Header(log) else { return "does not begin as a log does" }
    let frames = (log.count - headerByteCount) / (frameHeaderByteCount + header.pageByteCount)
    var checksum = header.checksum
    var index = 0
    while index < frames, header.isValid(frame(index, of: log, header), &checksum) { index += 1 }
    // What follows is the remains of an earlier log, a torn commit, or damage: then something follows that commit.
    while index < frames {
      let frame = frame(index, of: log, header)
      index += 1
      if header.isOwn(frame), frame.word(4) != 0 { break }
    }
    while index < frames {
      if header.isOwn(frame(index, of: log, header)) { return "is damaged in the middle: commits after it are lost" }
      index += 1
    }
    return nil
  }

  private static func frame(
    _ index: Int, of log: UnsafeRawBufferPointer, _ header: Header
  ) -> UnsafeRawBufferPointer {
    let size = frameHeaderByteCount + header.pageByteCount
    let start = headerByteCount + index * size
    return UnsafeRawBufferPointer(rebasing: log[start..<start + size])
  }

  private struct Header {
    let pageByteCount: Int
    let isBigEndian: Bool
    let salt: UInt64
    let checksum: Checksum

    init?(_ log: UnsafeRawBufferPointer) {
      let magic = log.word(0)
      guard magic & ~1 == 0x377F_0682 else { return nil }
      isBigEndian = magic & 1 == 1
      let page = Int(log.word(8))
      guard page >= 512, page <= 65_536, page & (page - 1) == 0 else { return nil }
      pageByteCount = page
      salt = log.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
      var checksum = Checksum()
      checksum.add(UnsafeRawBufferPointer(rebasing: log[..<24]), isBigEndian: isBigEndian)
      guard checksum == Checksum(log, at: 24) else { return nil }
      self.checksum = checksum
    }

    /// Whether the frame was written into this log, not into an earlier one whose file it has taken over.
    func isOwn(_ frame: UnsafeRawBufferPointer) -> Bool {
      frame.loadUnaligned(fromByteOffset: 8, as: UInt64.self) == salt
    }

    func isValid(_ frame: UnsafeRawBufferPointer, _ checksum: inout Checksum) -> Bool {
      guard isOwn(frame) else { return false }
      checksum.add(UnsafeRawBufferPointer(rebasing: frame[..<8]), isBigEndian: isBigEndian)
      checksum.add(UnsafeRawBufferPointer(rebasing: frame[frameHeaderByteCount...]), isBigEndian: isBigEndian)
      return checksum == Checksum(frame, at: 16)
    }
  }

  private struct Checksum: Equatable {
    var first: UInt32 = 0
    var second: UInt32 = 0

    init() {}

    init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
      first = bytes.word(offset)
      second = bytes.word(offset + 4)
    }

    /// The log is as long as thousands of pages, so this runs without a check per word.
    mutating func add(_ bytes: UnsafeRawBufferPointer, isBigEndian: Bool) {
      for offset in stride(from: 0, to: bytes.count - 7, by: 8) {
        let one = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        let other = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
        first &+= (isBigEndian ? UInt32(bigEndian: one) : UInt32(littleEndian: one)) &+ second
        second &+= (isBigEndian ? UInt32(bigEndian: other) : UInt32(littleEndian: other)) &+ first
      }
    }
  }
}

extension UnsafeRawBufferPointer {
  /// The format's numbers are big-endian.
  fileprivate func word(_ offset: Int) -> UInt32 {
    UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }
}
