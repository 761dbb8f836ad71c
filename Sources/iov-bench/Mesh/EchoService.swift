import Services

extension Payload {
  /// A message that takes `byteCount` bytes on the wire.
  init(encodedByteCount byteCount: Int) {
    self.init()
    // The field's tag takes one byte, its length as many as it has groups of seven bits.
    var lengthByteCount = 1
    while byteCount - 1 - lengthByteCount >= 1 << (7 * lengthByteCount) { lengthByteCount += 1 }
    data = [UInt8](repeating: 0x5a, count: max(0, byteCount - 1 - lengthByteCount))
  }
}

/// Does nothing but move messages. Servers of other implementations that are compared with ours do the same.
struct EchoService: BenchmarkService {
  /// Messages in the answer to one `Download`.
  static let messagesPerDownload = 1024

  func unary(_ request: Payload, call: ServerCall) async throws -> Payload { request }

  func bidirectional(
    _ requests: RequestStream<Payload>, responses: ResponseWriter<Payload>, call: ServerCall
  ) async throws {
    for try await request in requests { try await responses.write(request) }
  }

  func download(_ request: Payload, responses: ResponseWriter<Payload>, call: ServerCall) async throws {
    for _ in 0..<Self.messagesPerDownload { try await responses.write(request) }
  }

  func upload(_ requests: RequestStream<Payload>, call: ServerCall) async throws -> Payload {
    for try await _ in requests {}
    return Payload()
  }
}
