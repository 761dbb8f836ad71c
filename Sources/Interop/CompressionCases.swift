import InteropMessages

extension BoolValue {
  static func of(_ value: Bool) -> BoolValue { BoolValue { $0.value = value } }
}

extension InteropCalls {
  private static let gzip = CallOptions(compression: .gzip)
  private static let acceptsGzip = CallOptions(compression: .identity)

  func clientCompressedUnary() async throws {
    func request(_ isCompressed: Bool) -> SimpleRequest {
      var request = SimpleRequest.large
      request.expectCompressed = .of(isCompressed)
      return request
    }
    // A server that does not look at messages' flags could not tell the rest from luck.
    try await expectError(.invalidArgument) { _ = try await client.unaryCall(request(true)) }
    let compressed = try await client.unaryCall(request(true), options: Self.gzip)
    try expect("the response to a compressed request", compressed, is: .large)
    let plain = try await client.unaryCall(request(false))
    try expect("the response to a plain request", plain, is: .large)
  }

  func serverCompressedUnary() async throws {
    for isCompressed in [true, false] {
      var request = SimpleRequest.large
      request.responseCompressed = .of(isCompressed)
      let answer = try await channel.answer(TestServiceMethods.unaryCall, request, options: Self.acceptsGzip)
      try expect("the response's encoding", answer.messageEncoding, is: isCompressed ? .gzip : .identity)
      try expect("the response", answer.message, is: .large)
    }
  }

  func clientCompressedStreaming() async throws {
    func request(_ byteCount: Int, _ isCompressed: Bool) -> StreamingInputCallRequest {
      StreamingInputCallRequest {
        $0.payload = .zeros(byteCount)
        $0.expectCompressed = .of(isCompressed)
      }
    }
    try await expectError(.invalidArgument) {
      let probe = try await client.streamingInputCall()
      try await probe.write(request(27182, true))
      _ = try await probe.response()
    }
    let call = try await client.streamingInputCall(options: Self.gzip)
    try await call.write(request(27182, true))
    try await call.write(request(45904, false), compressed: false)
    try expect("the sum", try await call.response().aggregatedPayloadSize, is: 73086)
  }

  func serverCompressedStreaming() async throws {
    let wanted: [(isCompressed: Bool, size: Int32)] = [(true, 31415), (false, 92653)]
    let request = StreamingOutputCallRequest {
      $0.responseParameters = wanted.map { wanted in
        ResponseParameters {
          $0.size = wanted.size
          $0.compressed = .of(wanted.isCompressed)
        }
      }
    }
    let responses = try await client.streamingOutputCall(request, options: Self.acceptsGzip)
    var iterator = responses.makeAsyncIterator()
    for (isCompressed, size) in wanted {
      try expect("the response's size", try await iterator.next()?.size, is: size)
      try expect("its encoding", responses.messageEncoding, is: isCompressed ? .gzip : .identity)
    }
    try expect("a third response", try await iterator.next(), is: nil)
  }
}
