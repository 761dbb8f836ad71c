import CNghttp2

/// One HTTP/2 connection as a value between byte streams: `receive` bytes, act on the events, send `outgoingBytes`.
///
/// No sockets, no clock, no threads. It is a class because libnghttp2 keeps its address; it belongs to one owner at a
/// time. libnghttp2's callbacks only append events and hand over bytes (Callbacks.swift): nothing calls out
/// while libnghttp2 is on the stack.
public final class HTTP2Session {
  public enum Role: Sendable {
    case client, server
  }

  let role: Role
  let settings: SessionSettings
  private let memory = SessionMemory()
  private var session: OpaquePointer?
  var events: [SessionEvent] = []
  /// What `receive` is working on, to say where a body's bytes stand in it.
  var receiving: UnsafeRawBufferPointer?
  /// The header list that is arriving; frames of others cannot come between (RFC 9113 §6.10).
  var incomingHeaders = HeaderList()
  var outgoing: [StreamID: OutgoingBody] = [:]
  /// The last request that could not be sent, a client's alone; 0: none.
  var unsentRequest: StreamID = 0
  /// Bodies of past streams, for the next ones.
  private var spareBodies: [OutgoingBody] = []
  /// Frames that wait for `outgoingBytes` to hand them over.
  let output: OutgoingQueue
  /// Frames of the peer that cost this side something and bring it nothing.
  var overhead = OverheadCount()
  /// Bytes of all bodies that have not left yet.
  public internal(set) var totalUnsentByteCount = 0
  /// The header list that is arriving, counted from 1, or nil between lists: to notice one that never ends.
  public internal(set) var headerListInProgress: Int?
  var headerListCount = 0
  /// Bytes of the header list that is arriving that were beyond the limit.
  var droppedHeaderByteCount = 0
  /// Bytes of `output` beyond which no more frames are put there.
  private(set) var outputLimit = 0

  /// Fails only when memory is short.
  ///
  /// - Parameter output: where frames are put together. Sessions that are used by one thread may share one: between two
  ///   calls it is empty.
  public init(
    _ role: Role, settings: SessionSettings = SessionSettings(), output: OutgoingQueue = OutgoingQueue()
  ) throws(HTTP2Error) {
    self.role = role
    self.settings = settings
    self.output = output
    session = try makeSession(role, owner: Unmanaged.passUnretained(self).toOpaque(), memory: memory.functions)
    try submitSettings()
  }

  deinit {
    nghttp2_session_del(session)
  }

