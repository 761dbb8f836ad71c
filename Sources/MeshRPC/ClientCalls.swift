import ProtobufRuntime

/// The one message that a call was answered with, and what came beside it.
public struct Answer<Message: ProtobufRuntime.Message>: Sendable {
  public let message: Message
  /// What the server sent before the message.
  public let initialMetadata: Metadata
  /// What the server sent with the status.
  public let trailingMetadata: Metadata
  /// How the message came.
  public let messageEncoding: MessageEncoding

  init(message: Message, of stream: ClientStream) {
    self.message = message
    messageEncoding = stream.lastReadEncoding
    let headers = stream.answerHeaders
    initialMetadata = headers.initialMetadata
    trailingMetadata = headers.trailingMetadata
  }
}

func decodeResponse<Response: Message>(_ bytes: ArraySlice<UInt8>) throws(RPCError) -> Response {
  do throws(MessageDecodingError) {
    return try decode(bytes)
  } catch {
    throw RPCError(.internalError, "the answer is no \(Response.fullName): \(error)")
  }
}

/// Ends a call that nobody holds any more.
final class CallLifetime: Sendable {
  let stream: ClientStream

  init(_ stream: ClientStream) { self.stream = stream }

  deinit { stream.cancel() }
}

/// The messages of a response, as they come. Throws `RPCError` at the end if the call did not end well. Dropping it
/// cancels the call.
public struct ResponseStream<Element: Message>: AsyncSequence, Sendable {
  let lifetime: CallLifetime

  public func makeAsyncIterator() -> Iterator { Iterator(lifetime: lifetime) }

  /// What the server sends before its first message; waits for it. Throws `RPCError` if the call ends without.
  public func initialMetadata() async throws -> Metadata {
    try await lifetime.stream.responseBegan()
    return lifetime.stream.answerHeaders.initialMetadata
  }

  /// What the server sent with the status: empty until the last message has been read. A call that failed has it in its
  /// error.
  public var trailingMetadata: Metadata { lifetime.stream.answerHeaders.trailingMetadata }

  /// How the message came that was read last.
  public var messageEncoding: MessageEncoding { lifetime.stream.lastReadEncoding }

  public struct Iterator: AsyncIteratorProtocol {
    let lifetime: CallLifetime

    public mutating func next() async throws -> Element? {
      guard let bytes = try await lifetime.stream.nextMessage() else { return nil }
      return try decodeResponse(bytes) as Element
    }
  }
}

/// A call with many messages out and one back. Dropping it cancels it.
public struct ClientStreamingCall<Request: Message, Response: Message>: Sendable {
  let lifetime: CallLifetime

  /// Sends one message; waits while the server does not keep up. Throws `RPCError` when the call is over: a server may
  /// answer before it has read everything, and `response` says what.
  ///
  /// - Parameter compressed: false has this message sent as it is in a call whose messages are compressed.
  public func write(_ message: Request, compressed: Bool = true) async throws {
    try await lifetime.stream.write(message, compressed: compressed)
  }

  /// Says that no more messages follow, and waits for the answer. To be called once.
  public func response() async throws -> Response { try decodeResponse(try await lifetime.stream.finishAndComplete()) }

  /// As `response`, with the metadata that came before and after the message.
  public func answer() async throws -> Answer<Response> { Answer(message: try await response(), of: lifetime.stream) }

  /// Gives the call up.
  public func cancel() { lifetime.stream.cancel() }
}

/// A call with messages both ways. Dropping it cancels it.
public struct BidirectionalCall<Request: Message, Response: Message>: Sendable {
  let lifetime: CallLifetime

  /// Sends one message; waits while the server does not keep up. Throws `RPCError` when the call is over.
  ///
  /// - Parameter compressed: false has this message sent as it is in a call whose messages are compressed.
  public func write(_ message: Request, compressed: Bool = true) async throws {
    try await lifetime.stream.write(message, compressed: compressed)
  }

  /// Says that no more messages follow.
  public func finishWriting() {
    let stream = lifetime.stream
    stream.onLoop { stream.finishWriting() }
  }

  public var responses: ResponseStream<Response> { ResponseStream(lifetime: lifetime) }

  /// Gives the call up.
  public func cancel() { lifetime.stream.cancel() }
}
