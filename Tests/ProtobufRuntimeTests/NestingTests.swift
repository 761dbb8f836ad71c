import CProtobufC
import Messages
import Testing

@testable import ProtobufRuntime

@Suite struct NestingTests {
  /// Validates `bytes` as `message Nested { Nested nested = 1; }`. protoc-gen-iov refuses such a type, so it is built by
  /// hand: the validator must not rely on the vocabulary to be free of it.
  private func validate(_ bytes: [UInt8]) throws(MessageDecodingError) {
    let message = UnsafeMutablePointer<ProtobufCMessageDescriptor>.allocate(capacity: 1)
    let field = UnsafeMutablePointer<ProtobufCFieldDescriptor>.allocate(capacity: 1)
    let ranges = UnsafeMutablePointer<ProtobufCIntRange>.allocate(capacity: 2)
    defer {
      message.deallocate()
      field.deallocate()
      ranges.deallocate()
    }
    let result = "Nested".withCString { name in
      field.initialize(to: ProtobufCFieldDescriptor())
      field.pointee.name = name
      field.pointee.id = 1
      field.pointee.type = Lease.descriptor.pointee.fields[1].type  // a message
      field.pointee.descriptor = UnsafeRawPointer(message)
      (ranges + 0).initialize(to: ProtobufCIntRange(start_value: 1, orig_index: 0))
      (ranges + 1).initialize(to: ProtobufCIntRange(start_value: 0, orig_index: 1))
      message.initialize(to: ProtobufCMessageDescriptor())
      message.pointee.name = name
      message.pointee.sizeof_message = 32
      message.pointee.n_fields = 1
      message.pointee.fields = UnsafePointer(field)
      message.pointee.n_field_ranges = 1
      message.pointee.field_ranges = UnsafePointer(ranges)
      return bytes.withUnsafeBytes { buffer in
        Result { () throws(MessageDecodingError) in
          var validator = WireValidator(byteCount: buffer.count)
          try validator.validate(buffer, as: message)
        }
      }
    }
    try result.get()
  }

  private func nested(_ depth: Int) -> [UInt8] { (1..<depth).reduce([]) { bytes, _ in field(1, bytes) } }

  @Test func thirtyTwoLevelsAreTaken() throws {
    try validate(nested(32))
  }

  @Test(arguments: [33, 34, 5_000])
  func moreLevelsAreRefusedBeforeTheyTakeTheStack(depth: Int) {
    #expect(throws: MessageDecodingError("Nested: nests deeper than 32 messages")) { try validate(nested(depth)) }
  }
}
