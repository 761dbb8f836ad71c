import Glibc

/// One HTTP/2 frame as it stands on the wire (RFC 9113 §4.1), well formed or not.
struct RawFrame: Hashable {
  enum Kind {
    static let data: UInt8 = 0
    static let headers: UInt8 = 1
    static let priority: UInt8 = 2
    static let reset: UInt8 = 3
    static let settings: UInt8 = 4
    static let ping: UInt8 = 6
    static let goAway: UInt8 = 7
    static let windowUpdate: UInt8 = 8
    static let continuation: UInt8 = 9
  }

  var kind: UInt8
  var flags: UInt8 = 0
  var stream: UInt32 = 0
  var payload: [UInt8] = []

  static let endStream: UInt8 = 1
  static let answer: UInt8 = 1
  static let endHeaders: UInt8 = 4

  var bytes: [UInt8] {
    let length = UInt32(payload.count)
    return [UInt8(length >> 16 & 0xff), UInt8(length >> 8 & 0xff), UInt8(length & 0xff), kind, flags]
      + bigEndian(stream) + payload
  }

  /// A client's first bytes: the preface and empty SETTINGS.
  static let greeting = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + RawFrame(kind: Kind.settings).bytes

  /// A call's headers, compressed without any table of ours.
  static func call(_ path: String, stream: UInt32, endsStream: Bool = false) -> RawFrame {
    // :method POST, :scheme http, :authority x (RFC 7541, appendix A).
    var block: [UInt8] = [0x83, 0x86, 0x01, 1, UInt8(ascii: "x")]
    block += [0x04, UInt8(path.utf8.count)] + Array(path.utf8)
    let type = "application/grpc"
    block += [0x0f, 0x10, UInt8(type.utf8.count)] + Array(type.utf8)
    return RawFrame(
      kind: Kind.headers, flags: endHeaders | (endsStream ? endStream : 0), stream: stream, payload: block)
  }

  static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> RawFrame {
    RawFrame(kind: Kind.reset, stream: stream, payload: bigEndian(code))
  }

  static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> RawFrame {
    RawFrame(kind: Kind.windowUpdate, stream: stream, payload: bigEndian(increment))
  }

  static func ping(_ payload: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0], isAnswer: Bool = false) -> RawFrame {
    RawFrame(kind: Kind.ping, flags: isAnswer ? answer : 0, payload: payload)
  }

  // MARK: Of a GOAWAY

  var lastStream: UInt32 { number(at: 0) & 0x7fff_ffff }
  var goAwayCode: UInt32 { number(at: 4) }
  var goAwayReason: String { String(decoding: payload.dropFirst(8), as: UTF8.self) }

  /// The code of a RST_STREAM.
  var resetCode: UInt32 { number(at: 0) }

  private func number(at offset: Int) -> UInt32 {
    payload.dropFirst(offset).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
  }

  static func all(in bytes: [UInt8]) -> [RawFrame] {
    var reader = FrameParser()
    reader.append(bytes)
    var frames: [RawFrame] = []
    while let frame = reader.next() { frames.append(frame) }
    return frames
  }
}

func bigEndian(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

/// Cuts bytes into frames.
struct FrameParser {
  private var bytes: ArraySlice<UInt8> = []

  mutating func append(_ more: [UInt8]) { bytes += more }

  mutating func next() -> RawFrame? {
    let head = Array(bytes.prefix(9))
    guard head.count == 9 else { return nil }
    let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
    guard bytes.count >= 9 + length else { return nil }
    let stream = head[5...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    defer { bytes = bytes.dropFirst(9 + length) }
    return RawFrame(kind: head[3], flags: head[4], stream: stream, payload: Array(bytes.dropFirst(9).prefix(length)))
  }
}

/// What a server sends on a raw connection, frame by frame.
struct FrameReader {
  private var iterator: AsyncStream<[UInt8]>.AsyncIterator
  private var parser = FrameParser()

  init(_ connection: RawConnection) { iterator = connection.received.makeAsyncIterator() }

  /// nil when the other side has closed.
  mutating func next() async -> RawFrame? {
    while true {
      if let frame = parser.next() { return frame }
      guard let bytes = await iterator.next() else { return nil }
      parser.append(bytes)
    }
  }

  /// The next frame for which `isWanted` holds; the others are dropped.
  mutating func next(where isWanted: (RawFrame) -> Bool) async -> RawFrame? {
    while let frame = await next() {
      if isWanted(frame) { return frame }
    }
    return nil
  }

  mutating func next(_ kind: UInt8, stream: UInt32 = 0) async -> RawFrame? {
    await next { $0.kind == kind && $0.stream == stream }
  }
}

/// Bytes of this process in memory (proc(5), statm).
func residentByteCount() -> Int {
  guard let file = fopen("/proc/self/statm", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 256)
  guard fgets(&line, CInt(line.count), file) != nil else { return 0 }
  let words = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).split(
    separator: " ")
  return (words.count > 1 ? Int(words[1]) ?? 0 : 0) * Int(getpagesize())
}
