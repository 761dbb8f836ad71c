import CProtobufC

/// Decodes one message: checks the bytes, has libprotobuf-c unpack them into a capped arena, hands over the C struct.
public struct MessageDecoder {
  private let bytes: UnsafeRawBufferPointer
  private let descriptor: UnsafePointer<ProtobufCMessageDescriptor>

  public init(_ bytes: UnsafeRawBufferPointer, descriptor: UnsafePointer<ProtobufCMessageDescriptor>) {
    self.bytes = bytes
    self.descriptor = descriptor
  }

  /// `copy` gets the unpacked struct, which is gone when it returns. It is called exactly once, unless this throws.
  public func decode(_ copy: (UnsafeRawPointer) -> Void) throws(MessageDecodingError) {
    var validator = WireValidator(byteCount: bytes.count)
    try validator.validate(bytes, as: descriptor)
    guard unpack(limitBytes: validator.limitBytes, copy) else {
      let name = String(cString: descriptor.pointee.name)
      throw MessageDecodingError(
        "\(name): \(bytes.count) bytes ask for more than \(validator.limitBytes) bytes of memory")
    }
  }

  /// False if the memory does not suffice.
  private func unpack(limitBytes: Int, _ copy: (UnsafeRawPointer) -> Void) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { chunk in
      var arena = MessageArena(first: chunk, limitBytes: limitBytes)
      return withUnsafeMutablePointer(to: &arena) { arena in
        var allocator = ProtobufCAllocator(
          alloc: { $0?.assumingMemoryBound(to: MessageArena.self).pointee.bytes($1) },
          free: { _, _ in }, allocator_data: arena)
        let data = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        guard let message = protobuf_c_message_unpack(descriptor, &allocator, bytes.count, data) else { return false }
        copy(UnsafeRawPointer(message))
        return true
      }
    }
  }
}
