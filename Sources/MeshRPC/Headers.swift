import HTTP2Session

// gRPC over HTTP/2: what stands in header lists. Source: the gRPC project's PROTOCOL-HTTP2 document.

extension HeaderList {
  /// What is neither HTTP/2's nor gRPC's own.
  func metadata() -> Metadata {
    var metadata = Metadata()
    forEach { name, value in
      // How often a call was made before is for its handler, too.
      guard !isReserved(name) || name.equals("grpc-previous-rpc-attempts") else { return }
      let name = String(decoding: name, as: UTF8.self)
      let value = String(decoding: value, as: UTF8.self)
      guard name.hasSuffix("-bin") else { return metadata.add(name, .text(value)) }
      // Several values may have been joined by commas on the way.
      for part in value.split(separator: ",", omittingEmptySubsequences: false) {
        // What is no base64 is left out: whoever needs it finds it missing.
        if let bytes = Base64.decode(part) { metadata.add(name, .bytes(bytes)) }
      }
    }
    return metadata
  }

  /// Adds what HTTP/2 can carry: an entry with a name of ours, or with bytes that no header may hold, is left out, because
  /// the peer would break the call off.
  mutating func append(_ metadata: Metadata) {
    for (name, value) in metadata.entries {
      let isName = !name.isEmpty && name.utf8.allSatisfy(isNameByte)
      guard isName, !name.utf8.withContiguousBytes(isReserved) else { continue }
      switch value {
      case .text(let text):
        guard !name.hasSuffix("-bin"), text.utf8.allSatisfy({ $0 >= 0x20 && $0 <= 0x7e }) else { continue }
        append(name, text)
      case .bytes(let bytes):
        append(name.hasSuffix("-bin") ? name : name + "-bin", Base64.encode(bytes))
      }
    }
  }

  /// Peers refuse trailers that are too long as a whole: gRPC's own limit is 8 KiB unless somebody sets another one.
  private static var longestMessage: Int { 6144 }

  /// Trailers that end a call.
  static func status(_ code: StatusCode, _ message: String, _ metadata: Metadata) -> HeaderList {
    var fields = HeaderList()
    fields.append("grpc-status", String(code.rawValue))
    if !message.isEmpty { fields.append("grpc-message", PercentEncoding.encode(message, atMost: longestMessage)) }
    fields.append(metadata)
    return fields
  }

  /// The status that trailers carry, or nil if they carry none.
  func status() -> Result<Void, RPCError>? {
    guard let text = self["grpc-status"] else { return nil }
    let code = Int(text).flatMap(StatusCode.init(rawValue:)) ?? .unknown
    if code == .ok { return .success(()) }
    let message = self["grpc-message"].map(PercentEncoding.decode) ?? ""
    return .failure(RPCError(code, message, metadata: metadata()))
  }
}

/// RFC 9113 §8.2.1 and what RFC 9110 calls a token, in lower case.
private func isNameByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
  case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
  default: false
  }
}

/// Names of HTTP/2's and gRPC's own; the connection's are forbidden in HTTP/2 (RFC 9113 §8.2.2). A handler says when a call
/// may be made again.
private func isReserved(_ name: UnsafeRawBufferPointer) -> Bool {
  if name.equals("grpc-retry-pushback-ms") { return false }
  return name.starts(with: ":") || name.starts(with: "grpc-") || name.equals("content-type") || name.equals("te")
    || name.equals("user-agent") || name.equals("connection") || name.equals("host") || name.equals("keep-alive")
    || name.equals("proxy-connection") || name.equals("transfer-encoding") || name.equals("upgrade")
    || name.equals("content-length")
}

extension String.UTF8View {
  fileprivate func withContiguousBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withContiguousStorageIfAvailable { body(UnsafeRawBufferPointer($0)) } ?? Array(self).withUnsafeBytes(body)
  }
}

