import HTTP2Session
import NIOCore
import ProtobufRuntime

/// The client's end of a connection.
final class ClientConnection: HTTP2Connection, @unchecked Sendable {
  private let endpoint: SocketEndpoint
  private let onEnd: @Sendable (ClientConnection) -> Void
  /// The server takes no new calls on this connection.
  private var isDraining = false

  init(
    endpoint: SocketEndpoint, limits: ChannelLimits, eventLoop: any EventLoop,
    onEnd: @escaping @Sendable (ClientConnection) -> Void
  ) throws {
    self.endpoint = endpoint
    self.onEnd = onEnd
    try super.init(
      role: .client, settings: SessionSettings(), sendBufferByteCount: limits.sendBufferByteCount,
      maximumMessageByteCount: limits.maximumMessageByteCount, eventLoop: eventLoop)
  }

  // MARK: A call's beginning

  /// Opens a call, and sends its only message if there is one.
  func open<Request: Message>(
    _ path: String, _ options: CallOptions, deadline: ContinuousClock.Instant?, only message: Request?
  ) async throws -> CallStream {
    try await withUnsafeThrowingContinuation { continuation in
      eventLoop.execute {
        do {
          let stream = try self.openNow(path, options, deadline: deadline)
          if let message {
            try stream.send(message)
            stream.finishWriting()
          }
          self.flushSoon()
          continuation.resume(returning: stream)
        } catch {
          continuation.resume(throwing: RPCError(wrapping: error))
        }
      }
    }
  }

  private func openNow(
    _ path: String, _ options: CallOptions, deadline: ContinuousClock.Instant?
  ) throws -> CallStream {
    guard context != nil, !isDraining else { throw lostError }
    var fields = [
      HeaderField(":method", "POST"), HeaderField(":scheme", "http"), HeaderField(":path", path),
      HeaderField(":authority", endpoint.authority), HeaderField("te", "trailers"),
      HeaderField("content-type", "application/grpc"), HeaderField("user-agent", "iovmesh"),
    ]
    let left = deadline.map { max(.zero, $0 - .now) }
    if let left { fields.append(HeaderField("grpc-timeout", TimeoutHeader.encode(left))) }
    fields.append(options.metadata)
    let id: StreamID
    do throws(HTTP2Error) {
      id = try session.submitRequest(fields)
    } catch {
      isDraining = true  // stream numbers are used up
      throw lostError
    }
    let stream = CallStream(id: id, connection: self, maximumMessageByteCount: maximumMessageByteCount)
    stream.headersAreSent = true
    streams[id] = stream
    if let left {
      stream.deadline = eventLoop.scheduleTask(in: TimeAmount(left)) { [weak self, weak stream] in
        if let self, let stream { self.fail(stream, .deadlineExceeded) }
      }
    }
    return stream
  }

  // MARK: The answer

  override func receivedHeaders(_ id: StreamID, _ fields: [HeaderField], endsStream: Bool) {
    guard let stream = streams[id] else { return }
    if !stream.receivedResponseHeaders {
      // 1xx headers announce others (RFC 9110 §15.2).
      if let status = fields.first(":status"), status.hasPrefix("1") { return }
      stream.receivedResponseHeaders = true
      if let error = unusable(fields) { return fail(stream, error) }
    }
    guard endsStream else { return }
    switch fields.statusError() {
    case .success: stream.endIncoming(.success(()))
    case .failure(let error): stream.endIncoming(.failure(error))
    case nil: stream.endIncoming(.failure(RPCError(.internalError, "\(endpoint) ended the call without a status")))
    }
    stream.deadline?.cancel()
    stream.deadline = nil
  }

  /// An answer that is no gRPC; the mapping of HTTP status codes is gRPC's own.
  private func unusable(_ fields: [HeaderField]) -> RPCError? {
    if fields.first("grpc-status") != nil { return nil }
    let status = fields.first(":status") ?? "none"
    let contentType = fields.first("content-type") ?? "none"
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

  override func receivedEnd(of stream: CallStream) {
    fail(stream, RPCError(.internalError, "\(endpoint) ended the call without a status"))
  }

  override func closedError(_ errorCode: UInt32) -> RPCError {
    switch errorCode {
    case ErrorCode.refusedStream: RPCError(.unavailable, "\(endpoint) refused the call: it has too many")
    case ErrorCode.cancel: .cancelled
    case ErrorCode.enhanceYourCalm: RPCError(.resourceExhausted, "\(endpoint) asks for fewer calls")
    default: RPCError(.internalError, "\(endpoint) broke the call off (HTTP/2 error code \(errorCode))")
    }
  }

  override func receivedGoAway(lastStream: StreamID) {
    isDraining = true
    onEnd(self)
    for (id, stream) in streams where id > lastStream { stream.end(lostError) }
    if streams.isEmpty { close() }
  }

  override var lostError: RPCError { RPCError(.unavailable, "the connection to \(endpoint) was lost") }

  override func connectionEnded() { onEnd(self) }

  // MARK: Giving up

  override func fail(_ stream: CallStream, _ error: RPCError) {
    guard streams.removeValue(forKey: stream.id) != nil else { return }
    stream.end(error)
    session.reset(stream.id, ErrorCode.cancel)
    flushSoon()
  }

  override func cancel(_ stream: CallStream) { fail(stream, .cancelled) }
}
