import CProtobufC

/// The low three bits of a tag. Groups are not proto3.
enum WireType {
  static let varint: UInt8 = 0
  static let eightBytes: UInt8 = 1
  static let lengthPrefixed: UInt8 = 2
  static let fourBytes: UInt8 = 5
}

extension ProtobufCType {
  var wireType: UInt8 {
    switch self {
    case PROTOBUF_C_TYPE_STRING, PROTOBUF_C_TYPE_BYTES, PROTOBUF_C_TYPE_MESSAGE: WireType.lengthPrefixed
    case PROTOBUF_C_TYPE_FIXED32, PROTOBUF_C_TYPE_SFIXED32, PROTOBUF_C_TYPE_FLOAT: WireType.fourBytes
    case PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_TYPE_SFIXED64, PROTOBUF_C_TYPE_DOUBLE: WireType.eightBytes
    default: WireType.varint
    }
  }
}

/// Reads tags, numbers and lengths; nil is malformed or beyond the end.
struct WireCursor {
  private let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { offset == bytes.count }

  mutating func varint(maximumBytes: Int = 10) -> UInt64? {
    var value: UInt64 = 0
    for index in 0..<maximumBytes {
      guard offset < bytes.count else { return nil }
      let byte = bytes[offset]
      offset += 1
      value |= UInt64(byte & 0x7f) << (7 * UInt64(index))
      if byte < 0x80 { return value }
    }
    return nil
  }

  /// The value of a field: for a length-prefixed one what follows the length, else its bytes.
  mutating func value(_ wireType: UInt8) -> UnsafeRawBufferPointer? {
    switch wireType {
    case WireType.varint:
      let start = offset
      return varint() == nil ? nil : UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
    case WireType.eightBytes: return take(8)
    case WireType.fourBytes: return take(4)
    case WireType.lengthPrefixed:
      // libprotobuf-c reads a length of up to five bytes and refuses one beyond INT_MAX.
      guard let length = varint(maximumBytes: 5), length <= UInt64(Int32.max) else { return nil }
      return take(Int(length))
    default: return nil
    }
  }

  private mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
    guard count <= bytes.count - offset else { return nil }
    defer { offset += count }
    return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
  }
}
