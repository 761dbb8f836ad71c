import CProtobufC

/// Walks the wire bytes of a message before libprotobuf-c sees them, and refuses what libprotobuf-c is not made for:
/// nesting that would exhaust its stack, tiny elements that it would blow up to a multiple of their size, strings that
/// are no C strings, and every malformed tag, length and number.
///
/// Fields that the descriptor does not know are skipped; they count as memory, because libprotobuf-c keeps them.
struct WireValidator {
  /// The deepest message of our vocabulary has ten levels.
  static let maximumDepth = 32

  /// libprotobuf-c lists the fields of a message before it unpacks them: so many on its stack, the others in slabs that
  /// double, where one field takes 32 bytes and the slack as much again.
  private static let fieldsOnStack = 16
  private static let bytesPerField = 64

  /// What libprotobuf-c keeps of a field that it does not know, apart from the field's own bytes.
  private static let bytesPerUnknownField = 32

  /// How much memory the message may take: in our vocabulary it is at most ten times the size on the wire.
  let limitBytes: Int
  private var spentBytes = 0

  init(byteCount: Int) { limitBytes = (1 << 20) + 16 * byteCount }

  mutating func validate(
    _ bytes: UnsafeRawBufferPointer, as descriptor: UnsafePointer<ProtobufCMessageDescriptor>, depth: Int = 1
  ) throws(MessageDecodingError) {
    let message = MessageContext(descriptor: descriptor)
    guard depth <= Self.maximumDepth else { throw message.error("nests deeper than \(Self.maximumDepth) messages") }
    try spend(descriptor.pointee.sizeof_message, message)
    var cursor = WireCursor(bytes)
    var fieldCount = 0
    while !cursor.isAtEnd {
      fieldCount += 1
      if fieldCount > Self.fieldsOnStack { try spend(Self.bytesPerField, message) }
      guard let tag = cursor.varint(maximumBytes: 5), let number = fieldNumber(tag) else {
        throw message.error("malformed tag at byte \(cursor.offset)")
      }
      let wireType = UInt8(tag & 7)
      guard let value = cursor.value(wireType) else {
        throw message.error("\(message.name(of: number)) is truncated or malformed (wire type \(wireType))")
      }
      guard let field = message.field(number) else {
        try spend(Self.bytesPerUnknownField + value.count, message)
        continue
      }
      try validate(value, wireType, as: field, in: message, depth: depth)
    }
  }

  /// 1 ... 2^29 - 1.
  private func fieldNumber(_ tag: UInt64) -> UInt32? {
    tag >> 3 > 0 && tag <= UInt64(UInt32.max) ? UInt32(tag >> 3) : nil
  }

  private mutating func validate(
    _ value: UnsafeRawBufferPointer, _ wireType: UInt8, as field: UnsafePointer<ProtobufCFieldDescriptor>,
    in message: MessageContext, depth: Int
  ) throws(MessageDecodingError) {
    let type = field.pointee.type
    if field.pointee.label == PROTOBUF_C_LABEL_REPEATED { try spend(MemoryLayout<UnsafeRawPointer>.stride, message) }
    if wireType == type.wireType {
      switch type {
      case PROTOBUF_C_TYPE_MESSAGE:
        guard let nested = field.pointee.descriptor else { return }
        try validate(value, as: nested.assumingMemoryBound(to: ProtobufCMessageDescriptor.self), depth: depth + 1)
      case PROTOBUF_C_TYPE_STRING:
        try spend(16 + value.count, message)
        switch fault(inString: value) {
        case nil: break
        case .embeddedNUL: throw message.error("string \(message.name(of: field)) contains a NUL")
        case .invalidUTF8: throw message.error("string \(message.name(of: field)) is not valid UTF-8")
        }
      case PROTOBUF_C_TYPE_BYTES: try spend(16 + value.count, message)
      default: break
      }
      return
    }
    guard wireType == WireType.lengthPrefixed, field.pointee.label == PROTOBUF_C_LABEL_REPEATED else {
      throw message.error("\(message.name(of: field)) has wire type \(wireType) instead of \(type.wireType)")
    }
    try validatePacked(value, type, field, in: message)
  }

  private mutating func validatePacked(
    _ value: UnsafeRawBufferPointer, _ type: ProtobufCType, _ field: UnsafePointer<ProtobufCFieldDescriptor>,
    in message: MessageContext
  ) throws(MessageDecodingError) {
    var cursor = WireCursor(value)
    while !cursor.isAtEnd {
      guard cursor.value(type.wireType) != nil else {
        throw message.error("packed \(message.name(of: field)) is truncated or malformed")
      }
      try spend(8, message)
    }
  }

  private mutating func spend(_ bytes: Int, _ message: MessageContext) throws(MessageDecodingError) {
    spentBytes += bytes
    guard spentBytes <= limitBytes else {
      throw message.error("too many elements: the message asks for more than \(limitBytes) bytes of memory")
    }
  }
}

/// The message type in whose bytes the validator is.
private struct MessageContext {
  let descriptor: UnsafePointer<ProtobufCMessageDescriptor>

  func error(_ text: String) -> MessageDecodingError {
    MessageDecodingError("\(String(cString: descriptor.pointee.name)): \(text)")
  }

  func name(of field: UnsafePointer<ProtobufCFieldDescriptor>) -> String {
    "field '\(String(cString: field.pointee.name))'"
  }

  func name(of number: UInt32) -> String { field(number).map(name) ?? "unknown field \(number)" }

  /// protoc-c sorts the fields by number and lists the ranges without a gap.
  func field(_ number: UInt32) -> UnsafePointer<ProtobufCFieldDescriptor>? {
    guard let ranges = descriptor.pointee.field_ranges, let fields = descriptor.pointee.fields else { return nil }
    for index in 0..<Int(descriptor.pointee.n_field_ranges) {
      let range = ranges[index]
      let count = ranges[index + 1].orig_index - range.orig_index
      let position = Int64(number) - Int64(range.start_value)
      if position >= 0 && position < Int64(count) { return fields + Int(range.orig_index) + Int(position) }
    }
    return nil
  }
}
