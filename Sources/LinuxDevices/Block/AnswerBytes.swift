/// What a device sent back, read field by field within its bounds.
///
/// SCSI counts from the big end, ATA and NVMe from the little one. A device may send less than it was asked for, and lengths
/// that lead beyond what it sent: each read says so instead of trusting them.
public struct AnswerBytes: Sendable, Hashable {
  public let bytes: ArraySlice<UInt8>

  public init(_ bytes: [UInt8]) { self.bytes = bytes[...] }
  init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  public var count: Int { bytes.count }

  /// `count` bytes from `offset` on, counted from the beginning of this answer.
  public func part(_ offset: Int, _ count: Int) throws(MalformedAnswer) -> AnswerBytes {
    guard offset >= 0, count >= 0, offset <= bytes.count, count <= bytes.count - offset else {
      throw MalformedAnswer("it ends after \(bytes.count) bytes, where \(count) more were to follow byte \(offset)")
    }
    let start = bytes.startIndex + offset
    return AnswerBytes(bytes[start..<(start + count)])
  }

  /// As above, and less if it ends before: of lists that say how long they would be.
  public func available(_ offset: Int, _ count: Int) -> AnswerBytes {
    let start = min(max(0, offset), bytes.count)
    return AnswerBytes(bytes.dropFirst(start).prefix(max(0, count)))
  }

  public func byte(_ offset: Int) throws(MalformedAnswer) -> UInt8 {
    guard offset >= 0, offset < bytes.count else {
      throw MalformedAnswer("it ends after \(bytes.count) bytes, before byte \(offset)")
    }
    return bytes[bytes.startIndex + offset]
  }

  public func bit(_ bit: Int, ofByte offset: Int) throws(MalformedAnswer) -> Bool {
    try byte(offset) & (1 << UInt8(bit)) != 0
  }

  public func bigEndian<Value: FixedWidthInteger & UnsignedInteger>(
    _ offset: Int, as: Value.Type = Value.self
  ) throws(MalformedAnswer) -> Value {
    try part(offset, Value.bitWidth / 8).bytes.reduce(0) { $0 << 8 | Value($1) }
  }

  public func littleEndian<Value: FixedWidthInteger & UnsignedInteger>(
    _ offset: Int, as: Value.Type = Value.self
  ) throws(MalformedAnswer) -> Value {
    try part(offset, Value.bitWidth / 8).bytes.reversed().reduce(0) { $0 << 8 | Value($1) }
  }

  /// ASCII without the blanks and zeros that fields are padded with. Firmware puts anything there: what cannot be printed
  /// reads as "?".
  public func text(_ offset: Int, _ count: Int) throws(MalformedAnswer) -> String {
    Self.text(try part(offset, count).bytes)
  }

  static func text(_ bytes: some Sequence<UInt8>) -> String {
    var text = bytes.map { (0x20...0x7e).contains($0) || $0 == 0 ? $0 : UInt8(ascii: "?") }
    while let last = text.last, last == 0x20 || last == 0 { text.removeLast() }
    let start = text.firstIndex { $0 != 0x20 && $0 != 0 } ?? text.endIndex
    return String(decoding: text[start...].map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
  }

  public var isZero: Bool { bytes.allSatisfy { $0 == 0 } }

  /// Two digits a byte, in lower case.
  public var hexadecimalText: String {
    bytes.map { hexadecimal($0, digits: 2) }.joined()
  }
}

/// Why an answer of a device cannot be what it is said to be.
public struct MalformedAnswer: Error, Hashable, CustomStringConvertible {
  public var description: String

  public init(_ description: String) { self.description = description }
}

extension Array where Element == UInt8 {
  /// Puts a number at an offset, most significant byte first; the array is long enough by construction of the command.
  mutating func put<Value: FixedWidthInteger & UnsignedInteger>(bigEndian value: Value, at offset: Int) {
    for index in 0..<(Value.bitWidth / 8) {
      self[offset + index] = UInt8(truncatingIfNeeded: value >> (Value.bitWidth - 8 * (index + 1)))
    }
  }
}

extension Array where Element == UInt8 {
  /// As above, least significant byte first.
  mutating func put<Value: FixedWidthInteger & UnsignedInteger>(littleEndian value: Value, at offset: Int) {
    for index in 0..<(Value.bitWidth / 8) { self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
  }
}
