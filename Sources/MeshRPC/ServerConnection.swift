import HTTP2Session
import NIOCore

/// The server's end of a connection: calls begin with their headers, run as one task each on the loop, and end with
/// trailers.
final class ServerConnection: HTTP2Connection, @unchecked Sendable {
  private let router: Router
  private let limits: ServerLimits
  private let executor: EventLoopExecutor
  private let peer: PeerAddress
  private var routes: [StreamID: (route: Router.Route, call: ServerCall)] = [:]
  private var handshake: Scheduled<Void>?

  init(router: Router, limits: ServerLimits, peer: PeerAddress, eventLoop: any EventLoop) throws {
    self.router = router
    self.limits = limits
    self.peer = peer
    executor = EventLoopExecutor(eventLoop)
    var settings = SessionSettings()
    settings.maximumConcurrentStreams = limits.maximumConcurrentCalls
    settings.maximumHeaderListByteCount = limits.maximumHeaderListByteCount
    try super.init(
      role: .server, settings: settings, sendBufferByteCount: limits.sendBufferByteCount,
      maximumMessageByteCount: limits.maximumMessageByteCount, eventLoop: eventLoop)
  }

  override func handlerAdded(context: ChannelHandlerContext) {
    super.handlerAdded(context: context)
    // Whoever connects and says nothing does not keep a connection.
    handshake = eventLoop.scheduleTask(in: TimeAmount(limits.handshakeTimeout)) { [weak self] in
      guard let self, !self.hasReceived else { return }
      self.close()
    }
  }

  override func connectionEnded() {
    handshake?.cancel()
    handshake = nil
    routes = [:]
  }

  // MARK: A call's beginning

  override func receivedHeaders(_ id: StreamID, _ fields: [HeaderField], endsStream: Bool) {
    // A second list is trailers, which gRPC's clients do not send; only their end counts.
    if let stream = streams[id] {
      if endsStream { receivedEnd(of: stream) }
      return
    }
    guard fields.first(":method") == "POST", isGRPC(fields.first("content-type")) else {
      // RFC 9110: 415 for what is no gRPC at all; a browser or a probe understands it.
      try? session.submitWholeResponse(id, [HeaderField(":status", "415")])
      return
    }
    let path = fields.first(":path") ?? ""
    let stream = CallStream(id: id, connection: self, maximumMessageByteCount: maximumMessageByteCount)
    streams[id] = stream
    guard let route = router.routes[path] else { return finish(stream, router.unimplemented(path)) }

    var deadline: ContinuousClock.Instant?
    if let text = fields.first("grpc-timeout") {
      guard let timeout = TimeoutHeader.decode(text) else {
        return finish(stream, RPCError(.invalidArgument, "grpc-timeout '\(text)' is no timeout"))
      }
      deadline = .now + timeout
      stream.deadline = eventLoop.scheduleTask(in: TimeAmount(timeout)) { [unowned self, weak stream] in
        if let stream { self.fail(stream, .deadlineExceeded) }
      }
    }
    let call = ServerCall(path: path, metadata: fields.metadata(), deadline: deadline, peer: peer, stream: stream)
    if route.takesWholeRequest {
      routes[id] = (route, call)
    } else {
      run(route, stream, call)
    }
    if endsStream { receivedEnd(of: stream) }
  }

  private func isGRPC(_ contentType: String?) -> Bool {
    guard let contentType, contentType.hasPrefix("application/grpc") else { return false }
    let rest = contentType.dropFirst("application/grpc".count)
    return rest.isEmpty || rest.hasPrefix("+proto") || rest.hasPrefix(";")
  }

  override func receivedEnd(of stream: CallStream) {
    stream.hasWholeRequest = true
    stream.endIncoming(.success(()))
    if let (route, call) = routes.removeValue(forKey: stream.id) { run(route, stream, call) }
  }

  private func run(_ route: Router.Route, _ stream: CallStream, _ call: ServerCall) {
    stream.task = Task(executorPreference: executor) { [self] in
      let end: Result<Void, any Error>
      do {
        end = .success(try await route.run(stream, call))
      } catch {
        end = .failure(error)
      }
      stream.onLoop {
        switch end {
        case .success: self.finish(stream, nil)
        case .failure(let error): self.finish(stream, RPCError(wrapping: error))
        }
      }
    }
  }

  // MARK: A call's end

  /// Sends the status; what the handler still does with the stream after that fails.
  private func finish(_ stream: CallStream, _ error: RPCError?) {
    guard stream.closeOutgoing() else { return }
    stream.deadline?.cancel()
    stream.deadline = nil
    routes[stream.id] = nil
    var metadata = stream.trailingMetadata
    for (name, value) in error?.metadata.entries ?? [] { metadata.add(name, value) }
    let trailers = [HeaderField].status(error?.code ?? .ok, error?.message ?? "", metadata)
    if stream.headersAreSent {
      session.finish(stream.id, trailers: trailers)
    } else {
      // A stream that the peer has reset meanwhile needs no answer.
      try? session.submitWholeResponse(stream.id, Self.responseHeaders + trailers)
    }
    flushSoon()
  }

  private static let responseHeaders = [HeaderField(":status", "200"), HeaderField("content-type", "application/grpc")]

  override func sendHeaders(of stream: CallStream) {
    guard !stream.headersAreSent else { return }
    stream.headersAreSent = true
    try? session.submitResponse(stream.id, Self.responseHeaders)
  }

  override func endSent(_ stream: CallStream) {
    // The answer is out; a caller that is still sending is told to stop (RFC 9113 §8.1).
    guard !stream.hasWholeRequest else { return }
    session.reset(stream.id, ErrorCode.none)
    flushSoon()
  }

  override func fail(_ stream: CallStream, _ error: RPCError) {
    finish(stream, error)
    stream.end(error)
  }

  override func cancel(_ stream: CallStream) {
    // The handler's own task was cancelled: by the stream's end, which says all, or by a parent that stops the server.
    fail(stream, .cancelled)
  }
}

extension TimeAmount {
  init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    let (nanoseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    self = overflow ? .hours(24 * 365) : .nanoseconds(nanoseconds &+ attoseconds / 1_000_000_000)
  }
}
