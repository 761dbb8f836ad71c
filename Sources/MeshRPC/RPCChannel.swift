import HTTP2Session
import NIOCore
import NIOPosix
import ProtobufRuntime

/// Calls to one server over one connection, made at the first call and again at the next one after it was lost.
public final class RPCChannel: Sendable {
  public let endpoint: SocketEndpoint
  private let core: ChannelCore

  /// - Parameter security: What connections over TCP go through first; nil: plain text.
  public init(
    _ endpoint: SocketEndpoint, security: (any ClientSecurity)? = nil, limits: ChannelLimits = ChannelLimits(),
    eventLoopGroup: MultiThreadedEventLoopGroup = .singleton
  ) {
    self.endpoint = endpoint
    core = ChannelCore(endpoint, security: security, limits: limits, eventLoop: eventLoopGroup.next())
  }

  deinit {
    // Streams that somebody still reads may finish.
    core.abandon()
  }

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
    let stream = stream(method.path, options, onlyMessage: request.framed(compressed: options.compressesMessages))
    return try Answer(message: decodeResponse(try await stream.complete()), of: stream)
  }

  /// Many messages out, one back. Returns when the call is on its way.
  public func clientStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, options: CallOptions = CallOptions()
  ) async throws -> ClientStreamingCall<Request, Response> {
    let stream = stream(method.path, options, onlyMessage: nil)
    try await stream.begin()
    return ClientStreamingCall(lifetime: CallLifetime(stream))
  }

  /// One message out, many back. Returns when the call is on its way.
  public func serverStreaming<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, _ request: Request, options: CallOptions = CallOptions()
  ) async throws -> ResponseStream<Response> {
    let stream = stream(method.path, options, onlyMessage: request.framed(compressed: options.compressesMessages))
    try await stream.begin()
    return ResponseStream(lifetime: CallLifetime(stream))
  }

  /// Many messages both ways. Returns when the call is on its way.
  public func bidirectional<Request, Response>(
    _ method: MethodDescriptor<Request, Response>, options: CallOptions = CallOptions()
  ) async throws -> BidirectionalCall<Request, Response> {
    let stream = stream(method.path, options, onlyMessage: nil)
    try await stream.begin()
    return BidirectionalCall(lifetime: CallLifetime(stream))
  }

  /// Ends all calls as cancelled and closes the connection; later calls fail.
  public func close() async { await core.close() }

  private func stream(_ path: String, _ options: CallOptions, onlyMessage: MessageBuffer?) -> ClientStream {
    let stream = ClientStream(
      headers: requestHeaders(path, options), onlyMessage: onlyMessage, channel: core)
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
