import HTTP2Session
import NIOCore
import NIOPosix
import ProtobufRuntime

/// Calls to a service, over connections that are made when a call needs one and again when they are lost.
///
/// One channel serves all of a program's calls to a service, from any number of tasks: they share its connections.
public final class RPCChannel: Sendable {
  public let endpoints: [SocketEndpoint]
  let core: ChannelCore
  private let interceptors: [any ClientInterceptor]

  /// - Parameters:
  ///   - endpoints: where the same service is to be had; one or more. Calls are addressed to the first one's name.
  ///   - policy: which of them is called.
  ///   - security: what connections over TCP go through first; nil: plain text.
  ///   - retries: which failed calls are made again. None, unless a server says that it has not begun with a call.
  ///   - seed: of the draws that spread delays.
  ///   - executor: the event loop that serves the channel; nil: one of the group's.
  public init(
    endpoints: [SocketEndpoint], policy: EndpointPolicy = .failover, security: (any ClientSecurity)? = nil,
    limits: ChannelLimits = ChannelLimits(), retries: RetryRules = RetryRules(),
    interceptors: [any ClientInterceptor] = [],
    seed: UInt64 = .random(in: 0 ... .max), eventLoopGroup: MultiThreadedEventLoopGroup = .singleton,
    executor: EventLoopExecutor? = nil
  ) {
    self.endpoints = endpoints
    self.interceptors = interceptors
    core = ChannelCore(
      endpoints, policy: policy, security: security, limits: limits, retries: retries, seed: seed,
      eventLoop: executor?.eventLoop ?? eventLoopGroup.next())
  }

  /// A channel with one endpoint.
  public convenience init(
    _ endpoint: SocketEndpoint, security: (any ClientSecurity)? = nil, limits: ChannelLimits = ChannelLimits(),
    retries: RetryRules = RetryRules(),
    interceptors: [any ClientInterceptor] = [], eventLoopGroup: MultiThreadedEventLoopGroup = .singleton,
    executor: EventLoopExecutor? = nil
  ) {
    self.init(
      endpoints: [endpoint], security: security, limits: limits, retries: retries, interceptors: interceptors,
      eventLoopGroup: eventLoopGroup, executor: executor)
  }

  deinit {
    // Streams that somebody still reads may finish.
    core.abandon()
  }

  /// The event loop that serves the channel.
  public var executor: EventLoopExecutor { .of(core.eventLoop) }

  /// The first endpoint.
  public var endpoint: SocketEndpoint { endpoints[0] }

  /// One message out, one back.
  ///
  /// Throws `RPCError`: the server's, `.deadlineExceeded`, `.unavailable` when there is no connection or it was lost, or
  /// `.cancelled` when the task was cancelled, which cancels the call.
  public func unary<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, _ request: Request, options: CallOptions = CallOptions()
  ) async throws -> Response {
    try decodeResponse(
      try await stream(method.path, options, onlyMessage: request.framed(compressed: options.compressesMessages))
        .complete())
  }

  /// As `unary`, with the metadata that came before and after the message.
  public func answer<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, _ request: Request, options: CallOptions = CallOptions()
  ) async throws -> Answer<Response> {
    let stream = try await stream(
      method.path, options, onlyMessage: request.framed(compressed: options.compressesMessages))
    return try Answer(message: decodeResponse(try await stream.complete()), of: stream)
  }

  /// Many messages out, one back. Returns when the call is on its way.
  public func clientStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, options: CallOptions = CallOptions()
  ) async throws -> ClientStreamingCall<Request, Response> {
    let stream = try await stream(method.path, options, onlyMessage: nil)
    try await stream.begin()
    return ClientStreamingCall(lifetime: CallLifetime(stream))
  }

  /// One message out, many back. Returns when the call is on its way.
  public func serverStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, _ request: Request, options: CallOptions = CallOptions()
  ) async throws -> ResponseStream<Response> {
    let stream = try await stream(
      method.path, options, onlyMessage: request.framed(compressed: options.compressesMessages))
    try await stream.begin()
    return ResponseStream(lifetime: CallLifetime(stream))
  }

  /// Many messages both ways. Returns when the call is on its way.
  public func bidirectional<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, options: CallOptions = CallOptions()
  ) async throws -> BidirectionalCall<Request, Response> {
    let stream = try await stream(method.path, options, onlyMessage: nil)
    try await stream.begin()
    return BidirectionalCall(lifetime: CallLifetime(stream))
  }

  // MARK: The channel's own state

  /// What the channel can do for the next call.
  public var state: ChannelState { core.states.current }

  /// The state now, and each one that follows, until the channel is shut down.
  public var states: AsyncStream<ChannelState> { core.states.watch() }

  /// Takes no new calls; returns when those in flight have ended and the connections are closed. When the task is
  /// cancelled, the calls are.
  public func drain() async { await core.drain() }

  /// Ends all calls as cancelled and closes the connections; later calls fail.
  public func close() async { await core.close() }

  // MARK: A call's request

  private func stream(_ path: String, _ options: CallOptions, onlyMessage: MessageBuffer?) async throws -> ClientStream
  {
    if interceptors.isEmpty { return makeStream(path, options, onlyMessage, observers: nil) }
    let given = options.compression
    var options = options
    let observers = try await CallObservers(interceptors, path, &options)
    // The message stands in its body already.
    options.compression = given
    return makeStream(path, options, onlyMessage, observers: observers)
  }

  private func makeStream(
    _ path: String, _ options: CallOptions, _ onlyMessage: MessageBuffer?, observers: CallObservers?
  ) -> ClientStream {
    let stream = ClientStream(
      headers: requestHeaders(path, options), onlyMessage: onlyMessage, waitsForReady: options.waitForReady,
      observers: observers, channel: core)
    stream.deadline = options.timeout.map { .after($0) }
    if options.compressesMessages { stream.compressMessages() }
    return stream
  }

  private func requestHeaders(_ path: String, _ options: CallOptions) -> HeaderList {
    var fields = HeaderList()
    fields.append(":method", "POST")
    fields.append(":scheme", core.scheme)
    fields.append(":path", path)
    fields.append(":authority", core.authority)
    fields.append("te", "trailers")
    fields.append("content-type", "application/grpc")
    fields.append("user-agent", "iovmesh")
    if let timeout = options.timeout { fields.append("grpc-timeout", TimeoutHeader.encode(max(.zero, timeout))) }
    if let compression = options.compression {
      if compression != .identity { fields.append("grpc-encoding", compression.name) }
      fields.append("grpc-accept-encoding", MessageEncoding.accepted)
    }
    if !options.metadata.isEmpty { fields.append(options.metadata) }
    return fields
  }
}
