/// The attributes of a netlink message, by type; of several with the same type the last one counts, as in the kernel.
///
/// Reading stops at an attribute whose length does not fit: nothing outside the given bytes is ever read, and what is
/// missing reads as absent.
public struct NetlinkAttributes: Sendable {
  /// The values in the order they came, for lists whose types mean nothing.
  public let inOrder: [(type: Int, value: ArraySlice<UInt8>)]

  public init(_ bytes: ArraySlice<UInt8>) { inOrder = Array(Sequence(bytes)) }

  public func contains(_ type: Int) -> Bool { self[type] != nil }

  // A message has some fifty attributes: looking through them costs less than a table of them would.
  public subscript(_ type: Int) -> ArraySlice<UInt8>? { inOrder.last { $0.type == type }?.value }

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

  /// One after the other, without room for all of them: for messages that hold thousands.
  public struct Sequence: Swift.Sequence, IteratorProtocol, Sendable {
    private var rest: ArraySlice<UInt8>

    public init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    public mutating func next() -> (type: Int, value: ArraySlice<UInt8>)? {
      guard rest.count >= 4, let length = rest.integer(at: 0, as: UInt16.self).map(Int.init),
        let type = rest.integer(at: 2, as: UInt16.self), length >= 4, length <= rest.count
      else { return nil }
      let start = rest.startIndex
      let value = rest[start + 4..<start + length]
      rest = rest[start + Swift.min((length + 3) & ~3, rest.count)..<rest.endIndex]
      // The two highest bits say "nested" and "network byte order".
      return (Int(type & 0x3fff), value)
    }
  }
}

extension Collection<UInt8> where Self: RandomAccessCollection, Index == Int {
  /// The integer at an offset from the start, in the machine's byte order; nil when it would reach beyond the end.
  public func integer<Integer: FixedWidthInteger>(at offset: Int, as: Integer.Type = Integer.self) -> Integer? {
    let size = MemoryLayout<Integer>.size
    guard offset >= 0, count >= size, offset <= count - size else { return nil }
    // Arrays and their slices lie in one piece; anything else is copied byte by byte.
    if let value = withContiguousStorageIfAvailable({
      UnsafeRawBufferPointer($0).loadUnaligned(fromByteOffset: offset, as: Integer.self)
    }) {
      return value
    }
    var value = Integer.zero
    withUnsafeMutableBytes(of: &value) { target in
      for index in 0..<size { target[index] = self[startIndex + offset + index] }
    }
    return value
  }
}
