import HTTP2Session
import NIOCore
import ProtobufRuntime
import Synchronization

/// One call's stream, as either side sees it: messages in, messages out, and how it ended.
///
/// Sendable without a lock because everything but the constants is touched on the event loop alone; `onLoop` is the way
/// there.
class CallStream: @unchecked Sendable {
  let eventLoop: any EventLoop
  /// The stream's place; a client's call has none until there is a connection.
  private(set) var connection: HTTP2Connection?
  private(set) var id: StreamID = 0
  /// When the call ends if nothing else ends it; nil: no limit.
  var deadline: NIODeadline?

  // MARK: Incoming
  private var framer: MessageFramer
  /// Compressed messages stay so until they are read: a few bytes may become many.
  private var unread: [FramedMessage] = []
  private var nextUnread = 0
  /// Bytes of `unread`; a message of no bytes takes room, too.
  private var unreadByteCount = 0
  private static let messageOverheadByteCount = 64
  /// What this stream holds of its connection's `unreadByteCount`.
  private var heldByteCount = 0
  /// Bytes whose credit waits for a reader.
  private var uncreditedByteCount = 0
  private(set) var incomingEnd: Result<Void, RPCError>?
  private var reader: Waiter<ArraySlice<UInt8>?>?
  /// How the peer's compressed messages are to be read; identity: none may come.
  final var incomingEncoding = MessageEncoding.identity
  /// How the message came that was read last. The one reader may look at it between two messages, off the loop as well:
  /// it changes only as the reader gets the next.
  private(set) final var lastReadEncoding = MessageEncoding.identity

  // MARK: Outgoing
  private var writers: [Waiter<Void>] = []
  private(set) var outgoingIsOpen = true
  private let compression = Atomic(OutgoingCompression.off)

  init(eventLoop: any EventLoop, maximumMessageByteCount: Int) {
    self.eventLoop = eventLoop
    framer = MessageFramer(maximumByteCount: maximumMessageByteCount)
  }

  func open(_ id: StreamID, on connection: HTTP2Connection) {
    self.id = id
    self.connection = connection
  }

  /// Takes a call back whose attempt came to nothing; another one may follow.
  func leaveConnection() {
    connection = nil
    id = 0
    outgoingIsOpen = true
  }

  func onLoop(_ body: @escaping @Sendable () -> Void) {
    if eventLoop.inEventLoop { body() } else { eventLoop.execute(body) }
  }

  // MARK: Events of the connection

  func received(_ bytes: UnsafeRawBufferPointer) {
    guard incomingEnd == nil else {
      connection?.session.creditStream(id, bytes.count)
      return
    }
    framer.append(bytes)
    uncreditedByteCount += bytes.count
    do throws(RPCError) {
      while let message = try framer.next() {
        if message.isCompressed, incomingEncoding == .identity { throw .unagreedEncoding }
        unread.append(message)
        unreadByteCount += message.bytes.count + Self.messageOverheadByteCount
      }
    } catch {
      connection?.fail(self, error)
      return
    }
    serveReader()
    // An unfinished message needs the rest of itself; only whole messages that nobody reads hold the peer back.
    if nextUnread == unread.count { credit() }
    accountForMemory()
  }

  /// What a call that is over still holds goes with its handler.
  private func releaseMemory() {
    connection?.unreadByteCount -= heldByteCount
    heldByteCount = 0
  }

  private func accountForMemory() {
    guard let connection else { return }
    let byteCount = unreadByteCount + framer.unfinishedByteCount
    guard byteCount != heldByteCount else { return }
    connection.unreadByteCount += byteCount - heldByteCount
    let hasGrown = byteCount > heldByteCount
    heldByteCount = byteCount
    guard hasGrown, connection.unreadByteCount > connection.maximumUnreadByteCount else { return }
    connection.fail(
      self,
      RPCError(
        .resourceExhausted,
        "the connection has more than \(connection.maximumUnreadByteCount) bytes of messages that are not whole or not read"
      ))
  }

  /// The peer has sent all it will: well, or with an error. Messages that came before can still be read.
  func endIncoming(_ end: Result<Void, RPCError>) {
    guard incomingEnd == nil else { return }
    incomingEnd = end
    if case .success = end, framer.isMidMessage {
      incomingEnd = .failure(RPCError(.internalError, "the stream ended in the middle of a message"))
    }
    incomingHasEnded()
    serveReader()
  }

