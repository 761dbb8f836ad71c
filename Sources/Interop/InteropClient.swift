import InteropMessages

/// The client of gRPC's interoperability tests. A case that fails throws `InteropFailure`, or the `RPCError` of a call that
/// should have gone well.
public struct InteropClient: Sendable {
  private let makeChannel: @Sendable () throws -> RPCChannel
  private let soak: Soak

  /// - Parameter makeChannel: Called once for each case, and for each call of channel_soak.
  public init(soak: Soak = Soak(), makeChannel: @escaping @Sendable () throws -> RPCChannel) {
    self.makeChannel = makeChannel
    self.soak = soak
  }

  public func run(_ interopCase: InteropCase) async throws {
    if interopCase == .channelSoak { return try await soak.run(newChannels: makeChannel) }
    let channel = try makeChannel()
    do {
      try await run(interopCase, on: channel)
    } catch {
      await channel.close()
      throw error
    }
    await channel.close()
  }

  private func run(_ interopCase: InteropCase, on channel: RPCChannel) async throws {
    let calls = InteropCalls(channel: channel)
    switch interopCase {
    case .emptyUnary: try await calls.emptyUnary()
    case .largeUnary: try await calls.largeUnary()
    case .clientStreaming: try await calls.clientStreaming()
    case .serverStreaming: try await calls.serverStreaming()
    case .pingPong: try await calls.pingPong()
    case .emptyStream: try await calls.emptyStream()
    case .cancelAfterBegin: try await calls.cancelAfterBegin()
    case .cancelAfterFirstResponse: try await calls.cancelAfterFirstResponse()
    case .timeoutOnSleepingServer: try await calls.timeoutOnSleepingServer()
    case .customMetadata: try await calls.customMetadata()
    case .statusCodeAndMessage: try await calls.status(2, "test status message", alsoStreaming: true)
    case .specialStatusMessage: try await calls.status(2, Self.specialMessage, alsoStreaming: false)
    case .unimplementedMethod: try await calls.unimplementedMethod()
    case .unimplementedService: try await calls.unimplementedService()
    case .clientCompressedUnary: try await calls.clientCompressedUnary()
    case .serverCompressedUnary: try await calls.serverCompressedUnary()
    case .clientCompressedStreaming: try await calls.clientCompressedStreaming()
    case .serverCompressedStreaming: try await calls.serverCompressedStreaming()
    case .rpcSoak: try await soak.run(on: channel)
    case .channelSoak: break
    }
  }

  /// Blanks at both ends, and characters inside and outside the Basic Multilingual Plane.
  private static let specialMessage =
    "\t\ntest with whitespace\r\nand Unicode BMP \u{263A} and non-BMP \u{1F608}\t\n"
}

/// The cases one by one.
struct InteropCalls {
  let channel: RPCChannel
  var client: TestServiceClient { TestServiceClient(channel) }

  // MARK: The four kinds of calls

  func emptyUnary() async throws {
    try expect("the response", try await client.emptyCall(Empty()), is: Empty())
  }

  func largeUnary() async throws {
    try expect("the response", try await client.unaryCall(.large), is: .large)
  }

  func clientStreaming() async throws {
    let call = try await client.streamingInputCall()
    for size in [27182, 8, 1828, 45904] {
      try await call.write(StreamingInputCallRequest { $0.payload = .zeros(size) })
    }
    try expect("the sum", try await call.response().aggregatedPayloadSize, is: 74922)
  }

  func serverStreaming() async throws {
    let sizes: [Int32] = [31415, 9, 2653, 58979]
    let request = StreamingOutputCallRequest {
      $0.responseParameters = sizes.map { size in ResponseParameters { $0.size = size } }
    }
    let responses = try await client.streamingOutputCall(request).reduce(into: []) { $0.append($1) }
    try expect("the list of sizes", responses.map(\.size), is: sizes)
  }

  func pingPong() async throws {
    let call = try await client.fullDuplexCall()
    var responses = call.responses.makeAsyncIterator()
    for (size, payload) in [(31415, 27182), (9, 8), (2653, 1828), (58979, 45904)] as [(Int32, Int)] {
      try await call.write(.asking(for: size, with: payload))
      try expect("the response's size", try await responses.next()?.size, is: size)
    }
    call.finishWriting()
    try expect("a fifth response", try await responses.next(), is: nil)
  }