  private func submitSettings() throws(HTTP2Error) {
    func entry(_ setting: nghttp2_settings_id, _ value: UInt32) -> nghttp2_settings_entry {
      nghttp2_settings_entry(settings_id: Int32(setting.rawValue), value: value)
    }
    var entries = [
      entry(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, UInt32(settings.maximumFrameByteCount)),
      entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, UInt32(settings.streamWindowByteCount)),
      entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, UInt32(settings.maximumHeaderListByteCount)),
    ]
    switch role {
    case .server: entries.append(entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.maximumConcurrentStreams))
    case .client: entries.append(entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
    }
    try check(nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count))
    try check(
      nghttp2_session_set_local_window_size(
        session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, settings.connectionWindowByteCount))
  }

  // MARK: Receiving

  /// Takes what the peer sent and answers what it means, in order. After an error the connection must be closed;
  /// `outgoingBytes` may still hold a GOAWAY that says why.
  public func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTP2Error) -> [SessionEvent] {
    receiving = bytes
    defer { receiving = nil }
    let count = nghttp2_session_mem_recv(
      session, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
    if count < 0 { throw Self.error(Int32(truncatingIfNeeded: count)) }
    return takeEvents()
  }

  /// Events that sending brought about: ends that left, streams that are over.
  public func takeEvents() -> [SessionEvent] {
    guard !events.isEmpty else { return [] }
    var taken: [SessionEvent] = []
    swap(&taken, &events)
    return taken
  }

  /// Takes an array of events back once they are handled, to save the next one's allocation.
  public func recycle(_ handled: inout [SessionEvent]) {
    guard events.isEmpty, handled.capacity <= 256 else { return }
    handled.removeAll(keepingCapacity: true)
    swap(&handled, &events)
  }

  /// Lets the peer send `byteCount` more on the connection. Called as bytes arrive: one slow stream must not stop the
  /// others.
  public func creditConnection(_ byteCount: Int) {
    nghttp2_session_consume_connection(session, byteCount)
  }

  /// Lets the peer send `byteCount` more on this stream: its reader has taken them.
  public func creditStream(_ stream: StreamID, _ byteCount: Int) {
    // A stream that is gone needs no credit.
    nghttp2_session_consume_stream(session, stream, byteCount)
  }

  /// False when both sides are done: the connection can be closed.
  public var isAlive: Bool {
    nghttp2_session_want_read(session) != 0 || nghttp2_session_want_write(session) != 0
  }

  // MARK: Sending

  /// Opens a stream. The body follows with `send` and ends with `finish`. Fails when the peer takes no more streams, which
  /// can be before its goodbye has been handled as an event, and when stream numbers are used up.
  public func submitRequest(_ fields: HeaderList) throws(HTTP2Error) -> StreamID {
    guard nghttp2_session_check_request_allowed(session) != 0 else {
      throw Self.error(Int32(NGHTTP2_ERR_START_STREAM_NOT_ALLOWED.rawValue))
    }
    var provider = outgoingBodyProvider
    let stream = withNameValues(fields) {
      nghttp2_submit_request(session, nil, $0.baseAddress, $0.count, &provider, nil)
    }
    if stream < 0 { throw Self.error(stream) }
    outgoing[stream] = makeBody()
    return stream
  }

  /// Answers a stream. The body follows with `send` and ends with `finish`. Nothing happens if the stream is over.
  public func submitResponse(_ stream: StreamID, _ fields: HeaderList) throws(HTTP2Error) {
    guard isOpen(stream) else { return }
    var provider = outgoingBodyProvider
    try check(withNameValues(fields) { nghttp2_submit_response(session, stream, $0.baseAddress, $0.count, &provider) })
    outgoing[stream] = makeBody()
  }

  /// Answers a stream with headers alone. Nothing happens if the stream is over.
  public func submitWholeResponse(_ stream: StreamID, _ fields: HeaderList) throws(HTTP2Error) {
    guard isOpen(stream) else { return }
    try check(withNameValues(fields) { nghttp2_submit_response(session, stream, $0.baseAddress, $0.count, nil) })
  }

  /// Adds `byteCount` bytes to a stream's body, written by `write` straight into the stream's buffer. A stream that is
  /// over drops them: its end was or will be reported as an event.
  public func send(on stream: StreamID, byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) {
    guard let body = outgoing[stream], body.end == nil else { return }
    body.queue.append(byteCount, write)
    totalUnsentByteCount += byteCount
    resume(stream, body)
  }

  /// Adds `byteCount` bytes to a stream's body that stay with `owner`, who keeps them as they are until they have left:
  /// `outgoingBytes` says which of them are sent when. For bodies so large that a copy costs more than a piece.
  public func send(on stream: StreamID, owner: AnyObject, byteCount: Int) {
    guard let body = outgoing[stream], body.end == nil else { return }
    body.queue.append(owner, 0..<byteCount)
    totalUnsentByteCount += byteCount
    resume(stream, body)
  }

  /// Ends a stream's body, with trailers or without.
  public func finish(_ stream: StreamID, trailers: HeaderList = HeaderList()) {
    guard let body = outgoing[stream], body.end == nil else { return }
    body.end = trailers
    resume(stream, body)
  }

  /// Bytes of the body that have not left yet: what a writer waits for to shrink.
  public func unsentByteCount(_ stream: StreamID) -> Int { outgoing[stream]?.queue.count ?? 0 }

  /// Ends a stream at once, both ways. Nothing happens if it is over.
  public func reset(_ stream: StreamID, _ errorCode: UInt32) {
    // A client's request may still wait for its turn: libnghttp2 knows it, though there is no stream yet.
    guard role == .client || isOpen(stream) else { return }
    nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, errorCode)
  }

  /// Announces that the end is near; streams that the peer opens before it hears of that are still taken
  /// (RFC 9113 §6.8). Once the peer has answered a `ping` that follows, it has heard, and `goAway` names the last stream.
  public func announceGoAway() {
    nghttp2_submit_shutdown_notice(session)
  }

  /// Says goodbye: streams in flight may finish, no new one is taken.
  ///
  /// - Parameter reason: for the peer's log.
  public func goAway(_ errorCode: UInt32, reason: StaticString = "") {
    let last = nghttp2_session_get_last_proc_stream_id(session)
    nghttp2_submit_goaway(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, errorCode, reason.utf8Start, reason.utf8CodeUnitCount)
  }

  /// Asks the peer for a sign of life; any bytes that come are one. Its answer carries `payload`.
  public func ping(payload: UInt64 = 0) {
    withUnsafeBytes(of: payload) {
      _ = nghttp2_submit_ping(
        session, UInt8(NGHTTP2_FLAG_NONE.rawValue), $0.baseAddress?.assumingMemoryBound(to: UInt8.self))
    }
  }

  /// Frames that wait for `outgoingBytes`, bodies' aside: a peer that does not read makes them more.
  public var queuedFrameCount: Int { nghttp2_session_get_outbound_queue_size(session) }

  /// How many frames came since the last time that cost this side something and brought it nothing; what is usual
  /// between peers that mean well is not counted. For an `OverheadBudget`.
  public func takeOverheadFrameCount() -> Int { overhead.take() }

  /// True if a body's bytes have left since the last time this was asked.
  public func takeSentSomething() -> Bool { overhead.takeSentSomething() }

  /// Hands over what is to be sent now, and stops soon after `limit` bytes: more may be left. `pieces` says in which order
  /// copied bytes and those that stayed with their owners leave; it is empty when all were copied.
  public func outgoingBytes(
    limit: Int = .max, _ take: (_ copied: UnsafeRawBufferPointer, _ pieces: [OutgoingPiece]) -> Void
  ) throws(HTTP2Error) {
    outputLimit = limit
    while output.count < limit {
      var bytes: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &bytes)
      if count < 0 {
        output.removeAll()
        throw Self.error(Int32(truncatingIfNeeded: count))
      }
      if count == 0 { break }
      output.append(UnsafeRawBufferPointer(start: bytes, count: count))
    }
    if output.count > 0 { output.takeAll(take) }
  }

  /// Gives back memory that a quiet connection does not need.
  public func releaseSpareMemory() {
    spareBodies = []
    if outgoing.isEmpty { outgoing = [:] }
  }

  // MARK: Inside

  private func isOpen(_ stream: StreamID) -> Bool { nghttp2_session_find_stream(session, stream) != nil }

  private func makeBody() -> OutgoingBody { spareBodies.popLast() ?? OutgoingBody() }

  func dropBody(_ stream: StreamID) {
    guard let body = outgoing.removeValue(forKey: stream) else { return }
    totalUnsentByteCount -= body.queue.count
    guard spareBodies.count < 64 else { return }
    body.reset()
    spareBodies.append(body)
  }

  private func resume(_ stream: StreamID, _ body: OutgoingBody) {
    guard body.isDeferred else { return }
    body.isDeferred = false
    // The only failure is a stream that is gone; its end is reported as an event.
    nghttp2_session_resume_data(session, stream)
  }

  /// Called while sending, when a body's last byte was taken and trailers follow it.
  func submitTrailers(_ stream: StreamID, _ fields: HeaderList) -> Bool {
    withNameValues(fields) { nghttp2_submit_trailer(session, stream, $0.baseAddress, $0.count) } == 0
  }

  private func check(_ code: Int32) throws(HTTP2Error) {
    if code != 0 { throw Self.error(code) }
  }

  static func error(_ code: Int32) -> HTTP2Error {
    HTTP2Error(code: code, description: String(cString: nghttp2_strerror(code)))
  }
}
