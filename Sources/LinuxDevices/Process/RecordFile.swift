import Glibc

/// A file of records, one a line and each with a checksum, which grows at its end and is written anew as a whole now and
/// then.
///
/// A process killed at any byte leaves at most a damaged last line, which nobody has acted on: it is cut off at the next
/// opening. Damage anywhere else is somebody else's doing, and the caller is told.
public struct RecordFile: Sendable {
  public let path: String
  private var file: FileDescriptor
  public private(set) var recordCount: Int

  /// Opens or begins the file. `take` gets every record in order, nil in place of a damaged one, and the number of its
  /// line.
  public static func open(_ path: String, _ take: (_ record: Substring?, _ line: Int) throws -> Void) throws
    -> RecordFile
  {
    if access(path, F_OK) < 0, errno == ENOENT { try SmallFile.replace(path, with: []) }
    let file = try FileDescriptor(opening: path, O_RDWR | O_APPEND)
    let bytes = try readAll(file, path)
    let (count, validBytes) = try scan(bytes, take)
    if validBytes < bytes.count {
      guard ftruncate(file.number, off_t(validBytes)) == 0, fsync(file.number) == 0 else {
        throw SystemCallError("cut \(path)", errno: errno)
      }
    }
    return RecordFile(path: path, file: file, recordCount: count)
  }

  /// The records of a file that another process may have open.
  public static func read(_ path: String, _ take: (_ record: Substring?, _ line: Int) throws -> Void) throws {
    _ = try scan(readAll(try FileDescriptor(opening: path, O_RDONLY), path), take)
  }

  private init(path: String, file: FileDescriptor, recordCount: Int) {
    self.path = path
    self.file = file
    self.recordCount = recordCount
  }

  /// Adds records, which hold no line ends. After an error the file may end in a part of them: it is to be written anew.
  public mutating func append(_ records: [String], durably: Bool) throws(SystemCallError) {
    try SmallFile.append(records.flatMap(Self.line), to: file, path: path)
    if durably { try checkedErrno(fdatasync(file.number), "sync \(path)") }
    recordCount += records.count
  }

  /// Replaces all records at once: after a crash at any point the file holds the old ones or the new ones.
  public mutating func rewrite(_ records: [String], durably: Bool) throws(SystemCallError) {
    try SmallFile.replace(path, with: records.flatMap(Self.line), durably: durably)
    file = try FileDescriptor(opening: path, O_WRONLY | O_APPEND)
    recordCount = records.count
  }

  /// "crc32 record\n"
  public static func line(_ record: String) -> [UInt8] { Array("\(CRC32.text(record.utf8)) \(record)\n".utf8) }

  /// The record of a line, which is without its end; nil when it is damaged.
  public static func record(of line: some Collection<UInt8>) -> Substring? {
    let text = String(decoding: line, as: UTF8.self)
    guard let blank = text.firstIndex(of: " ") else { return nil }
    let record = text[text.index(after: blank)...]
    return CRC32.text(record.utf8) == text[..<blank] ? record : nil
  }

  /// Answers how many lines there are and how many bytes of the file are good.
  private static func scan(
    _ bytes: [UInt8], _ take: (_ record: Substring?, _ line: Int) throws -> Void
  ) throws -> (lines: Int, validBytes: Int) {
    var start = 0
    var count = 0
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      let record = record(of: bytes[start..<end])
      // A line with its end was written whole unless the machine lost power under it, which only the last one can.
      if record == nil, end + 1 == bytes.count { break }
      count += 1
      try take(record, count)
      start = end + 1
    }
    return (count, start)
  }

  private static func readAll(_ file: FileDescriptor, _ path: String) throws(SystemCallError) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = try checkedErrno(Glibc.read(file.number, &chunk, chunk.count), "read \(path)")
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[..<count])
    }
  }
}

/// The checksum of IEEE 802.3, bit by bit: lines are short and few.
enum CRC32 {
  static func text(_ bytes: some Sequence<UInt8>) -> String {
    var value: UInt32 = 0xffff_ffff
    for byte in bytes {
      value ^= UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0xedb8_8320 : value >> 1 }
    }
    let digits = String(~value, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}

/// Bytes as one word of a record. Hexadecimal would do as well; this takes a third less room.
public enum Base64Word {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

  /// Never empty, so that a line always has the same number of words: nothing becomes "=".
  public static func encode(_ bytes: [UInt8]) -> String {
    if bytes.isEmpty { return "=" }
    var text: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      count += 8
      while count >= 6 {
        count -= 6
        text.append(alphabet[Int(bits >> UInt32(count) & 63)])
      }
      bits &= (1 << UInt32(count)) - 1
    }
    if count > 0 { text.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
    return String(decoding: text, as: UTF8.self)
  }

  public static func decode(_ text: Substring) -> [UInt8]? {
    if text == "=" { return [] }
    var bytes: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for digit in text.utf8 {
      guard let value = alphabet.firstIndex(of: digit) else { return nil }
      bits = bits << 6 | UInt32(value)
      count += 6
      if count >= 8 {
        count -= 8
        bytes.append(UInt8(bits >> UInt32(count) & 255))
        bits &= (1 << UInt32(count)) - 1
      }
    }
    return bytes
  }
}
