import InteropMessages

/// The server of gRPC's interoperability tests.
///
/// It registers its methods one by one, and not as a `TestServiceService`, because that would have to offer the method
/// that no server may have.
public struct InteropService: RPCService {
  /// Bytes of a response's payload; more is refused.
  private static let maximumPayloadByteCount: Int32 = 64 << 20

  public init() {}

  public func register(in router: inout Router) {
    router.unary(TestServiceMethods.emptyCall) { request, call in
      echoMetadata(call)
      return request
    }
    router.unary(TestServiceMethods.unaryCall) { try unaryCall($0, $1) }
    router.serverStreaming(TestServiceMethods.streamingOutputCall) { request, responses, call in
      try await answer(request, responses, call)
    }
    router.clientStreaming(TestServiceMethods.streamingInputCall) { try await streamingInputCall($0, $1) }
    router.bidirectional(TestServiceMethods.fullDuplexCall) { requests, responses, call in
      echoMetadata(call)
      for try await request in requests { try await answer(request, responses, call) }
    }
    router.bidirectional(TestServiceMethods.halfDuplexCall) { requests, responses, call in
      echoMetadata(call)
      let requests = try await requests.reduce(into: []) { $0.append($1) }
      for request in requests { try await answer(request, responses, call) }
    }
  }

  // MARK: Calls

  private func unaryCall(_ request: SimpleRequest, _ call: ServerCall) throws -> SimpleResponse {
    echoMetadata(call)
    try checkCompression(request.expectCompressed, call)
    if request.responseCompressed?.value == true { call.compressResponses() }
    try throwStatus(request.responseStatus)
    return try SimpleResponse { $0.payload = try payload(request.responseType, request.responseSize) }
  }

  private func streamingInputCall(
    _ requests: RequestStream<StreamingInputCallRequest>, _ call: ServerCall
  ) async throws -> StreamingInputCallResponse {
    var byteCount = 0
    for try await request in requests {
      try checkCompression(request.expectCompressed, call)
      byteCount += request.payload?.body.count ?? 0
    }
    return StreamingInputCallResponse { $0.aggregatedPayloadSize = Int32(clamping: byteCount) }
  }

  private func answer(
    _ request: StreamingOutputCallRequest, _ responses: ResponseWriter<StreamingOutputCallResponse>, _ call: ServerCall
  ) async throws {
    try throwStatus(request.responseStatus)
    if request.responseParameters.contains(where: { $0.compressed?.value == true }) { call.compressResponses() }
    for parameters in request.responseParameters {
      if parameters.intervalUs > 0 { try await Task.sleep(for: .microseconds(parameters.intervalUs)) }
      let response = try StreamingOutputCallResponse {
        $0.payload = try payload(request.responseType, parameters.size)
      }
      try await responses.write(response, compressed: parameters.compressed?.value == true)
    }
  }

  // MARK: What requests ask for

  private func echoMetadata(_ call: ServerCall) {
    let metadata = call.metadata
    if let text = metadata[EchoedMetadata.initialName] {
      call.setInitialMetadata([EchoedMetadata.initialName: text])
    }
    if let bytes = metadata.bytes(EchoedMetadata.trailingName) {
      var trailing = Metadata()
      trailing.add(EchoedMetadata.trailingName, .bytes(bytes))
      call.setTrailingMetadata(trailing)
    }
  }

  private func checkCompression(_ expected: BoolValue?, _ call: ServerCall) throws(RPCError) {
    guard let expected, expected.value != (call.requestEncoding == .gzip) else { return }
    throw RPCError(
      .invalidArgument,
      expected.value ? "the message is not compressed, as it says it is" : "the message is compressed, unlike it says")
  }

  private func throwStatus(_ status: EchoStatus?) throws(RPCError) {
    guard let status, status.code != 0 else { return }
    throw RPCError(StatusCode(rawValue: Int(status.code)) ?? .unknown, status.message)
  }

  private func payload(_ type: PayloadType, _ byteCount: Int32) throws(RPCError) -> Payload {
    guard type == .compressable else { throw RPCError(.invalidArgument, "payloads of type \(type) are not known here") }
    guard 0...Self.maximumPayloadByteCount ~= byteCount else {
      throw RPCError(
        .invalidArgument, "a payload of \(byteCount) bytes: it has 0 to \(Self.maximumPayloadByteCount)")
    }
    return .zeros(Int(byteCount))
  }
}

/// The metadata that a server sends back.
enum EchoedMetadata {
  static let initialName = "x-grpc-test-echo-initial"
  static let trailingName = "x-grpc-test-echo-trailing-bin"
}

extension Payload {
  static func zeros(_ byteCount: Int) -> Payload {
    Payload { $0.body = [UInt8](repeating: 0, count: byteCount) }
  }
}
