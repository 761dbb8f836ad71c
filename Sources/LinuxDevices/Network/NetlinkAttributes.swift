/// The attributes of a netlink message, by type; of several with the same type the last one counts, as in the kernel.
///
/// Reading stops at an attribute whose length does not fit: nothing outside the given bytes is ever read, and what is
/// missing reads as absent.
public struct NetlinkAttributes: Sendable {
  private var values: [UInt16: ArraySlice<UInt8>] = [:]
  /// The values in the order they came, for lists whose types mean nothing.
  public private(set) var inOrder: [(type: Int, value: ArraySlice<UInt8>)] = []

  public init(_ bytes: ArraySlice<UInt8>) {
    var rest = bytes
    while rest.count >= 4 {
      let length = Int(rest.integer(at: 0, as: UInt16.self) ?? 0)
      // The two highest bits say "nested" and "network byte order".
      let type = (rest.integer(at: 2, as: UInt16.self) ?? 0) & 0x3fff
      guard length >= 4, length <= rest.count else { return }
      let value = rest.dropFirst(4).prefix(length - 4)
      values[type] = value
      inOrder.append((Int(type), value))
      rest = rest.dropFirst(min((length + 3) & ~3, rest.count))
    }
  }

  public func contains(_ type: Int) -> Bool { values[UInt16(type)] != nil }

  public subscript(_ type: Int) -> ArraySlice<UInt8>? { values[UInt16(type)] }

  public func integer<Integer: FixedWidthInteger>(_ type: Int, as: Integer.Type = Integer.self) -> Integer? {
    self[type]?.integer(at: 0, as: Integer.self)
  }

  public func bigEndian<Integer: FixedWidthInteger>(_ type: Int, as: Integer.Type = Integer.self) -> Integer? {
    integer(type, as: Integer.self).map { Integer(bigEndian: $0) }
  }

  public func string(_ type: Int) -> String? {
    self[type].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  public func nested(_ type: Int) -> NetlinkAttributes? {
    self[type].map { NetlinkAttributes($0) }
  }
}

extension Collection<UInt8> where Self: RandomAccessCollection, Index == Int {
  /// The integer at an offset from the start, in the machine's byte order; nil when it would reach beyond the end.
  public func integer<Integer: FixedWidthInteger>(at offset: Int, as: Integer.Type = Integer.self) -> Integer? {
    let size = MemoryLayout<Integer>.size
    guard offset >= 0, count >= size, offset <= count - size else { return nil }
    var value = Integer.zero
    withUnsafeMutableBytes(of: &value) { target in
      for index in 0..<size { target[index] = self[startIndex + offset + index] }
    }
    return value
  }
}
