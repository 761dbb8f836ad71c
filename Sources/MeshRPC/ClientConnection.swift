import HTTP2Session
import NIOCore

/// The client's end of a connection.
final class ClientConnection: HTTP2Connection, @unchecked Sendable {
  private let endpoint: SocketEndpoint
  private let channel: ChannelCore
  private var deadlines = DeadlineTimer()
  /// No new calls on this connection; it closes after its last one.
  private(set) var isDraining = false
  /// Completed when calls may be opened; nil: at once.
  var secured: EventLoopFuture<Void>?

  init(channel: ChannelCore) throws {
    self.channel = channel
    endpoint = channel.endpoint
    try super.init(
      role: .client, settings: SessionSettings(), sendBufferByteCount: channel.limits.sendBufferByteCount,
      keepaliveInterval: channel.limits.keepaliveInterval, eventLoop: channel.eventLoop)
  }

  /// Opens a call's stream.
  func open(_ stream: ClientStream) {
    let id: StreamID
    do throws(HTTP2Error) {
      id = try session.submitRequest(stream.headers)
    } catch {
      drain()  // stream numbers are used up
      return stream.end(lostError)
    }
    stream.open(id, on: self)
    streams[id] = stream
    armDeadline(stream.deadline)
    stream.isOpen()
    flushSoon()
  }

  private func armDeadline(_ deadline: NIODeadline?) {
    guard let deadline else { return }
    deadlines.arm(for: deadline, on: eventLoop) { [weak self] in self?.endLateCalls() }
  }

  private func endLateCalls() {
    deadlines.fired()
    armDeadline(streams.values.endLate { fail($0, .deadlineExceeded) })
  }

  // MARK: The answer

  override func receivedHeaders(_ id: StreamID, _ fields: HeaderList, endsStream: Bool) {
    guard let stream = streams[id] as? ClientStream else { return }
    if !stream.receivedResponseHeaders {
      // 1xx headers announce others (RFC 9110 §15.2).
      if !endsStream, fields[":status"]?.hasPrefix("1") == true { return }
      if let error = unusable(fields) { return fail(stream, error) }
      if let error = setEncoding(of: stream, fields) { return fail(stream, error) }
      // An answer without messages has but one list of headers, which are trailers.
      if !endsStream {
        stream.receivedResponseHeaders = true
        return stream.receivedInitialHeaders(fields)
      }
    }
    guard endsStream else { return }
    stream.receivedTrailers(fields)
    receivedStatus(fields.status() ?? .failure(noStatus), of: stream)
  }

  private func setEncoding(of stream: ClientStream, _ fields: HeaderList) -> RPCError? {
    guard let name = fields["grpc-encoding"] else { return nil }
    guard let encoding = MessageEncoding(name: name) else {
      let known = MessageEncoding.accepted
      return RPCError(.internalError, "the encoding '\(name)' of \(endpoint)'s messages is not among \(known)")
    }
    stream.incomingEncoding = encoding
    return nil
  }

  override func receivedTooLongHeaders(_ id: StreamID) {
    guard let stream = streams[id] else { return }
    fail(stream, RPCError(.resourceExhausted, "the headers of \(endpoint)'s answer are too long"))
  }

  /// The call is over, though this side may not have finished its half.
  private func receivedStatus(_ status: Result<Void, RPCError>, of stream: ClientStream) {
    stream.endIncoming(status)
    guard stream.outgoingIsOpen else { return }
    fail(stream, RPCError(.cancelled, "the call is over"))
  }

  private var noStatus: RPCError { RPCError(.internalError, "\(endpoint) ended the call without a status") }

  /// An answer that is no gRPC; the mapping of HTTP status codes is gRPC's own.
  private func unusable(_ fields: HeaderList) -> RPCError? {
    if fields["grpc-status"] != nil { return nil }
    let status = fields[":status"] ?? "none"
    let contentType = fields["content-type"] ?? "none"
    guard status != "200" || !contentType.hasPrefix("application/grpc") else { return nil }
    let code: StatusCode =
      switch status {
      case "400": .internalError
      case "401": .unauthenticated
      case "403": .permissionDenied
      case "404": .unimplemented
      case "429", "502", "503", "504": .unavailable
      default: .unknown
      }
    return RPCError(code, "\(endpoint) does not speak gRPC: HTTP status \(status), content type \(contentType)")
  }

  override func receivedEnd(of stream: CallStream) { fail(stream, noStatus) }

  override func closedError(_ errorCode: UInt32) -> RPCError {
    switch errorCode {
    case _ where isDraining: lostError
    case ErrorCode.refusedStream: RPCError(.unavailable, "\(endpoint) refused the call: it has too many")
    case ErrorCode.cancel: RPCError(.cancelled, "\(endpoint) cancelled the call")
    case ErrorCode.enhanceYourCalm: RPCError(.resourceExhausted, "\(endpoint) asks for fewer calls")
    default: RPCError(.internalError, "\(endpoint) broke the call off (HTTP/2 error code \(errorCode))")
    }
  }

  override func foreignProtocol(_ bytes: UnsafeRawBufferPointer) -> RPCError? {
    // An alert's content type and the major version of its record (RFC 8446 §5.1): no frame of HTTP/2 is that long.
    guard bytes.count >= 2, bytes[0] == 21, bytes[1] == 3 else { return nil }
    return RPCError(
      .unavailable, "\(endpoint) speaks TLS, and was spoken to in plain text: give this side a certificate")
  }

  override var lostError: RPCError { failure ?? RPCError(.unavailable, "the connection to \(endpoint) was lost") }

  // MARK: The end

  override func receivedGoAway(lastStream: StreamID) { drain() }

  /// Takes no new call, and closes after the last one.
  func drain() {
    isDraining = true
    channel.ended(self)
    streamEnded()
  }

  /// Ends all calls, and the connection.
  func stop(_ error: RPCError) {
    isDraining = true
    for stream in streams.values.sorted(by: { $0.id < $1.id }) { fail(stream, error) }
    sayGoodbye()
  }

  override func streamEnded() {
    if isDraining, streams.isEmpty { close() }
  }

  override func connectionEnded() {
    deadlines.cancel()
    channel.ended(self)
  }

  override func fail(_ stream: CallStream, _ error: RPCError) {
    guard streams.removeValue(forKey: stream.id) != nil else { return }
    stream.end(error)
    session.reset(stream.id, ErrorCode.cancel)
    flushSoon()
    streamEnded()
  }
}
