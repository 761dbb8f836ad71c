import CProtobufC

/// A message laid out for libprotobuf-c, ready to be written to the wire.
public struct PackedMessage {
  let message: UnsafePointer<ProtobufCMessage>

  /// The size on the wire.
  public let byteCount: Int

  public init(_ message: UnsafePointer<ProtobufCMessage>) {
    self.message = message
    byteCount = protobuf_c_message_get_packed_size(message)
  }

  /// Writes exactly `byteCount` bytes to the start of `buffer`, which must hold at least as many.
  public func write(to buffer: UnsafeMutableRawBufferPointer) {
    precondition(buffer.count >= byteCount, "\(buffer.count) bytes for a message of \(byteCount)")
    guard byteCount > 0, let base = buffer.baseAddress else { return }
    _ = protobuf_c_message_pack(message, base.assumingMemoryBound(to: UInt8.self))
  }
}

extension Message {
  /// The message in the protobuf wire format.
  @inlinable
  public func encoded() -> [UInt8] {
    withPackedMessage { packed in
      [UInt8](unsafeUninitializedCapacity: packed.byteCount) { buffer, count in
        packed.write(to: UnsafeMutableRawBufferPointer(buffer))
        count = packed.byteCount
      }
    }
  }

  /// Decodes the protobuf wire format.
  @inlinable
  public init(decoding bytes: [UInt8]) throws(MessageDecodingError) {
    let result = bytes.withUnsafeBytes { buffer in
      Result { () throws(MessageDecodingError) in try Self(decoding: buffer) }
    }
    self = try result.get()
  }
}
