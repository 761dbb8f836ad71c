/// A message as it stands in a body.
struct FramedMessage {
  var bytes: ArraySlice<UInt8>
  var isCompressed: Bool
}

/// Cuts a body into gRPC's messages: a byte that says whether it is compressed, four bytes of length, the message.
struct MessageFramer {
  static let prefixByteCount = 5

  /// The largest message taken, in bytes.
  let maximumByteCount: Int
  private var buffer: [UInt8] = []
  private var first = 0

  init(maximumByteCount: Int) { self.maximumByteCount = maximumByteCount }

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    if first == buffer.count {
      // A slice that a reader still holds keeps the old array.
      buffer = Array(bytes)
      first = 0
      return
    }
    if first > 0 {
      buffer.removeFirst(first)
      first = 0
    }
    buffer.append(contentsOf: bytes)
  }

  /// The next whole message, or nil if more bytes are needed.
  mutating func next() throws(RPCError) -> FramedMessage? {
    guard buffer.count - first >= Self.prefixByteCount else { return nil }
    let flag = buffer[first]
    guard flag <= 1 else { throw RPCError(.internalError, "a message begins with \(flag), which gRPC does not know") }
    let length = buffer.withUnsafeBytes {
      Int(UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: first + 1, as: UInt32.self)))
    }
    guard length <= maximumByteCount else {
      throw RPCError(.resourceExhausted, "a message of \(length) bytes is above the limit of \(maximumByteCount)")
    }
    let start = first + Self.prefixByteCount
    guard buffer.count - start >= length else {
      // Room for all of it at once; below the limit, and only when some of it has come.
      if buffer.count > start { buffer.reserveCapacity(start + length) }
      return nil
    }
    first = start + length
    return FramedMessage(bytes: buffer[start..<first], isCompressed: flag == 1)
  }

  /// Writes what stands before a message of `byteCount` bytes.
  static func writePrefix(to buffer: UnsafeMutableRawBufferPointer, byteCount: Int, isCompressed: Bool) {
    buffer[0] = isCompressed ? 1 : 0
    buffer.storeBytes(of: UInt32(truncatingIfNeeded: byteCount).bigEndian, toByteOffset: 1, as: UInt32.self)
  }

  /// Bytes that wait for the rest of their message.
  var unfinishedByteCount: Int { buffer.count - first }

  /// True if bytes of an unfinished message are left.
  var isMidMessage: Bool { first < buffer.count }
}
