import HTTP2Session
import NIOCore

/// A connection's handler: bytes into the session, its events to streams, its bytes out. Server and client differ in
/// how a stream begins and ends; that is in their subclasses.
///
/// Sendable for the same reason as `CallStream`: everything happens on the event loop.
class HTTP2Connection: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  let eventLoop: any EventLoop
  let executor: EventLoopExecutor
  let session: HTTP2Session
  let sendBufferByteCount: Int
  /// Bytes pulled from the session at a time; the channel's own buffer holds about as much more.
  private var flushByteCount = 256 << 10
  /// Messages from this size on are not copied on their way to the socket. Below, one system call for one piece of memory is
  /// cheaper than one for many.
  private(set) var sharedByteCount = 8 << 10
  var streams: [StreamID: CallStream] = [:]
  private(set) var context: ChannelHandlerContext?
  /// The peer speaks HTTP/2.
  private(set) var hasSettings = false
  private(set) var lastReceived = NIODeadline.now()
  private var pinged = false
  private let keepaliveInterval: TimeAmount
  private var keepalive: RepeatedTask?
  private var flushIsComing = false
  private var hasBegun = false
  private var liesBehindSecurity = false
  /// Bytes of bodies that wait for their readers, or for the rest of their messages.
  var unreadByteCount = 0
  /// Streams whose writers wait until bytes have left.
  private var waitingForRoom: [CallStream] = []
  /// The session has failed, or has been told to end: nothing more is handled.
  private var isOver = false
  /// What handlers below this one found wrong with the connection, in words for whoever made the calls.
  private(set) var failure: RPCError?

  init(
    role: HTTP2Session.Role, settings: SessionSettings, sendBufferByteCount: Int, keepaliveInterval: Duration,
    eventLoop: any EventLoop
  ) throws {
    executor = .of(eventLoop)
    session = try HTTP2Session(role, settings: settings, output: executor.output)
    self.sendBufferByteCount = sendBufferByteCount
    self.keepaliveInterval = TimeAmount(keepaliveInterval)
    self.eventLoop = eventLoop
  }

  /// TLS lies between this and the socket. It copies all, and each piece of memory would be a record of its own: none is
  /// shared. What is encrypted first is sent first, so that the peer decrypts it meanwhile.
  func isSecured() {
    liesBehindSecurity = true
    sharedByteCount = .max
    flushByteCount = 64 << 10
  }

  // MARK: What the roles do differently

  func receivedHeaders(_ id: StreamID, _ fields: HeaderList, endsStream: Bool) {}
  func receivedTooLongHeaders(_ id: StreamID) {}
  func receivedEnd(of stream: CallStream) {}
  func endSent(_ id: StreamID) {}
  func receivedSettings() {}
  func receivedGoAway(errorCode: UInt32) {}
  /// How a call ends whose stream is over before its status.
  func closedError(_ errorCode: UInt32) -> RPCError { .cancelled }
  /// How calls end that lose their connection.
  var lostError: RPCError { .cancelled }
  /// A stream is over that may not have had its status. It is no stream of this connection any more.
  func closed(_ stream: CallStream, _ errorCode: UInt32) { stream.end(closedError(errorCode)) }
  /// A stream has lost its connection.
  func lost(_ stream: CallStream) { stream.end(lostError) }
  func connectionEnded() {}
  /// What the peer speaks instead of HTTP/2, by its first bytes, if that can be told.
  func foreignProtocol(_ bytes: UnsafeRawBufferPointer) -> RPCError? { nil }
  /// The call cannot go on for a reason of our own.
  func fail(_ stream: CallStream, _ error: RPCError) {}
  /// Called each `keepaliveInterval`.
  func timePassed() {}
  /// The peer wants a sign of life; it has been sent.
  func receivedPing() {}
  func receivedPingAnswer(_ payload: UInt64) {}
  /// Nothing more can happen on the session.
  func sessionEnded() { close() }
  /// Bytes that this side holds because the peer does not take them, at which writers wait.
  var maximumUnsentByteCount: Int { .max }
  /// Bytes that this side holds because nobody reads them, above which calls fail.
  var maximumUnreadByteCount: Int { .max }
  /// The peer is asked for signs of life while no calls are open, too.
  var pingsWithoutCalls: Bool { false }
  /// A stream is over.
  func streamEnded() {}

  // MARK: The channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    // Behind TLS the channel is there when that says so.
    if context.channel.isActive, !liesBehindSecurity { beginOnce() }
  }

  private func beginOnce() {
    guard !hasBegun else { return }
    hasBegun = true
    begin()
  }

  func channelActive(context: ChannelHandlerContext) {
    beginOnce()
    context.fireChannelActive()
  }

  /// The channel is open. Clocks start here: on a busy machine a channel that was accepted becomes active much later, and
  /// would be taken for a silent one.
  func begin() {
    lastReceived = .now()
    keepalive = eventLoop.scheduleRepeatedTask(initialDelay: keepaliveInterval, delay: keepaliveInterval) {
      [weak self] _ in
      self?.checkPeer()
    }
    flush()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isOver else { return }
    executor.beginReading()
    lastReceived = .now()
    pinged = false
    let breach = unwrapInboundIn(data).withUnsafeReadableBytes { bytes -> HTTP2Error? in
      if !hasSettings { failure = failure ?? foreignProtocol(bytes) }
      do throws(HTTP2Error) {
        var events = try session.receive(bytes)
        for event in events where !isOver { handle(event, bytes) }
        session.recycle(&events)
        return nil
      } catch {
        return error
      }
    }
    guard breach != nil else { return }
    // Not HTTP/2, or not any more: say so if the other side can read it, and close.
    flush()
    closeOutput()
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    flushSoon()
    executor.endReading()
    if !session.isAlive { sessionEnded() }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { flushSoon() }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    failure = failure ?? error as? RPCError
    close()
  }

  func channelInactive(context: ChannelHandlerContext) {
    isOver = true
    self.context = nil
    keepalive?.cancel()
    keepalive = nil
    let open = streams
    streams = [:]
    waitingForRoom = []
    // First: a call that is made again must not take this connection.
    connectionEnded()
    for (_, stream) in open.sorted(by: { $0.key < $1.key }) { lost(stream) }
    executor.endReading()
  }

  // MARK: Events

  private func handle(_ event: SessionEvent, _ received: UnsafeRawBufferPointer) {
    switch event {
    case .headers(let id, let fields, let endsStream):
      receivedHeaders(id, fields, endsStream: endsStream)
    case .headersTooLong(let id):
      receivedTooLongHeaders(id)
    case .data(let id, let range):
      session.creditConnection(range.count)
      // Bytes of a stream that was given up here are still on their way; their windows go with it.
      streams[id]?.received(UnsafeRawBufferPointer(rebasing: received[range]))
    case .bodyEnded(let id):
      if let stream = streams[id] { receivedEnd(of: stream) }
    case .endSent(let id):
      endSent(id)
    case .closed(let id, let errorCode):
      if let stream = streams.removeValue(forKey: id) { closed(stream, errorCode) }
      streamEnded()
    case .goAway(_, let errorCode):
      receivedGoAway(errorCode: errorCode)
    case .settingsReceived:
      hasSettings = true
      receivedSettings()
    case .pinged:
      receivedPing()
    case .pingAnswered(let payload):
      receivedPingAnswer(payload)
    }
  }

  // MARK: Sending

  /// Sends what there is at the end of this turn of the loop.
  func flushSoon() {
    guard !flushIsComing else { return }
    flushIsComing = true
    executor.flush(self)
  }

  /// Has `stream` told when bytes have left.
  func waitForRoom(_ stream: CallStream) { waitingForRoom.append(stream) }

  func flush() {
    flushIsComing = false
    // Unwritable: the socket is full. The session keeps the rest, and its writers wait.
    while let context, !isOver, context.channel.isActive, context.channel.isWritable {
      var wrote = false
      do {
        try session.outgoingBytes(limit: flushByteCount) { copied, pieces in
          write(copied, pieces, to: context)
          wrote = true
        }
      } catch {
        close()
        return
      }
      var events = session.takeEvents()
      for event in events { handle(event, UnsafeRawBufferPointer(start: nil, count: 0)) }
      session.recycle(&events)
      guard wrote else { break }
      context.flush()
      if !waitingForRoom.isEmpty { waitingForRoom = waitingForRoom.filter { !$0.sent() } }
    }
  }

  private func write(
    _ copied: UnsafeRawBufferPointer, _ pieces: [OutgoingPiece], to context: ChannelHandlerContext
  ) {
    let small = context.channel.allocator.buffer(bytes: copied)
    guard !pieces.isEmpty else { return context.write(wrapOutboundOut(small), promise: nil) }
    // The socket gets the pieces as they lie, in one system call: slices are no copies.
    for piece in pieces {
      let (buffer, range) =
        switch piece {
        case .copied(let range): (small, range)
        case .shared(let owner, let range): ((owner as? MessageBuffer)?.bytes ?? ByteBuffer(), range)
        }
      guard let slice = buffer.getSlice(at: range.lowerBound, length: range.count) else { continue }
      context.write(wrapOutboundOut(slice), promise: nil)
    }
  }

  // MARK: The end

  /// Closes at once; the streams end when the channel has closed.
  func close() {
    isOver = true
    context?.close(promise: nil)
  }

  /// Closes this side, and the other when the peer has closed it or a second has passed. A socket that is closed while there
  /// are bytes that nobody has read is reset, and the peer may never see what was sent to it last.
  private func closeOutput() {
    guard !isOver else { return }
    isOver = true
    context?.close(mode: .output, promise: nil)
    let channel = context?.channel
    eventLoop.scheduleTask(in: .seconds(1)) { channel?.close(promise: nil) }
  }

  /// Tells the peer that no stream above the last one is taken, and closes.
  func sayGoodbye(_ errorCode: UInt32 = ErrorCode.none, reason: StaticString = "") {
    session.goAway(errorCode, reason: reason)
    flush()
    close()
  }

  /// A peer whose machine has gone says nothing, not even that it has gone.
  private func checkPeer() {
    timePassed()
    guard NIODeadline.now() - lastReceived >= keepaliveInterval else { return }
    if streams.isEmpty {
      streams = [:]
      session.releaseSpareMemory()
      guard pingsWithoutCalls else { return }
    }
    if pinged { return close() }
    pinged = true
    session.ping()
    flush()
  }
}
