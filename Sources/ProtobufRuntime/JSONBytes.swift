// Bytes are base64 in JSON (RFC 4648); the URL alphabet and missing padding are taken too, as protobuf asks.

extension Array: JSONMapped where Element == UInt8 {
  public init(json decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let bytes = [UInt8](base64: try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "bytes are not valid base64")
    }
    self = bytes
  }

  public func encodeJSON(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(base64)
  }

  public var isProtobufDefault: Bool { isEmpty }

  /// nil if a character is foreign or the length impossible.
  init?(base64 text: String) {
    self = []
    var pending: UInt32 = 0
    var pendingBits = 0
    var characters = 0
    for character in text.utf8.dropSuffix(UInt8(ascii: "=")) {
      guard let value = sextet(character) else { return nil }
      characters += 1
      pending = pending << 6 | value
      pendingBits += 6
      if pendingBits >= 8 {
        pendingBits -= 8
        append(UInt8(truncatingIfNeeded: pending >> UInt32(pendingBits)))
      }
    }
    if characters % 4 == 1 { return nil }
  }

  var base64: String {
    let alphabet = Swift.Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    text.reserveCapacity((count + 2) / 3 * 4)
    for start in stride(from: 0, to: count, by: 3) {
      let group = self[start..<Swift.min(start + 3, count)]
      let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << (8 * UInt32(3 - group.count))
      for position in 0..<4 {
        let sextet = Int(bits >> UInt32(18 - 6 * position)) & 63
        text.append(position <= group.count ? alphabet[sextet] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}

extension String.UTF8View {
  /// Without the up to two bytes of padding at the end.
  fileprivate func dropSuffix(_ padding: UInt8) -> Substring.UTF8View {
    var rest = self[...]
    for _ in 0..<2 where rest.last == padding { rest = rest.dropLast() }
    return rest
  }
}

private func sextet(_ character: UInt8) -> UInt32? {
  switch character {
  case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
  case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a")) + 26
  case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0")) + 52
  case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
  case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
  default: nil
  }
}
