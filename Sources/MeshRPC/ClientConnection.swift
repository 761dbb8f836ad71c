import HTTP2Session
import NIOCore

/// The client's end of a connection.
final class ClientConnection: HTTP2Connection, @unchecked Sendable {
  let endpoint: SocketEndpoint
  /// The endpoint's place in its channel.
  let index: Int
  private let channel: ChannelCore
  private var handshake: Scheduled<Void>?
  private var deadlines = DeadlineTimer()
  /// The server did not show in time that it speaks HTTP/2.
  private(set) var isTooLate = false
  /// No new calls on this connection; it closes after its last one.
  private(set) var isDraining = false

  init(channel: ChannelCore, index: Int) throws {
    self.channel = channel
    self.index = index
    endpoint = channel.endpoints[index]
    try super.init(
      role: .client, settings: SessionSettings(), sendBufferByteCount: channel.limits.sendBufferByteCount,
      keepaliveInterval: channel.keepaliveInterval, eventLoop: channel.eventLoop)
  }

  // MARK: The beginning

  /// Waits until the server shows that it speaks HTTP/2: what merely accepts connections takes no calls.
  func awaitSettings() {
    handshake = eventLoop.scheduleTask(in: TimeAmount(channel.limits.handshakeTimeout)) { [weak self] in
      self?.isTooLate = true
      self?.close()
    }
  }

  override func receivedSettings() {
    handshake?.cancel()
    handshake = nil
    channel.isReady(self)
  }

  /// Opens a call's stream.
  func open(_ stream: ClientStream) {
    let id: StreamID
    do throws(HTTP2Error) {
      id = try session.submitRequest(stream.headers)
    } catch {
      // Stream numbers are used up, or the server has said goodbye: the call goes elsewhere as if it had not been here.
      drain()
      return channel.begin(stream)
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
      if let error = unusable(fields) {
        return madeAgain(stream, AttemptFailure(code: error.code)) ? () : fail(stream, error)
      }
      if let error = setEncoding(of: stream, fields) {
        return fail(stream, error)
      }
      // An answer without messages has but one list of headers, which are trailers.
      if !endsStream { return stream.receivedInitialHeaders(fields) }
    }
    guard endsStream else { return }
    receivedTrailers(fields, of: stream)
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
  private func receivedTrailers(_ fields: HeaderList, of stream: ClientStream) {
    let status = fields.status() ?? .failure(noStatus)
    switch status {
    case .success: channel.succeeded()
    case .failure(let error):
      let pushback = fields["grpc-retry-pushback-ms"]
      if madeAgain(stream, AttemptFailure(code: error.code, pushback: pushback)) { return }
    }
    stream.receivedTrailers(fields)
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
    case ErrorCode.refusedStream where isDraining:
      RPCError(.unavailable, "\(endpoint) was leaving and did not take the call")
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

  override func closed(_ stream: CallStream, _ errorCode: UInt32) {
    // Most are over with their status.
    guard stream.incomingEnd == nil, let stream = stream as? ClientStream else { return stream.end(.cancelled) }
    let error = closedError(errorCode)
    let failure = AttemptFailure(
      code: error.code, wasRefused: errorCode == ErrorCode.refusedStream, wasLeaving: isDraining)
    if !madeAgain(stream, failure) { stream.end(error) }
  }

  override func lost(_ stream: CallStream) {
    guard let stream = stream as? ClientStream, stream.incomingEnd == nil else { return stream.end(lostError) }
    if !madeAgain(stream, AttemptFailure(code: lostError.code)) { stream.end(lostError) }
  }

  override var lostError: RPCError { failure ?? RPCError(.unavailable, "the connection to \(endpoint) was lost") }

  /// True if the call has another attempt; then it is no stream of this connection any more.
  private func madeAgain(_ stream: ClientStream, _ failure: AttemptFailure) -> Bool {
    var failure = failure
    failure.isCommitted = stream.receivedResponseHeaders || !stream.canBeMadeAgain
    guard let delay = channel.delayBeforeNextAttempt(of: stream, after: failure) else { return false }
    let id = stream.id
    if streams.removeValue(forKey: id) != nil, session.unsentByteCount(id) > 0 {
      session.reset(id, ErrorCode.cancel)
      flushSoon()
    }
    stream.leaveConnection()
    channel.begin(stream, after: delay)
    streamEnded()
    return true
  }

  // MARK: The end

  /// A server that is still on its way has the handshake's time.
  override var pingsWithoutCalls: Bool { hasSettings && channel.limits.keepaliveWithoutCalls }

  override func receivedGoAway(errorCode: UInt32) {
    if errorCode == ErrorCode.enhanceYourCalm { channel.annoyedItsServer() }
    drain()
  }

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
    handshake?.cancel()
    handshake = nil
    deadlines.cancel()
    channel.ended(self)
    channel.closed(self)
  }

  override func fail(_ stream: CallStream, _ error: RPCError) {
    guard streams.removeValue(forKey: stream.id) != nil else { return }
    stream.end(error)
    session.reset(stream.id, ErrorCode.cancel)
    flushSoon()
    streamEnded()
  }
}
