import Services

/// One line of the ledger's file: a checksum, then what happened.
enum LedgerRecord: Sendable, Hashable {
  case seen(FunctionRequest)
  case released(String, endNode: String, token: UInt64)
  case gone(String)
  case control(String, token: UInt64, yielded: Bool)
  /// Gone functions of this end node up to this token are no longer listed.
  case forgotten(String, token: UInt64)

  /// "crc32 word token base64…\n"; names are in base64 because they may hold anything.
  var line: [UInt8] {
    let body: String =
      switch self {
      case .seen(let request): "seen 0 \(Base64.encode(request.encoded()))"
      case .released(let id, let endNode, let token):
        "released \(token) \(Base64.encode(Array(id.utf8))) \(Base64.encode(Array(endNode.utf8)))"
      case .gone(let id): "gone 0 \(Base64.encode(Array(id.utf8)))"
      case .control(let endNode, let token, let yielded):
        "\(yielded ? "yielded" : "control") \(token) \(Base64.encode(Array(endNode.utf8)))"
      case .forgotten(let endNode, let token): "forgotten \(token) \(Base64.encode(Array(endNode.utf8)))"
      }
    return Array("\(CRC32.text(body.utf8)) \(body)\n".utf8)
  }

  /// Nil when the line, which is without its end, is damaged.
  init?(line: some Collection<UInt8>) {
    let parts = String(decoding: line, as: UTF8.self).split(separator: " ")
    guard parts.count >= 4, let token = UInt64(parts[2]), let first = Base64.decode(parts[3]),
      CRC32.text(parts.dropFirst().joined(separator: " ").utf8) == parts[0]
    else { return nil }
    let name = String(decoding: first, as: UTF8.self)
    switch (parts[1], parts.count) {
    case ("seen", 4):
      guard let request = try? FunctionRequest(decoding: first) else { return nil }
      self = .seen(request)
    case ("released", 5):
      guard let endNode = Base64.decode(parts[4]) else { return nil }
      self = .released(name, endNode: String(decoding: endNode, as: UTF8.self), token: token)
    case ("gone", 4): self = .gone(name)
    case ("control", 4): self = .control(name, token: token, yielded: false)
    case ("yielded", 4): self = .control(name, token: token, yielded: true)
    case ("forgotten", 4): self = .forgotten(name, token: token)
    default: return nil
    }
  }
}

/// The checksum of IEEE 802.3, bit by bit: a ledger's lines are short and few.
enum CRC32 {
  static func text(_ bytes: some Sequence<UInt8>) -> String {
    var value: UInt32 = 0xffff_ffff
    for byte in bytes {
      value ^= UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0xedb8_8320 : value >> 1 }
    }
    let digits = String(~value, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}

/// Hexadecimal would do as well; this takes a third less room.
enum Base64 {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

  /// Never empty, so that a line always has the same number of words: nothing becomes "=".
  static func encode(_ bytes: [UInt8]) -> String {
    if bytes.isEmpty { return "=" }
    var text: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      count += 8
      while count >= 6 {
        count -= 6
        text.append(alphabet[Int(bits >> UInt32(count) & 63)])
      }
      bits &= (1 << UInt32(count)) - 1
    }
    if count > 0 { text.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
    return String(decoding: text, as: UTF8.self)
  }

  static func decode(_ text: Substring) -> [UInt8]? {
    if text == "=" { return [] }
    var bytes: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for digit in text.utf8 {
      guard let value = alphabet.firstIndex(of: digit) else { return nil }
      bits = bits << 6 | UInt32(value)
      count += 6
      if count >= 8 {
        count -= 8
        bytes.append(UInt8(bits >> UInt32(count) & 255))
        bits &= (1 << UInt32(count)) - 1
      }
    }
    return bytes
  }
}
