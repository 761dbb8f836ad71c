import Services

/// What the mesh is measured with: messages of one size, in every shape of call. Servers of other implementations that
/// are compared with ours offer the same service.
enum BenchmarkMethods {
  static let unary = method("Unary")
  static let bidirectional = method("Bidirectional")
  static let download = method("Download")
  static let upload = method("Upload")

  /// Messages in the answer to one `Download`.
  static let messagesPerDownload = 1024

  private static func method(_ name: String) -> MethodDescriptor<Payload, Payload> {
    MethodDescriptor(service: "iov.bench.v1.Benchmark", method: name)
  }
}

/// Bytes under field number 1: what every benchmark message is on the wire.
typealias Payload = BackupChunk

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

/// Does nothing but move messages.
struct BenchmarkService: RPCService {
  func register(in router: inout Router) {
    router.unary(BenchmarkMethods.unary) { request, _ in request }
    router.bidirectional(BenchmarkMethods.bidirectional) { requests, responses, _ in
      for try await request in requests { try await responses.write(request) }
    }
    router.serverStreaming(BenchmarkMethods.download) { request, responses, _ in
      for _ in 0..<BenchmarkMethods.messagesPerDownload { try await responses.write(request) }
    }
    router.clientStreaming(BenchmarkMethods.upload) { requests, _ in
      for try await _ in requests {}
      return Payload()
    }
  }
}
