import ProtobufRuntime

/// A service that a server offers: it puts its methods into the router.
public protocol RPCService: Sendable {
  func register(in router: inout Router)
}

/// Finds the handler of a call by its path.
public struct Router: Sendable {
  struct Route: Sendable {
    /// The handler begins when the whole request is here; else at its headers.
    let takesWholeRequest: Bool
    let run: @Sendable (CallStream, ServerCall) async throws -> Void
  }

  private(set) var routes: [String: Route] = [:]
  private(set) var services: Set<String> = []

  public init() {}

  /// One message in, one out.
  public mutating func unary<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (Request, ServerCall) async throws -> Response
  ) {
    add(method, takesWholeRequest: true) { stream, call in
      let response = try await handler(try decodeRequest(try stream.takeOnlyMessage()), call)
      try await stream.write(response)
    }
  }

  /// One message in, many out.
  public mutating func serverStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (Request, ResponseWriter<Response>, ServerCall) async throws -> Void
  ) {
    add(method, takesWholeRequest: true) { stream, call in
      try await handler(try decodeRequest(try stream.takeOnlyMessage()), ResponseWriter(stream: stream), call)
    }
  }

  /// Many messages in, one out.
  public mutating func clientStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (RequestStream<Request>, ServerCall) async throws -> Response
  ) {
    add(method, takesWholeRequest: false) { stream, call in
      try await stream.write(try await handler(RequestStream(stream: stream), call))
    }
  }

  /// Many messages both ways.
  public mutating func bidirectional<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (RequestStream<Request>, ResponseWriter<Response>, ServerCall) async throws -> Void
  ) {
    add(method, takesWholeRequest: false) { stream, call in
      try await handler(RequestStream(stream: stream), ResponseWriter(stream: stream), call)
    }
  }

  private mutating func add<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, takesWholeRequest: Bool,
    _ run: @escaping @Sendable (CallStream, ServerCall) async throws -> Void
  ) {
    precondition(routes[method.path] == nil, "\(method.path) is registered twice")
    routes[method.path] = Route(takesWholeRequest: takesWholeRequest, run: run)
    services.insert(method.service)
  }

  /// Why there is no route for a path.
  func unimplemented(_ path: String) -> RPCError {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 3, services.contains(String(parts[1])) else {
      return RPCError(.unimplemented, "this server has no service for '\(path)'")
    }
    return RPCError(.unimplemented, "the service \(parts[1]) has no method '\(parts[2])'")
  }
}

private func decodeRequest<Request: Message>(_ bytes: ArraySlice<UInt8>) throws(RPCError) -> Request {
  do throws(MessageDecodingError) {
    return try decode(bytes)
  } catch {
    throw RPCError(.invalidArgument, "the request is no \(Request.fullName): \(error)")
  }
}

func decode<Value: Message>(_ bytes: ArraySlice<UInt8>) throws(MessageDecodingError) -> Value {
  try bytes.withUnsafeBytes { buffer in
    Result { () throws(MessageDecodingError) in try Value(decoding: buffer) }
  }.get()
}

/// The messages of a request, as they come. Ends when the caller has sent its last; throws `RPCError` if the call ends
/// before.
public struct RequestStream<Element: Message>: AsyncSequence, Sendable {
  let stream: CallStream

  public func makeAsyncIterator() -> Iterator { Iterator(stream: stream) }

  public struct Iterator: AsyncIteratorProtocol {
    let stream: CallStream

    public mutating func next() async throws -> Element? {
      guard let bytes = try await stream.nextMessage() else { return nil }
      return try decodeRequest(bytes) as Element
    }
  }
}

/// Sends the messages of a response.
public struct ResponseWriter<Element: Message>: Sendable {
  let stream: CallStream

  /// Sends one; waits while the caller does not keep up. Throws `RPCError` when the call is over.
  public func write(_ message: Element) async throws {
    try await stream.write(message)
  }
}
