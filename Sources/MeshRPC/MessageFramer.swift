/// Cuts a body into gRPC's messages: a byte that says whether it is compressed, four bytes of length, the message.
struct MessageFramer {
  /// The largest message taken, in bytes.
  let maximumByteCount: Int
  private var buffer: [UInt8] = []
  private var first = 0

  init(maximumByteCount: Int) { self.maximumByteCount = maximumByteCount }

  mutating func append(_ bytes: [UInt8]) {
    if first == buffer.count {
      buffer = bytes
      first = 0
    } else {
      if first > 0 {
        buffer.removeFirst(first)
        first = 0
      }
      buffer += bytes
    }
  }

  /// The next whole message, or nil if more bytes are needed.
  mutating func next() throws(RPCError) -> ArraySlice<UInt8>? {
    guard buffer.count - first >= 5 else { return nil }
    guard buffer[first] == 0 else {
      throw RPCError(.unimplemented, "the message is compressed; this side offers no compression")
    }
    let length = buffer[first + 1..<first + 5].reduce(0) { $0 << 8 | Int($1) }
    guard length <= maximumByteCount else {
      throw RPCError(.resourceExhausted, "a message of \(length) bytes is above the limit of \(maximumByteCount)")
    }
    guard buffer.count - first - 5 >= length else { return nil }
    let message = buffer[first + 5..<first + 5 + length]
    first += 5 + length
    return message
  }

  /// True if bytes of an unfinished message are left.
  var isMidMessage: Bool { first < buffer.count }
}
