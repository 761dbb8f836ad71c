import CProtobufC

/// Decodes one message: checks the bytes, has libprotobuf-c unpack them into a capped arena, hands over the C struct.
public struct MessageDecoder {
  private let bytes: UnsafeRawBufferPointer
  private let descriptor: UnsafePointer<ProtobufCMessageDescriptor>

  public init(_ bytes: UnsafeRawBufferPointer, descriptor: UnsafePointer<ProtobufCMessageDescriptor>) {
    self.bytes = bytes
    self.descriptor = descriptor
  }

  /// `copy` gets the unpacked struct, which is gone when it returns.
  public func decode<Value>(_ copy: (UnsafeRawPointer) -> Value) throws(MessageDecodingError) -> Value {
    var validator = WireValidator(byteCount: bytes.count)
    try validator.validate(bytes, as: descriptor)
    let limit = validator.limitBytes
    let value = withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { chunk in
      var arena = MessageArena(first: chunk, limitBytes: limit)
      return withUnsafeMutablePointer(to: &arena) { arena in
        var allocator = ProtobufCAllocator(
          alloc: { $0?.assumingMemoryBound(to: MessageArena.self).pointee.bytes($1) },
          free: { _, _ in }, allocator_data: arena)
        let data = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return protobuf_c_message_unpack(descriptor, &allocator, bytes.count, data).map { copy(UnsafeRawPointer($0)) }
      }
    }
    guard let value else {
      throw MessageDecodingError(
        "\(String(cString: descriptor.pointee.name)): \(bytes.count) bytes ask for too much memory")
    }
    return value
  }
}