  /// How the incoming half ended is known, and nobody has been told.
  func incomingHasEnded() {}

  /// Nothing moves on this stream any more.
  func end(_ error: RPCError) {
    endIncoming(.failure(error))
    closeOutgoing()
    releaseMemory()
    wake(.failure(closedError))
  }

  /// Some bytes have left: lets writers go on if there is room. False if they must still wait.
  func sent() -> Bool {
    guard hasRoom else { return false }
    wake(.success(()))
    return true
  }

  private func wake(_ result: Result<Void, RPCError>) {
    let waiting = writers
    writers = []
    for writer in waiting { writer.resume(with: result) }
  }

  // MARK: Reading

  /// The next message, nil after the last; throws how the call ended if not well. One reader at a time. A reader whose
  /// task is cancelled gets CANCELLED.
  final func nextMessage() async throws -> ArraySlice<UInt8>? {
    if eventLoop.inEventLoop, let ready = takeReady() { return try ready.get() }
    let waiter = Waiter<ArraySlice<UInt8>?>()
    return try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        onLoop {
          waiter.continuation = continuation
          if let ready = self.takeReady() {
            waiter.resume(with: ready)
          } else if waiter.isCancelled {
            waiter.resume(with: .failure(.cancelled))
          } else if self.reader == nil {
            self.reader = waiter
          } else {
            waiter.resume(with: .failure(RPCError(.internalError, "two tasks read one stream of messages")))
          }
        }
      }
    } onCancel: {
      onLoop {
        waiter.isCancelled = true
        if self.reader === waiter { self.reader = nil }
        waiter.resume(with: .failure(.cancelled))
        self.readerCancelled()
      }
    }
  }

  /// What a reader's cancellation means for the call.
  func readerCancelled() {}

  /// The only message of a request that is whole.
  final func takeOnlyMessage() throws(RPCError) -> ArraySlice<UInt8> {
    guard let message = try takeReady()?.get() else { throw RPCError(.internalError, "the call has no message") }
    guard nextUnread == unread.count else { throw RPCError(.internalError, "the call has more than one message") }
    return message
  }

  private func takeReady() -> Result<ArraySlice<UInt8>?, RPCError>? {
    if nextUnread < unread.count {
      let message = unread[nextUnread]
      nextUnread += 1
      if nextUnread == unread.count {
        unread.removeAll(keepingCapacity: true)
        nextUnread = 0
        unreadByteCount = 0
        if incomingEnd == nil { accountForMemory() } else { releaseMemory() }
        credit()
      }
      guard message.isCompressed else {
        lastReadEncoding = .identity
        return .success(message.bytes)
      }
      lastReadEncoding = incomingEncoding
      return decompressed(message.bytes)
    }
    switch incomingEnd {
    case .success: return .success(nil)
    case .failure(let error): return .failure(error)
    case nil: return nil
    }
  }

  private func decompressed(_ bytes: ArraySlice<UInt8>) -> Result<ArraySlice<UInt8>?, RPCError> {
    do throws(RPCError) {
      return .success(try Gzip.decompress(bytes, maximumByteCount: framer.maximumByteCount)[...])
    } catch {
      let wasOpen = incomingEnd == nil
      incomingEnd = .failure(error)
      if wasOpen { incomingHasEnded() }
      unread = []
      nextUnread = 0
      connection?.fail(self, error)
      return .failure(error)
    }
  }

  private func serveReader() {
    guard let reader, let ready = takeReady() else { return }
    self.reader = nil
    reader.resume(with: ready)
  }

  private func credit() {
    guard uncreditedByteCount > 0, let connection else { return }
    // After the peer's last byte there is nothing to allow.
    if incomingEnd == nil {
      connection.session.creditStream(id, uncreditedByteCount)
      connection.flushSoon()
    }
    uncreditedByteCount = 0
  }

  // MARK: Writing

  /// Sends a message; returns when it is buffered and the buffer is below its mark.
  final func write<M: Message>(_ message: M, compressed: Bool) async throws {
    if eventLoop.inEventLoop {
      try send(message, compressed: compressed)
      if !hasRoom { try await waitForRoom(sending: nil) }
    } else {
      try await waitForRoom(sending: message.framed(compressed: compressed && compressesMessages))
    }
  }

  private var hasRoom: Bool {
    guard let connection else { return true }
    return connection.session.unsentByteCount(id) < connection.sendBufferByteCount
      && connection.session.totalUnsentByteCount < connection.maximumUnsentByteCount
  }

  private func waitForRoom(sending frame: MessageBuffer?) async throws {
    let waiter = Waiter<Void>()
    try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
        onLoop {
          waiter.continuation = continuation
          if let frame { self.send(frame) }
          if !self.outgoingIsOpen {
            waiter.resume(with: .failure(self.closedError))
          } else if self.hasRoom {
            waiter.resume(with: .success(()))
          } else if waiter.isCancelled {
            waiter.resume(with: .failure(.cancelled))
          } else {
            if self.writers.isEmpty { self.connection?.waitForRoom(self) }
            self.writers.append(waiter)
          }
        }
      }
    } onCancel: {
      onLoop {
        waiter.isCancelled = true
        self.writers.removeAll { $0 === waiter }
        waiter.resume(with: .failure(.cancelled))
      }
    }
  }

  /// Puts a message into the stream's buffer, on the loop.
  final func send<M: Message>(_ message: M, compressed: Bool = true) throws(RPCError) {
    guard outgoingIsOpen, let connection else { throw closedError }
    if compressed, compressesMessages { return send(message.framed(compressed: true)) }
    sendHeaders()
    message.withPackedMessage { packed in
      let byteCount = packed.byteCount + MessageFramer.prefixByteCount
      if byteCount >= connection.sharedByteCount {
        connection.session.send(on: id, owner: MessageBuffer(packed), byteCount: byteCount)
      } else {
        connection.session.send(on: id, byteCount: byteCount) { packed.writeFramed(to: $0) }
      }
    }
    connection.flushSoon()
  }

  /// Puts a framed message into the stream's buffer, on the loop; nothing if the stream is closed.
  final func send(_ frame: MessageBuffer) {
    guard outgoingIsOpen, let connection else { return }
    sendHeaders()
    let byteCount = frame.bytes.readableBytes
    if byteCount >= connection.sharedByteCount {
      connection.session.send(on: id, owner: frame, byteCount: byteCount)
    } else {
      connection.session.send(on: id, byteCount: byteCount) { room in
        frame.bytes.withUnsafeReadableBytes { room.copyMemory(from: $0) }
      }
    }
    connection.flushSoon()
  }

  /// Sends what must stand before the first message.
  func sendHeaders() {}

  /// True if messages leave compressed.
  final var compressesMessages: Bool { compression.load(ordering: .relaxed).isOn }

  /// Has messages compressed from now on, from any thread; nothing happens once headers said that they are not.
  final func compressMessages() {
    _ = compression.compareExchange(expected: .off, desired: .on, ordering: .relaxed)
  }

  /// To be asked when the headers are written: whether they say that messages are compressed. It stays so.
  final func decideCompression() -> Bool {
    if compression.compareExchange(expected: .off, desired: .offForGood, ordering: .relaxed).exchanged { return false }
    return compressesMessages
  }

  final var closedError: RPCError {
    if case .failure(let error) = incomingEnd { error } else { RPCError(.cancelled, "the stream is closed") }
  }

  /// No more messages of ours. True if there could have been until now.
  @discardableResult
  final func closeOutgoing() -> Bool {
    defer { outgoingIsOpen = false }
    return outgoingIsOpen
  }
}

private enum OutgoingCompression: UInt8, AtomicRepresentable {
  case off, on
  /// The peer was told so.
  case offForGood

  var isOn: Bool { self == .on }
}

/// A task that waits for the loop. Touched on the loop alone.
private final class Waiter<Value: Sendable>: @unchecked Sendable {
  var continuation: UnsafeContinuation<Value, any Error>?
  var isCancelled = false

  /// Only the first one counts.
  func resume(with result: Result<Value, RPCError>) {
    continuation?.resume(with: result)
    continuation = nil
  }
}
