import Glibc
import NIOCore
import NIOPosix
import ProtobufRuntime
import Synchronization

/// Calls to one server over one connection, made at the first call and again after it was lost.
public final class RPCChannel: Sendable {
  public let endpoint: SocketEndpoint
  private let limits: ChannelLimits
  private let group: MultiThreadedEventLoopGroup
  private let state = Mutex(State.idle)

  private enum State {
    case idle
    /// Calls wait for the same attempt.
    case connecting(Task<ClientConnection, any Error>)
    case connected(ClientConnection)
    case closed
  }

  public init(
    _ endpoint: SocketEndpoint, limits: ChannelLimits = ChannelLimits(),
    eventLoopGroup: MultiThreadedEventLoopGroup = .singleton
  ) {
    self.endpoint = endpoint
    self.limits = limits
    group = eventLoopGroup
  }

  /// One message out, one back.
  public func unary<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, _ request: Request, options: CallOptions = CallOptions()
  ) async throws -> Response {
    let stream = try await open(method.path, options, only: request)
    guard let bytes = try await stream.nextMessage() else {
      throw RPCError(.internalError, "\(method.path) ended well without an answer")
    }
    let response: Response = try decodeResponse(bytes)
    guard try await stream.nextMessage() == nil else {
      stream.cancel()
      throw RPCError(.internalError, "\(method.path) gave more than one answer")
    }
    return response
  }

  /// One message out, many back.
  public func serverStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, _ request: Request, options: CallOptions = CallOptions()
  ) async throws -> ResponseStream<Response> {
    ResponseStream(lifetime: CallLifetime(try await open(method.path, options, only: request)))
  }

  /// Many messages both ways.
  public func bidirectional<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, options: CallOptions = CallOptions()
  ) async throws -> BidirectionalCall<Request, Response> {
    BidirectionalCall(lifetime: CallLifetime(try await open(method.path, options, only: Request?.none)))
  }

  /// Closes the connection; calls in flight end as cancelled, later ones fail.
  public func close() async {
    let before = state.withLock { state in
      defer { state = .closed }
      return state
    }
    switch before {
    case .connecting(let attempt): attempt.cancel()
    case .connected(let connection): connection.eventLoop.execute { connection.close() }
    case .idle, .closed: break
    }
  }

  // MARK: The connection

  private func open<Request: Message>(
    _ path: String, _ options: CallOptions, only message: Request?
  ) async throws -> CallStream {
    let deadline = options.timeout.map { ContinuousClock.now + $0 }
    try Task.checkCancellation()
    let connection = try await connection()
    return try await connection.open(path, options, deadline: deadline, only: message)
  }

  private func connection() async throws -> ClientConnection {
    let attempt: Task<ClientConnection, any Error>? = try state.withLock { state in
      switch state {
      case .connected: return nil
      case .connecting(let attempt): return attempt
      case .closed: throw RPCError(.cancelled, "the channel to \(endpoint) is closed")
      case .idle:
        let attempt = Task { try await connect() }
        state = .connecting(attempt)
        return attempt
      }
    }
    if let attempt { return try await attempt.value }
    return try state.withLock { state in
      guard case .connected(let connection) = state else {
        throw RPCError(.unavailable, "the connection to \(endpoint) was lost")
      }
      return connection
    }
  }

  private func connect() async throws -> ClientConnection {
    do {
      let connection = try await makeConnection()
      let isWanted = state.withLock { state in
        guard case .connecting = state else { return false }
        state = .connected(connection)
        return true
      }
      guard isWanted else {
        connection.eventLoop.execute { connection.close() }
        throw RPCError(.cancelled, "the channel to \(endpoint) is closed")
      }
      return connection
    } catch {
      state.withLock { if case .connecting = $0 { $0 = .idle } }
      throw RPCError(.unavailable, "no connection to \(endpoint): \(reason(error))")
    }
  }

  private func makeConnection() async throws -> ClientConnection {
    let limits = limits
    let endpoint = endpoint
    let forget: @Sendable (ClientConnection) -> Void = { [weak self] ended in
      self?.state.withLock { state in
        if case .connected(let connection) = state, connection === ended { state = .idle }
      }
    }
    let bootstrap = ClientBootstrap(group: group)
      .connectTimeout(TimeAmount(limits.connectTimeout))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let connection = try ClientConnection(
            endpoint: endpoint, limits: limits, eventLoop: channel.eventLoop, onEnd: forget)
          try channel.pipeline.syncOperations.addHandler(connection)
        }
      }
    let channel =
      switch endpoint {
      case .tcp(let host, let port): try await bootstrap.connect(host: host, port: port).get()
      case .unix(let path): try await bootstrap.connect(unixDomainSocketPath: path).get()
      }
    return try await channel.pipeline.handler(type: ClientConnection.self).get()
  }

  private func reason(_ error: any Error) -> String {
    func words(_ code: CInt) -> String { "\(String(cString: strerror(code))) (errno \(code))" }
    switch error {
    case let error as IOError: return words(error.errnoCode)
    case let error as NIOConnectionError:
      if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty { return "\(dns)" }
      return error.connectionErrors.map { reason($0.error) }.joined(separator: "; ")
    case ChannelError.connectTimeout: return "no answer within \(limits.connectTimeout)"
    case let error as RPCError: return error.message
    default: return "\(error)"
    }
  }
}

private func decodeResponse<Response: Message>(_ bytes: ArraySlice<UInt8>) throws(RPCError) -> Response {
  do throws(MessageDecodingError) {
    return try decode(bytes)
  } catch {
    throw RPCError(.internalError, "the answer is no \(Response.fullName): \(error)")
  }
}

/// Ends a call that nobody holds any more.
final class CallLifetime: Sendable {
  let stream: CallStream

  init(_ stream: CallStream) { self.stream = stream }

  deinit { stream.cancel() }
}

/// The messages of a response, as they come. Throws `RPCError` at the end if the call did not end well. Dropping it
/// cancels the call.
public struct ResponseStream<Element: Message>: AsyncSequence, Sendable {
  let lifetime: CallLifetime

  public func makeAsyncIterator() -> Iterator { Iterator(lifetime: lifetime) }

  public struct Iterator: AsyncIteratorProtocol {
    let lifetime: CallLifetime

    public mutating func next() async throws -> Element? {
      guard let bytes = try await lifetime.stream.nextMessage() else { return nil }
      return try decodeResponse(bytes) as Element
    }
  }
}

/// A call with messages both ways. Dropping it cancels it.
public struct BidirectionalCall<Request: Message, Response: Message>: Sendable {
  let lifetime: CallLifetime

  /// Sends one message; waits while the server does not keep up. Throws `RPCError` when the call is over.
  public func write(_ message: Request) async throws { try await lifetime.stream.write(message) }

  /// Says that no more messages follow.
  public func finishWriting() {
    let stream = lifetime.stream
    stream.onLoop { stream.finishWriting() }
  }

  public var responses: ResponseStream<Response> { ResponseStream(lifetime: lifetime) }

  /// Gives the call up.
  public func cancel() { lifetime.stream.cancel() }
}
