import HTTP2Session
import ProtobufRuntime

/// A service that a server offers: it puts its methods into the router.
public protocol RPCService: Sendable {
  func register(in router: inout Router)
}

/// Finds the handler of a call by its path.
///
/// Handlers run on the event loop of their connection until they wait for something else, so they must not block. What a
/// handler throws is the call's status: an `RPCError` as it is, anything else as UNKNOWN. When the caller goes away or the
/// deadline passes, the handler's task is cancelled.
public struct Router: Sendable {
  struct Route: Sendable {
    let path: String
    /// The handler begins when the whole request is here; else at its headers.
    let takesWholeRequest: Bool
    var handler: @Sendable (ServerStream) async throws -> Void
  }

  /// By the hash of the path; callers cannot add to it, so that collisions are no danger.
  private var routes: [UInt64: [Route]] = [:]
  private var services: Set<String> = []

  public init() {}

  /// The full names of the services that have methods here, sorted.
  public var serviceNames: [String] { services.sorted() }

  /// One message in, one out.
  public mutating func unary<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (Request, ServerCall) async throws -> Response
  ) {
    add(method, takesWholeRequest: true) { stream in
      let request: Request = try decodeRequest(try stream.takeOnlyMessage())
      try stream.send(try await handler(request, ServerCall(stream)))
    }
  }

  /// One message in, many out.
  public mutating func serverStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (Request, ResponseWriter<Response>, ServerCall) async throws -> Void
  ) {
    add(method, takesWholeRequest: true) { stream in
      let request: Request = try decodeRequest(try stream.takeOnlyMessage())
      try await handler(request, ResponseWriter(stream: stream), ServerCall(stream))
    }
  }

  /// Many messages in, one out.
  public mutating func clientStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (RequestStream<Request>, ServerCall) async throws -> Response
  ) {
    add(method, takesWholeRequest: false) { stream in
      try stream.send(try await handler(RequestStream(stream: stream), ServerCall(stream)))
    }
  }

  /// Many messages both ways.
  public mutating func bidirectional<Request, Response>(
    _ method: MethodDescriptor<Request, Response>,
    _ handler: @escaping @Sendable (RequestStream<Request>, ResponseWriter<Response>, ServerCall) async throws -> Void
  ) {
    add(method, takesWholeRequest: false) { stream in
      try await handler(RequestStream(stream: stream), ResponseWriter(stream: stream), ServerCall(stream))
    }
  }

  private mutating func add<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, takesWholeRequest: Bool,
    _ handler: @escaping @Sendable (ServerStream) async throws -> Void
  ) {
    let hash = method.path.utf8.withContiguousStorageIfAvailable { Self.hash(UnsafeRawBufferPointer($0)) } ?? 0
    let route = Route(path: method.path, takesWholeRequest: takesWholeRequest, handler: handler)
    precondition(!routes[hash, default: []].contains { $0.path == route.path }, "\(route.path) is registered twice")
    routes[hash, default: []].append(route)
    services.insert(method.service)
  }

  /// Has `interceptors` run around every handler, the first one outermost. Without any, calls cost what they did.
  mutating func intercept(_ interceptors: [any ServerInterceptor]) {
    for interceptor in interceptors.reversed() {
      routes = routes.mapValues { $0.map { $0.intercepted(by: interceptor) } }
    }
  }

  // MARK: Finding

  /// FNV-1a.
  static func hash(_ path: UnsafeRawBufferPointer) -> UInt64 {
    path.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  /// - Parameter hash: of the path that stands in `fields`.
  func route(_ hash: UInt64, _ fields: HeaderList) -> Route? {
    guard let candidates = routes[hash] else { return nil }
    var found: Route?
    fields.forEach { name, value in
      guard found == nil, name.equals(":path") else { return }
      found = candidates.first { value.elementsEqual($0.path.utf8) }
    }
    return found
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
  let stream: ServerStream

  public func makeAsyncIterator() -> Iterator { Iterator(stream: stream) }

  public struct Iterator: AsyncIteratorProtocol {
    let stream: ServerStream

    public mutating func next() async throws -> Element? {
      guard let bytes = try await stream.nextMessage() else { return nil }
      return try decodeRequest(bytes) as Element
    }
  }
}

/// Sends the messages of a response.
public struct ResponseWriter<Element: Message>: Sendable {
  let stream: ServerStream

  /// Sends one; waits while the caller does not keep up. Throws `RPCError` when the call is over.
  ///
  /// - Parameter compressed: false has this message sent as it is in a call whose messages are compressed.
  public func write(_ message: Element, compressed: Bool = true) async throws {
    try await stream.write(message, compressed: compressed)
  }
}
