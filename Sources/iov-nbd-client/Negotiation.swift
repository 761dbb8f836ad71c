/// What a server says of an export.
struct Export: Sendable, Hashable {
  var sizeBytes: UInt64
  /// NBD's transmission flags.
  var flags: UInt16
  /// Requests have to be multiples of it.
  var minimumBlockBytes: UInt32
}

/// What a server refused, or should not have said. The plugins explain some of these by their words.
struct NegotiationError: Error, Hashable, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// NBD's negotiation (doc/proto.md of the NBD project, "fixed newstyle"), up to where requests begin. It is told what came, and
/// tells what to do; whoever has the connection does it.
struct Negotiation: Sendable, Hashable {
  struct Step: Sendable, Hashable {
    var send: [UInt8] = []
    var then: Then
  }

  enum Then: Sendable, Hashable {
    /// Exactly so many bytes, for `received`.
    case receive(Int)
    /// Secure the connection by TLS, for `secured`.
    case secure
    case use(Export)
  }

  private enum State: Hashable {
    case greeting
    /// An option was sent; the head of an answer comes.
    case answer(Option)
    case contents(Option, type: UInt32)
    case securing
  }

  private enum Option: UInt32 {
    case startTLS = 5
    case go = 7
  }

  private let exportName: String
  private let isSecured: Bool
  private var state: State = .greeting
  private var sizeAndFlags: SizeAndFlags?
  private var minimumBlockBytes: UInt32 = 1

  private struct SizeAndFlags: Hashable {
    var sizeBytes: UInt64
    var flags: UInt16
  }

  init(exportName: String, isSecured: Bool) {
    self.exportName = exportName
    self.isSecured = isSecured
  }

  var first: Step { Step(then: .receive(Wire.greeting.count + 2)) }

  mutating func received(_ bytes: [UInt8]) throws(NegotiationError) -> Step {
    switch state {
    case .greeting: try greeted(bytes)
    case .answer(let option): try answered(option, bytes)
    case .contents(let option, let type): try contents(option, type, bytes)
    case .securing: preconditionFailure("Nothing is read while the connection is being secured.")
    }
  }

  /// Everything said before is worth nothing now, but nothing was.
  mutating func secured() -> Step { ask(.go, Wire.request(for: exportName)) }

  private mutating func greeted(_ bytes: [UInt8]) throws(NegotiationError) -> Step {
    guard bytes.starts(with: Wire.greeting), let flags: UInt16 = Wire.integer(bytes, at: Wire.greeting.count),
      flags & Wire.fixedNewstyle != 0
    else { throw NegotiationError("whoever answers there is no NBD server of today") }
    var step = isSecured ? ask(.startTLS, []) : ask(.go, Wire.request(for: exportName))
    step.send = Wire.bytes(UInt32(flags & (Wire.fixedNewstyle | Wire.noZeroes))) + step.send
    return step
  }

  private mutating func ask(_ option: Option, _ data: [UInt8]) -> Step {
    state = .answer(option)
    return Step(send: Wire.option(option.rawValue, data), then: .receive(Wire.answerHeadBytes))
  }

  private mutating func answered(_ option: Option, _ bytes: [UInt8]) throws(NegotiationError) -> Step {
    guard Wire.integer(bytes, at: 0) == Wire.answerMagic, Wire.integer(bytes, at: 8) == option.rawValue,
      let type: UInt32 = Wire.integer(bytes, at: 12), let length: UInt32 = Wire.integer(bytes, at: 16),
      length <= Wire.longestContents
    else { throw NegotiationError("the server's answer to option \(option.rawValue) is none") }
    guard length > 0 else { return try contents(option, type, []) }
    state = .contents(option, type: type)
    return Step(then: .receive(Int(length)))
  }

  private mutating func contents(
    _ option: Option, _ type: UInt32, _ bytes: [UInt8]
  ) throws(NegotiationError) -> Step {
    switch (option, type) {
    case (.startTLS, Wire.acknowledgement):
      state = .securing
      return Step(then: .secure)
    case (.go, Wire.information):
      learn(bytes)
      state = .answer(option)
      return Step(then: .receive(Wire.answerHeadBytes))
    case (.go, Wire.acknowledgement):
      guard let sizeAndFlags else { throw NegotiationError("the server does not say how large its export is") }
      return Step(
        then: .use(
          Export(
            sizeBytes: sizeAndFlags.sizeBytes, flags: sizeAndFlags.flags, minimumBlockBytes: minimumBlockBytes)))
    default: throw refusal(option, type, String(decoding: bytes, as: UTF8.self))
    }
  }

  /// Information that was not asked for may come as well.
  private mutating func learn(_ bytes: [UInt8]) {
    let kind: UInt16? = Wire.integer(bytes, at: 0)
    if kind == Wire.exportInformation, let size: UInt64 = Wire.integer(bytes, at: 2),
      let flags: UInt16 = Wire.integer(bytes, at: 10)
    {
      sizeAndFlags = SizeAndFlags(sizeBytes: size, flags: flags)
    }
    if kind == Wire.blockSizeInformation, let minimum: UInt32 = Wire.integer(bytes, at: 2) {
      minimumBlockBytes = minimum
    }
  }

  private func refusal(_ option: Option, _ type: UInt32, _ said: String) -> NegotiationError {
    let words = said.isEmpty ? "" : ": \(said)"
    return switch (option, type) {
    case (.startTLS, _): NegotiationError("server does not support TLS\(words)")
    case (.go, Wire.tlsRequired): NegotiationError("server requires TLS\(words)")
    case (.go, Wire.unknownExport): NegotiationError("the server has no export '\(exportName)'\(words)")
    case (.go, _):
      NegotiationError("the server refused the export '\(exportName)' (\(String(type, radix: 16)))\(words)")
    }
  }
}

/// The protocol's numbers, and how they lie in its bytes: the highest byte first.
enum Wire {
  static let greeting = Array("NBDMAGICIHAVEOPT".utf8)
  static let fixedNewstyle: UInt16 = 1
  static let noZeroes: UInt16 = 2
  static let answerMagic: UInt64 = 0x0003_e889_0455_65a9
  static let answerHeadBytes = 20
  /// An error has a text of at most 4096 bytes, information some bytes before its text.
  static let longestContents: UInt32 = 4096 + 64
  static let acknowledgement: UInt32 = 1
  static let information: UInt32 = 3
  static let tlsRequired: UInt32 = 1 << 31 | 5
  static let unknownExport: UInt32 = 1 << 31 | 6
  static let exportInformation: UInt16 = 0
  static let blockSizeInformation: UInt16 = 3

  static func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

  static func integer<Integer: FixedWidthInteger>(_ bytes: [UInt8], at offset: Int) -> Integer? {
    let end = offset + MemoryLayout<Integer>.size
    guard end <= bytes.count else { return nil }
    return bytes[offset..<end].reduce(0) { $0 << 8 | Integer($1) }
  }

  static func option(_ number: UInt32, _ data: [UInt8]) -> [UInt8] {
    Array("IHAVEOPT".utf8) + bytes(number) + bytes(UInt32(data.count)) + data
  }

  /// For an export, with the sizes of requests that it takes: a server may insist on being asked for those.
  static func request(for export: String) -> [UInt8] {
    bytes(UInt32(export.utf8.count)) + export.utf8 + bytes(UInt16(1)) + bytes(blockSizeInformation)
  }
}
