import HTTP2Session
import NIOCore

/// A connection's handler: bytes into the session, its events to streams, its bytes out. Server and client differ in
/// how a stream begins and ends; that is in their subclasses.
///
/// Sendable for the same reason as `CallStream`: everything happens on the event loop.
class HTTP2Connection: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer

  /// Bytes pulled from the session at a time; the channel's own buffer holds about as much more.
  private static let flushByteCount = 256 << 10

  let eventLoop: any EventLoop
  let session: HTTP2Session
  let sendBufferByteCount: Int
  let maximumMessageByteCount: Int
  var streams: [StreamID: CallStream] = [:]
  private(set) var context: ChannelHandlerContext?
  private(set) var hasReceived = false
  private var isReading = false
  private var flushIsScheduled = false

  init(
    role: HTTP2Session.Role, settings: SessionSettings, sendBufferByteCount: Int, maximumMessageByteCount: Int,
    eventLoop: any EventLoop
  ) throws {
    session = try HTTP2Session(role, settings: settings)
    self.sendBufferByteCount = sendBufferByteCount
    self.maximumMessageByteCount = maximumMessageByteCount
    self.eventLoop = eventLoop
  }

  // MARK: What the roles do differently

  func receivedHeaders(_ id: StreamID, _ fields: [HeaderField], endsStream: Bool) {}
  func receivedEnd(of stream: CallStream) {}
  func endSent(_ stream: CallStream) {}
  func receivedGoAway(lastStream: StreamID) {}
  /// How a call ends whose stream is over before its status.
  func closedError(_ errorCode: UInt32) -> RPCError { .cancelled }
  func connectionEnded() {}
  /// The call cannot go on for a reason of our own.
  func fail(_ stream: CallStream, _ error: RPCError) {}
  func sendHeaders(of stream: CallStream) {}
  func cancel(_ stream: CallStream) {}

  // MARK: The channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if context.channel.isActive { flush() }
  }

  func channelActive(context: ChannelHandlerContext) {
    flush()
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    isReading = true
    do throws(HTTP2Error) {
      let events = try buffer.withUnsafeReadableBytes { bytes in
        Result { () throws(HTTP2Error) in try session.receive(bytes) }
      }.get()
      hasReceived = true
      for event in events { handle(event) }
    } catch {
      // Not HTTP/2, or not any more: say so if the other side can read it, and close.
      flush()
      context.close(promise: nil)
    }
    isReading = false
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    flush()
    if !session.isAlive { context.close(promise: nil) }
    context.fireChannelReadComplete()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { flush() }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.context = nil
    let open = streams
    streams = [:]
    for (_, stream) in open.sorted(by: { $0.key < $1.key }) { stream.end(lostError) }
    connectionEnded()
    context.fireChannelInactive()
  }

  var lostError: RPCError { .cancelled }

  // MARK: Events

  private func handle(_ event: SessionEvent) {
    switch event {
    case .headers(let id, let fields, let endsStream):
      receivedHeaders(id, fields, endsStream: endsStream)
    case .data(let id, let bytes):
      session.creditConnection(bytes.count)
      // Bytes of a stream that was given up here are still on their way; their windows go with it.
      streams[id]?.received(bytes)
    case .bodyEnded(let id):
      if let stream = streams[id] { receivedEnd(of: stream) }
    case .endSent(let id):
      if let stream = streams[id] { endSent(stream) }
    case .closed(let id, let errorCode):
      streams.removeValue(forKey: id)?.end(closedError(errorCode))
    case .goAway(let lastStream, _):
      receivedGoAway(lastStream: lastStream)
    }
  }

  // MARK: Sending

  /// Sends what there is at the end of this turn of the loop: what is written in one turn leaves in one system call.
  func flushSoon() {
    guard !isReading, !flushIsScheduled else { return }
    flushIsScheduled = true
    eventLoop.execute {
      self.flushIsScheduled = false
      self.flush()
    }
  }

  func flush() {
    // Unwritable: the socket is full. The session keeps the rest, and its writers wait.
    while let context, context.channel.isActive, context.channel.isWritable {
      var buffer = context.channel.allocator.buffer(capacity: 0)
      do {
        try session.outgoingBytes(atLeast: Self.flushByteCount) { buffer.writeBytes($0) }
      } catch {
        context.close(promise: nil)
        return
      }
      let events = session.takeEvents()
      if buffer.readableBytes > 0 { context.writeAndFlush(wrapOutboundOut(buffer), promise: nil) }
      for event in events { handle(event) }
      guard buffer.readableBytes > 0 else { break }
      for stream in streams.values { stream.sent() }
    }
  }

  typealias OutboundOut = ByteBuffer

  func close() {
    context?.close(promise: nil)
  }
}