  func emptyStream() async throws {
    let call = try await client.fullDuplexCall()
    call.finishWriting()
    for try await _ in call.responses { throw InteropFailure(description: "there is a response") }
  }

  // MARK: Calls that end early

  func cancelAfterBegin() async throws {
    let call = try await client.streamingInputCall()
    call.cancel()
    try await expectError(.cancelled) { _ = try await call.response() }
  }

  func cancelAfterFirstResponse() async throws {
    let call = try await client.fullDuplexCall()
    var responses = call.responses.makeAsyncIterator()
    try await call.write(.asking(for: 31415, with: 27182))
    try expect("the response's size", try await responses.next()?.size, is: 31415)
    call.cancel()
    try await expectError(.cancelled) { _ = try await responses.next() }
  }

  func timeoutOnSleepingServer() async throws {
    try await expectError(.deadlineExceeded) {
      let call = try await client.fullDuplexCall(options: CallOptions(timeout: .milliseconds(1)))
      try await call.write(StreamingOutputCallRequest { $0.payload = .zeros(27182) })
      for try await _ in call.responses {}
    }
  }

  // MARK: Metadata and status

  func customMetadata() async throws {
    let text = "test_initial_metadata_value"
    let bytes: [UInt8] = [0xab, 0xab, 0xab]
    var options = CallOptions(metadata: [EchoedMetadata.initialName: text])
    options.metadata.add(EchoedMetadata.trailingName, .bytes(bytes))

    let answer = try await channel.answer(TestServiceMethods.unaryCall, .large, options: options)
    try expect("the unary call's initial metadata", answer.initialMetadata[EchoedMetadata.initialName], is: text)
    try expect("the unary call's trailing one", answer.trailingMetadata.bytes(EchoedMetadata.trailingName), is: bytes)

    let call = try await client.fullDuplexCall(options: options)
    try await call.write(.asking(for: 314159, with: 271828))
    call.finishWriting()
    let initial = try await call.responses.initialMetadata()
    for try await _ in call.responses {}
    let trailing = call.responses.trailingMetadata
    try expect("the stream's initial metadata", initial[EchoedMetadata.initialName], is: text)
    try expect("the stream's trailing one", trailing.bytes(EchoedMetadata.trailingName), is: bytes)
  }

  func status(_ code: Int32, _ message: String, alsoStreaming: Bool) async throws {
    let status = EchoStatus {
      $0.code = code
      $0.message = message
    }
    try await expectError(.unknown, message) {
      _ = try await client.unaryCall(SimpleRequest { $0.responseStatus = status })
    }
    guard alsoStreaming else { return }
    try await expectError(.unknown, message) {
      let call = try await client.fullDuplexCall()
      try await call.write(StreamingOutputCallRequest { $0.responseStatus = status })
      call.finishWriting()
      for try await _ in call.responses {}
    }
  }

  func unimplementedMethod() async throws {
    try await expectError(.unimplemented) { _ = try await client.unimplementedCall(Empty()) }
  }

  func unimplementedService() async throws {
    let client = UnimplementedServiceClient(channel)
    try await expectError(.unimplemented) { _ = try await client.unimplementedCall(Empty()) }
  }

  func expectError(_ code: StatusCode, _ message: String? = nil, _ body: () async throws -> Void) async throws {
    do {
      try await body()
    } catch let error as RPCError {
      try expect("the status", error.code, is: code)
      if let message { try expect("the status message", error.message, is: message) }
      return
    }
    throw InteropFailure(description: "the call went well, and should have ended with \(code)")
  }
}

// MARK: Messages

extension SimpleRequest {
  static let large = SimpleRequest {
    $0.responseSize = 314159
    $0.payload = .zeros(271828)
  }
}

extension SimpleResponse {
  static let large = SimpleResponse { $0.payload = .zeros(314159) }
}

extension StreamingOutputCallRequest {
  static func asking(for size: Int32, with payload: Int) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
      $0.responseParameters = [ResponseParameters { $0.size = size }]
      $0.payload = .zeros(payload)
    }
  }
}

extension StreamingOutputCallResponse {
  var size: Int32 { Int32(clamping: payload?.body.count ?? 0) }
}
