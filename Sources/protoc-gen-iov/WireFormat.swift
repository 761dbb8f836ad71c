/// One field of a protobuf message as it stands on the wire.
struct WireField {
  var number: Int
  var value: WireValue
  /// The field with its tag.
  var whole: ArraySlice<UInt8>
}

enum WireValue {
  case number(UInt64)
  case bytes(ArraySlice<UInt8>)

  var integer: Int {
    if case .number(let value) = self { Int(truncatingIfNeeded: value) } else { 0 }
  }

  var bytes: ArraySlice<UInt8> {
    if case .bytes(let value) = self { value } else { [] }
  }

  var string: String { String(decoding: bytes, as: UTF8.self) }
}

/// protoc broke off in the middle of a request, or speaks a wire format that this plugin does not.
struct MalformedRequest: Error {}

/// Splits a message into its fields. The input is protoc's, so this is not hardened against hostile bytes.
func wireFields(_ bytes: ArraySlice<UInt8>) throws -> [WireField] {
  var rest = bytes
  var fields: [WireField] = []
  while !rest.isEmpty {
    let start = rest
    let tag = try takeVarint(&rest)
    let value: WireValue
    switch tag & 7 {
    case 0: value = .number(try takeVarint(&rest))
    case 1: value = .bytes(try take(8, from: &rest))
    case 2:
      let count = Int(try takeVarint(&rest))
      value = .bytes(try take(count, from: &rest))
    case 5: value = .bytes(try take(4, from: &rest))
    default: throw MalformedRequest()
    }
    let whole = start[start.startIndex..<rest.startIndex]
    fields.append(WireField(number: Int(tag >> 3), value: value, whole: whole))
  }
  return fields
}

func packedVarints(_ bytes: ArraySlice<UInt8>) throws -> [Int] {
  var rest = bytes
  var values: [Int] = []
  while !rest.isEmpty { values.append(Int(truncatingIfNeeded: try takeVarint(&rest))) }
  return values
}

private func takeVarint(_ rest: inout ArraySlice<UInt8>) throws -> UInt64 {
  var value: UInt64 = 0
  for shift in stride(from: UInt64(0), to: 70, by: 7) {
    guard let byte = rest.popFirst() else { throw MalformedRequest() }
    value |= UInt64(byte & 0x7f) << shift
    if byte < 0x80 { return value }
  }
  throw MalformedRequest()
}

private func take(_ count: Int, from rest: inout ArraySlice<UInt8>) throws -> ArraySlice<UInt8> {
  guard count >= 0, count <= rest.count else { throw MalformedRequest() }
  defer { rest = rest.dropFirst(count) }
  return rest.prefix(count)
}

/// Writes length-delimited fields: all that an answer to protoc consists of, apart from one number.
struct WireWriter {
  private(set) var bytes: [UInt8] = []

  mutating func append(_ number: Int, _ value: some Collection<UInt8>) {
    appendVarint(UInt64(number << 3 | 2))
    appendVarint(UInt64(value.count))
    bytes += value
  }

  mutating func append(_ number: Int, varint value: UInt64) {
    appendVarint(UInt64(number << 3))
    appendVarint(value)
  }

  private mutating func appendVarint(_ value: UInt64) {
    var value = value
    while value >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    bytes.append(UInt8(value))
  }
}
