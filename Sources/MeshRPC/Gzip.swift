import CZlib

/// libz, one message at a time.
enum Gzip {
  /// What libz adds to its window's size to write and read gzip's frame (zlib.h, deflateInit2).
  private static let windowBits = MAX_WBITS + 16

  /// The bytes compressed, or nil if that would not make them fewer.
  static func compress(_ bytes: [UInt8]) -> [UInt8]? {
    guard !bytes.isEmpty, let byteCount = UInt32(exactly: bytes.count) else { return nil }
    return bytes.withUnsafeBytes { bytes in
      withStream(of: bytes) { stream in
        // Handlers run on the event loop, which others wait for: the level that takes the least time.
        let code = deflateInit2_(
          stream, Z_BEST_SPEED, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, zlibVersion(),
          CInt(MemoryLayout<z_stream>.size))
        guard code == Z_OK else { return nil }
        defer { deflateEnd(stream) }
        var isWhole = false
        let compressed = [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
          stream.pointee.next_out = buffer.baseAddress
          stream.pointee.avail_out = byteCount
          isWhole = deflate(stream, Z_FINISH) == Z_STREAM_END
          count = bytes.count - Int(stream.pointee.avail_out)
        }
        return isWhole && compressed.count < bytes.count ? compressed : nil
      }
    }
  }

  /// The bytes decompressed. Memory is bounded by the limit, whatever they claim to hold.
  static func decompress(_ bytes: ArraySlice<UInt8>, maximumByteCount: Int) throws(RPCError) -> [UInt8] {
    try bytes.withUnsafeBytes { bytes in
      withStream(of: bytes) { stream in
        Result { () throws(RPCError) in try decompress(stream, bytes.count, maximumByteCount: maximumByteCount) }
      }
    }.get()
  }

  private static func decompress(
    _ stream: UnsafeMutablePointer<z_stream>, _ compressedByteCount: Int, maximumByteCount: Int
  ) throws(RPCError) -> [UInt8] {
    guard inflateInit2_(stream, windowBits, zlibVersion(), CInt(MemoryLayout<z_stream>.size)) == Z_OK else {
      throw RPCError(.resourceExhausted, "there is no memory to decompress a message")
    }
    defer { inflateEnd(stream) }
    // One byte above the limit tells a message that is too long from one that just fits.
    let mostByteCount = min(maximumByteCount, Int(UInt32.max) - 1) + 1
    var message: [UInt8] = []
    var code = Z_OK
    while code == Z_OK, stream.pointee.avail_out == 0, message.count < mostByteCount {
      let byteCount = min(max(2 * message.count, 4 * compressedByteCount, 256), mostByteCount)
      code = grow(&message, to: byteCount, from: stream)
    }
    guard message.count < mostByteCount else {
      throw RPCError(.resourceExhausted, "a message is above the limit of \(maximumByteCount) bytes, decompressed")
    }
    guard code == Z_STREAM_END, stream.pointee.avail_in == 0 else {
      throw RPCError(.internalError, "a message is not what gzip makes (libz: \(code))")
    }
    return message
  }

  /// Lets libz add bytes up to `byteCount`; answers its code.
  private static func grow(
    _ message: inout [UInt8], to byteCount: Int, from stream: UnsafeMutablePointer<z_stream>
  ) -> CInt {
    let known = message
    var code = Z_OK
    message = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
      let room = UnsafeMutableBufferPointer(rebasing: buffer[buffer.update(fromContentsOf: known)...])
      stream.pointee.next_out = room.baseAddress
      stream.pointee.avail_out = UInt32(clamping: room.count)
      code = inflate(stream, Z_NO_FLUSH)
      count = byteCount - Int(stream.pointee.avail_out)
    }
    return code
  }

  /// A stream whose input is `bytes`. libz remembers where its streams stand, so that they must not move.
  private static func withStream<Result>(
    of bytes: UnsafeRawBufferPointer, _ body: (UnsafeMutablePointer<z_stream>) -> Result
  ) -> Result {
    var stream = z_stream()
    // libz declares what it only reads as mutable.
    stream.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
    stream.avail_in = UInt32(clamping: bytes.count)
    return withUnsafeMutablePointer(to: &stream, body)
  }
}
