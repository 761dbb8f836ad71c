import HTTP2Session
import NIOCore
import ProtobufRuntime

/// One call's stream, as either side sees it: messages in, messages out, and how it ended.
///
/// Sendable without a lock because everything but the two constants is touched on the connection's event loop alone;
/// `onLoop` is the way there.
final class CallStream: @unchecked Sendable {
  let id: StreamID
  let connection: HTTP2Connection

  // MARK: Incoming

  private var framer: MessageFramer
  private var unread: [ArraySlice<UInt8>] = []
  private var nextUnread = 0
  /// Bytes whose credit waits for a reader.
  private var uncreditedByteCount = 0
  private var incomingEnd: Result<Void, RPCError>?
  private var reader: UnsafeContinuation<ArraySlice<UInt8>?, any Error>?

  // MARK: Outgoing

  private var writers: [UnsafeContinuation<Void, any Error>] = []
  private var outgoingIsOpen = true

  /// The server's response headers have left, or the client's request headers.
  var headersAreSent = false
  /// The server's: the caller has said all it will.
  var hasWholeRequest = false
  /// The server's handler, or nil.
  var task: Task<Void, Never>?
  var deadline: Scheduled<Void>?
  /// The client's: called once with the response's headers.
  var receivedResponseHeaders = false
  var trailingMetadata = Metadata()

  init(id: StreamID, connection: HTTP2Connection, maximumMessageByteCount: Int) {
    self.id = id
    self.connection = connection
    framer = MessageFramer(maximumByteCount: maximumMessageByteCount)
  }

  func onLoop(_ body: @escaping @Sendable () -> Void) {
    if connection.eventLoop.inEventLoop { body() } else { connection.eventLoop.execute(body) }
  }

  // MARK: Events of the connection

  func received(_ bytes: [UInt8]) {
    guard incomingEnd == nil else {
      connection.session.creditStream(id, bytes.count)
      return
    }
    framer.append(bytes)
    uncreditedByteCount += bytes.count
    do throws(RPCError) {
      while let message = try framer.next() { unread.append(message) }
    } catch {
      connection.fail(self, error)
      return
    }
    serveReader()
    // An unfinished message needs the rest of itself; only whole messages that nobody reads hold the peer back.
    if nextUnread == unread.count { credit() }
  }

  /// The peer has sent all it will: well, or with an error.
  func endIncoming(_ end: Result<Void, RPCError>) {
    guard incomingEnd == nil else { return }
    incomingEnd = end
    if case .success = end, framer.isMidMessage {
      incomingEnd = .failure(RPCError(.internalError, "the stream ended in the middle of a message"))
    }
    serveReader()
  }

  /// Nothing moves on this stream any more.
  func end(_ error: RPCError) {
    deadline?.cancel()
    deadline = nil
    endIncoming(.failure(error))
    outgoingIsOpen = false
    task?.cancel()
    let waiting = writers
    writers = []
    for writer in waiting { writer.resume(throwing: error) }
  }

  /// Lets writers go on when enough has left.
  func sent() {
    guard !writers.isEmpty, connection.session.unsentByteCount(id) < connection.sendBufferByteCount else { return }
    let waiting = writers
    writers = []
    for writer in waiting { writer.resume() }
  }

  // MARK: Reading

  /// The next message, nil after the last; throws how the call ended if not well. One reader at a time.
  func nextMessage() async throws -> ArraySlice<UInt8>? {
    if connection.eventLoop.inEventLoop, let ready = takeReady() { return try ready.get() }
    return try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        onLoop {
          if let ready = self.takeReady() {
            continuation.resume(with: ready)
          } else if self.reader == nil {
            self.reader = continuation
          } else {
            continuation.resume(throwing: RPCError(.internalError, "two tasks read one stream of messages"))
          }
        }
      }
    } onCancel: {
      cancel()
    }
  }

  /// The only message of a request that is whole, or why there is none.
  func takeOnlyMessage() throws(RPCError) -> ArraySlice<UInt8> {
    guard let message = try takeReady()?.mapError(RPCError.init(wrapping:)).get() else {
      throw RPCError(.internalError, "the request has no message")
    }
    guard nextUnread == unread.count else { throw RPCError(.internalError, "the request has more than one message") }
    return message
  }

  private func takeReady() -> Result<ArraySlice<UInt8>?, any Error>? {
    if nextUnread < unread.count {
      let message = unread[nextUnread]
      nextUnread += 1
      if nextUnread == unread.count {
        unread.removeAll(keepingCapacity: true)
        nextUnread = 0
        credit()
      }
      return .success(message)
    }
    switch incomingEnd {
    case .success: return .success(nil)
    case .failure(let error): return .failure(error)
    case nil: return nil
    }
  }

  private func serveReader() {
    guard let reader, let ready = takeReady() else { return }
    self.reader = nil
    reader.resume(with: ready)
  }

  private func credit() {
    guard uncreditedByteCount > 0 else { return }
    connection.session.creditStream(id, uncreditedByteCount)
    uncreditedByteCount = 0
    connection.flushSoon()
  }

  // MARK: Writing

  /// Sends a message; returns when it is buffered and the buffer is below its mark.
  func write<M: Message>(_ message: M) async throws {
    if connection.eventLoop.inEventLoop {
      try send(message)
      if connection.session.unsentByteCount(id) < connection.sendBufferByteCount { return }
      return try await waitForRoom { _ in }
    }
    try await waitForRoom { stream in try stream.send(message) }
  }

  private func waitForRoom(_ first: @escaping @Sendable (CallStream) throws -> Void) async throws {
    try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
        onLoop {
          do {
            try first(self)
            guard self.outgoingIsOpen else { throw self.closedError }
            if self.connection.session.unsentByteCount(self.id) < self.connection.sendBufferByteCount {
              continuation.resume()
            } else {
              self.writers.append(continuation)
            }
          } catch {
            continuation.resume(throwing: error)
          }
        }
      }
    } onCancel: {
      cancel()
    }
  }

  func send<M: Message>(_ message: M) throws(RPCError) {
    guard outgoingIsOpen else { throw closedError }
    connection.sendHeaders(of: self)
    message.withPackedMessage { packed in
      connection.session.send(on: id, byteCount: packed.byteCount + 5) { buffer in
        buffer[0] = 0
        buffer.storeBytes(of: UInt32(packed.byteCount).bigEndian, toByteOffset: 1, as: UInt32.self)
        packed.write(to: UnsafeMutableRawBufferPointer(rebasing: buffer[5...]))
      }
    }
    connection.flushSoon()
  }

  private var closedError: RPCError {
    if case .failure(let error) = incomingEnd { error } else { RPCError(.cancelled, "the stream is closed") }
  }

  /// The client's half of the call is whole.
  func finishWriting() {
    guard outgoingIsOpen else { return }
    outgoingIsOpen = false
    connection.session.finish(id)
    connection.flushSoon()
  }

  /// No more messages of ours; the connection sends the trailers.
  func closeOutgoing() -> Bool {
    defer { outgoingIsOpen = false }
    return outgoingIsOpen
  }

  /// Gives the call up, from any thread.
  func cancel() {
    onLoop { self.connection.cancel(self) }
  }
}
