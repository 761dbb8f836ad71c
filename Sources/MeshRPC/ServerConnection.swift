import HTTP2Session
import NIOCore

/// The server's end of a connection: calls begin with their headers, run as one task each on the loop, and end with
/// trailers.
final class ServerConnection: HTTP2Connection, @unchecked Sendable {
  private let router: Router
  private let limits: ServerLimits
  /// Known in full when the connection is open.
  var peer: PeerAddress
  private var handshake: Scheduled<Void>?
  private var deadlines = DeadlineTimer()

  init(router: Router, limits: ServerLimits, peer: PeerAddress, eventLoop: any EventLoop) throws {
    self.router = router
    self.limits = limits
    self.peer = peer
    var settings = SessionSettings()
    settings.maximumConcurrentStreams = limits.maximumConcurrentCalls
    settings.maximumHeaderListByteCount = limits.maximumHeaderListByteCount
    try super.init(
      role: .server, settings: settings, sendBufferByteCount: limits.sendBufferByteCount,
      keepaliveInterval: limits.keepaliveInterval, eventLoop: eventLoop)
  }

  override func begin() {
    super.begin()
    // Whoever connects and does not speak HTTP/2 does not keep a connection.
    handshake = eventLoop.scheduleTask(in: TimeAmount(limits.handshakeTimeout)) { [weak self] in
      guard let self, !self.hasSettings else { return }
      self.close()
    }
  }

  override func wasQuiet(for time: TimeAmount) {
    if time >= TimeAmount(limits.idleTimeout) { sayGoodbye() }
  }

  override func connectionEnded() {
    handshake?.cancel()
    handshake = nil
    deadlines.cancel()
  }

  /// Ends all calls, and the connection.
  func stop() {
    for (_, stream) in streams.sorted(by: { $0.key < $1.key }) {
      fail(stream, RPCError(.unavailable, "the server is stopping"))
    }
    sayGoodbye()
  }

  // MARK: A call's beginning

  override func receivedHeaders(_ id: StreamID, _ fields: HeaderList, endsStream: Bool) {
    // A second list is trailers, which gRPC's clients do not send; only their end counts.
    if let stream = streams[id] {
      if endsStream { receivedEnd(of: stream) }
      return
    }
    let request = RequestHeaders(fields)
    guard request.isGRPC else {
      // 415 (RFC 9110 §15.5.16) for what is no gRPC at all: a browser or a probe understands it.
      try? session.submitWholeResponse(id, HeaderList([(":status", "415")]))
      return
    }
    let route = router.route(request.pathHash, fields)
    let stream = ServerStream(
      headers: fields, path: route?.path ?? fields[":path"] ?? "", peer: peer,
      maximumMessageByteCount: limits.maximumMessageByteCount, server: self)
    stream.open(id, on: self)
    streams[id] = stream
    if let encoding = request.unknownEncoding {
      let known = MessageEncoding.accepted
      stream.namesEncodings = true
      return fail(
        stream, RPCError(.unimplemented, "the messages' encoding '\(encoding)' is not known here; known are \(known)"))
    }
    stream.incomingEncoding = request.encoding
    stream.namesEncodings = request.encoding != .identity
    stream.callerAcceptsGzip = request.acceptsGzip
    guard let route else { return fail(stream, router.unimplemented(stream.path)) }
    if let text = request.timeout {
      guard let timeout = TimeoutHeader.decode(text) else {
        return fail(stream, RPCError(.invalidArgument, "grpc-timeout '\(text)' is no timeout"))
      }
      stream.deadline = .after(timeout)
      armDeadline(stream.deadline)
    }
    stream.start(route)
    if endsStream { receivedEnd(of: stream) }
  }

  override func receivedTooLongHeaders(_ id: StreamID) {
    guard streams[id] == nil else { return session.reset(id, ErrorCode.enhanceYourCalm) }
    let stream = ServerStream(
      headers: HeaderList(), path: "", peer: peer, maximumMessageByteCount: 0, server: self)
    stream.open(id, on: self)
    streams[id] = stream
    fail(
      stream,
      RPCError(.resourceExhausted, "the call's headers are above \(limits.maximumHeaderListByteCount) bytes"))
  }

  override func receivedEnd(of stream: CallStream) {
    (stream as? ServerStream)?.requestIsWhole()
  }

  // MARK: A call's end

  override func endSent(_ id: StreamID) {
    // The answer is out; a caller that is still sending is told to stop (RFC 9113 §8.1).
    if let stream = streams[id] as? ServerStream, stream.hasWholeRequest { return }
    session.reset(id, ErrorCode.none)
  }

  override func fail(_ stream: CallStream, _ error: RPCError) {
    (stream as? ServerStream)?.finish(error)
    stream.end(error)
  }

  override func closedError(_ errorCode: UInt32) -> RPCError { RPCError(.cancelled, "the caller gave the call up") }

  override var lostError: RPCError { RPCError(.cancelled, "the connection of \(peer) was lost") }

  private func armDeadline(_ deadline: NIODeadline?) {
    guard let deadline else { return }
    deadlines.arm(for: deadline, on: eventLoop) { [weak self] in self?.endLateCalls() }
  }

  private func endLateCalls() {
    deadlines.fired()
    armDeadline(streams.values.endLate { fail($0, .deadlineExceeded) })
  }
}

/// What the server must know of a request's headers before it can start the call; found in one pass.
private struct RequestHeaders {
  private var isPost = false
  private var hasContentType = false
  private(set) var pathHash: UInt64 = 0
  private(set) var timeout: String?
  private(set) var encoding = MessageEncoding.identity
  private(set) var unknownEncoding: String?
  private(set) var acceptsGzip = false

  var isGRPC: Bool { isPost && hasContentType }

  init(_ fields: HeaderList) {
    fields.forEach { name, value in
      switch name.count {
      case 5 where name.equals(":path"): pathHash = Router.hash(value)
      case 7 where name.equals(":method"): isPost = value.equals("POST")
      case 12 where name.equals("content-type"): hasContentType = Self.isGRPC(value)
      case 12 where name.equals("grpc-timeout"): timeout = String(decoding: value, as: UTF8.self)
      case 13 where name.equals("grpc-encoding"):
        let name = String(decoding: value, as: UTF8.self)
        if let known = MessageEncoding(name: name) { encoding = known } else { unknownEncoding = name }
      case 20 where name.equals("grpc-accept-encoding"): acceptsGzip = value.namesGzip
      default: break
      }
    }
  }

  private static func isGRPC(_ contentType: UnsafeRawBufferPointer) -> Bool {
    contentType.equals("application/grpc") || contentType.starts(with: "application/grpc+proto")
      || contentType.starts(with: "application/grpc;")
  }
}