/// `grpc-message` escapes everything but printable ASCII. A blank at either end is escaped as well: there HTTP/2 allows none
/// (RFC 9113, section 8.2.1), and whoever gets one breaks the whole call off.
enum PercentEncoding {
  /// - Parameter atMost: bytes; of a longer text the end is left out, and said to be.
  static func encode(_ text: String, atMost: Int) -> String {
    let whole = encode(text)
    guard whole.utf8.count > atMost else { return whole }
    var shown = text.prefix(atMost)
    while encode("\(shown)…").utf8.count > atMost { shown = shown.prefix(shown.count * 7 / 8) }
    return encode("\(shown)…")
  }

  static func encode(_ text: String) -> String {
    let blank = UInt8(ascii: " ")
    if text.utf8.allSatisfy(isPlain), text.utf8.first != blank, text.utf8.last != blank { return text }
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    let last = text.utf8.count - 1
    for (position, byte) in text.utf8.enumerated() {
      if isPlain(byte), byte != blank || (position > 0 && position < last) {
        bytes.append(byte)
      } else {
        bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// What is no escape stands for itself.
  static func decode(_ text: String) -> String {
    guard text.utf8.contains(UInt8(ascii: "%")) else { return text }
    var bytes: [UInt8] = []
    var rest = Substring(text).utf8
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2,
        let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      {
        rest = rest.dropFirst(2)
        bytes.append(value)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func isPlain(_ byte: UInt8) -> Bool { byte >= 0x20 && byte <= 0x7e && byte != UInt8(ascii: "%") }
}

/// `grpc-timeout`: at most eight digits and a unit.
enum TimeoutHeader {
  static func encode(_ timeout: Duration) -> String {
    let (seconds, attoseconds) = timeout.components
    let units: [(letter: String, perSecond: Int64)] = [("n", 1_000_000_000), ("u", 1_000_000), ("m", 1000), ("S", 1)]
    for unit in units {
      // Rounded up: a caller's deadline must not pass earlier on the other side.
      let fraction =
        (attoseconds + 1_000_000_000_000_000_000 / unit.perSecond - 1) / (1_000_000_000_000_000_000 / unit.perSecond)
      let (whole, overflow) = seconds.multipliedReportingOverflow(by: unit.perSecond)
      if !overflow, whole + fraction <= 99_999_999 { return "\(max(0, whole + fraction))\(unit.letter)" }
    }
    return "99999999H"
  }

  /// nil if it is no timeout.
  static func decode(_ text: String) -> Duration? {
    guard let unit = text.last, text.count <= 9, text.dropLast().utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
      let value = Int64(text.dropLast())
    else { return nil }
    switch unit {
    case "n": return .nanoseconds(value)
    case "u": return .microseconds(value)
    case "m": return .milliseconds(value)
    case "S": return .seconds(value)
    case "M": return .seconds(value * 60)
    case "H": return .seconds(value * 3600)
    default: return nil
    }
  }
}

/// Base64 for `-bin` metadata: written without padding, read with or without.
enum Base64 {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func encode(_ bytes: [UInt8]) -> String {
    var output: [UInt8] = []
    var buffer: UInt32 = 0
    var bits: UInt32 = 0
    for byte in bytes {
      buffer = buffer << 8 | UInt32(byte)
      bits += 8
      while bits >= 6 {
        bits -= 6
        output.append(alphabet[Int(buffer >> bits & 63)])
      }
    }
    if bits > 0 { output.append(alphabet[Int(buffer << (6 - bits) & 63)]) }
    return String(decoding: output, as: UTF8.self)
  }

  static func decode(_ text: Substring) -> [UInt8]? {
    var output: [UInt8] = []
    var buffer: UInt32 = 0
    var bits: UInt32 = 0
    for byte in text.utf8 where byte != UInt8(ascii: "=") {
      guard let value = alphabet.firstIndex(of: byte) else { return nil }
      buffer = buffer << 6 | UInt32(value)
      bits += 6
      if bits >= 8 {
        bits -= 8
        output.append(UInt8(truncatingIfNeeded: buffer >> bits))
      }
    }
    return output
  }
}
