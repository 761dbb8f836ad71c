import CNghttp2

// Everything that libnghttp2 calls. Each thunk checks, recovers the session, hands over a value and stops; whoever
// reacts does so after libnghttp2 has returned.

private let callbackFailure = Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)

private func session(_ pointer: UnsafeMutableRawPointer?) -> HTTP2Session? {
  pointer.map { Unmanaged<HTTP2Session>.fromOpaque($0).takeUnretainedValue() }
}

/// Creates libnghttp2's session with our callbacks; `owner` outlives it.
func makeSession(
  _ role: HTTP2Session.Role, owner: UnsafeMutableRawPointer, memory: nghttp2_mem
) throws(HTTP2Error) -> OpaquePointer? {
  var memory = memory
  var callbacks: OpaquePointer?
  var options: OpaquePointer?
  defer {
    nghttp2_session_callbacks_del(callbacks)
    nghttp2_option_del(options)
  }
  guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&options) == 0 else {
    throw HTTP2Session.error(Int32(NGHTTP2_ERR_NOMEM.rawValue))
  }
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, onBeginFrame)
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
  nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrameReceived)
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, onInvalidFrame)
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onDataChunk)
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, onFrameSent)
  nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, onFrameNotSent)
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onStreamClose)
  nghttp2_session_callbacks_set_send_data_callback(callbacks, sendData)
  nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frameLength)

  // Windows are credited as readers take bytes, not as they arrive.
  nghttp2_option_set_no_auto_window_update(options, 1)
  // Closed streams are kept for priorities, which gRPC does not use; without them busy connections stay small.
  nghttp2_option_set_no_closed_streams(options, 1)
  // A peer that sends PING or SETTINGS without reading the answers is cut off.
  nghttp2_option_set_max_outbound_ack(options, 1000)
  nghttp2_option_set_max_settings(options, 32)
  // Calls that are given up are common here (watches, deadlines); the library's 33 a second are for browsers. What one
  // costs us ends with it, so that this many do no harm.
  nghttp2_option_set_stream_reset_rate_limit(options, 10_000, 1000)

  var created: OpaquePointer?
  let code =
    switch role {
    case .client: nghttp2_session_client_new3(&created, callbacks, owner, options, &memory)
    case .server: nghttp2_session_server_new3(&created, callbacks, owner, options, &memory)
    }
  guard code == 0 else { throw HTTP2Session.error(code) }
  return created
}

// MARK: Receiving

/// Sees frames that libnghttp2 ignores after this, too.
private func onBeginFrame(
  _: OpaquePointer?, header: UnsafePointer<nghttp2_frame_hd>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let header else { return callbackFailure }
  let endsStream = header.pointee.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
  switch UInt32(header.pointee.type) {
  case NGHTTP2_DATA.rawValue:
    if header.pointee.length == 0, !endsStream { owner.overhead.add(.other) }
  // Taken back when it has become a call, or trailers.
  case NGHTTP2_HEADERS.rawValue: owner.overhead.add(.other)
  case NGHTTP2_WINDOW_UPDATE.rawValue: owner.overhead.add(.windowUpdate)
  // PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION. Types that libnghttp2 does not know it skips unseen.
  default: owner.overhead.add(.other)
  }
  return 0
}

private func onBeginHeaders(
  _: OpaquePointer?, _: UnsafePointer<nghttp2_frame>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner) else { return callbackFailure }
  owner.incomingHeaders = HeaderList()
  owner.headerListCount += 1
  owner.headerListInProgress = owner.headerListCount
  owner.droppedHeaderByteCount = 0
  return 0
}

private func onHeader(
  _: OpaquePointer?, _: UnsafePointer<nghttp2_frame>?, name: UnsafePointer<UInt8>?, nameLength: Int,
  value: UnsafePointer<UInt8>?, valueLength: Int, _: UInt8, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner) else { return callbackFailure }
  // A list that is too long grows by one field at most; its stream is told when the list is whole.
  let limit = owner.settings.maximumHeaderListByteCount
  guard owner.incomingHeaders.listByteCount <= limit else {
    // A few bytes can stand for many thousands (RFC 7541 §6.1). Of a list that is absurd libnghttp2 only keeps the
    // compression's state up to date: it ends the stream, and looks at no more fields.
    owner.droppedHeaderByteCount += nameLength + valueLength + 32
    guard owner.droppedHeaderByteCount > max(limit, 64 << 10) else { return 0 }
    owner.overhead.add(.absurdHeaderList)
    owner.headerListInProgress = nil
    return Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }
  owner.incomingHeaders.append(
    UnsafeRawBufferPointer(start: name, count: nameLength), UnsafeRawBufferPointer(start: value, count: valueLength))
  return 0
}

private func onFrameReceived(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame else { return callbackFailure }
  let header = frame.pointee.hd
  let endsStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
  let isAnswer = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
  switch UInt32(header.type) {
  case NGHTTP2_HEADERS.rawValue:
    let fields = owner.incomingHeaders
    owner.incomingHeaders = HeaderList()
    owner.headerListInProgress = nil
    owner.overhead.takeBack()
    if fields.listByteCount > owner.settings.maximumHeaderListByteCount {
      owner.events.append(.headersTooLong(stream: header.stream_id))
    } else {
      owner.events.append(.headers(stream: header.stream_id, fields: fields, endsStream: endsStream))
    }
  case NGHTTP2_DATA.rawValue where endsStream:
    owner.events.append(.bodyEnded(stream: header.stream_id))
  case NGHTTP2_DATA.rawValue where header.length > 0 && header.length <= frame.pointee.data.padlen:
    owner.overhead.add(.other)
  case NGHTTP2_GOAWAY.rawValue:
    let goAway = frame.pointee.goaway
    owner.events.append(.goAway(lastStream: goAway.last_stream_id, errorCode: goAway.error_code))
  case NGHTTP2_SETTINGS.rawValue where !isAnswer:
    owner.events.append(.settingsReceived)
  case NGHTTP2_PING.rawValue where isAnswer:
    var payload: UInt64 = 0
    withUnsafeMutableBytes(of: &payload) { payload in
      withUnsafeBytes(of: frame.pointee.ping.opaque_data) { payload.copyMemory(from: $0) }
    }
    owner.events.append(.pingAnswered(payload: payload))
  case NGHTTP2_PING.rawValue:
    owner.events.append(.pinged)
  default: break
  }
  return 0
}

private func onInvalidFrame(
  _: OpaquePointer?, _: UnsafePointer<nghttp2_frame>?, _: CInt, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner) else { return callbackFailure }
  // A list of headers that was found wrong is skipped to its end, of which nothing is said.
  owner.headerListInProgress = nil
  return 0
}

private func onDataChunk(
  _: OpaquePointer?, _: UInt8, stream: Int32, bytes: UnsafePointer<UInt8>?, count: Int, owner: UnsafeMutableRawPointer?
) -> CInt {
  // A body's bytes are not copied by libnghttp2: they stand in what it was given.
  guard let owner = session(owner), let bytes, let receiving = owner.receiving, let start = receiving.baseAddress else {
    return callbackFailure
  }
  let offset = UnsafeRawPointer(bytes) - start
  guard offset >= 0, count >= 0, count <= receiving.count - offset else { return callbackFailure }
  owner.events.append(.data(stream: stream, bytes: offset..<offset + count))
  return 0
}

private func onStreamClose(
  _: OpaquePointer?, stream: Int32, errorCode: UInt32, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner) else { return callbackFailure }
  // Its end was told when it could not be sent.
  guard owner.unsentRequest != stream else { return 0 }
  owner.dropBody(stream)
  owner.events.append(.closed(stream: stream, errorCode: errorCode))
  return 0
}

// MARK: Sending

private func onFrameSent(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame else { return callbackFailure }
  let header = frame.pointee.hd
  let kind = UInt32(header.type)
  if kind == NGHTTP2_HEADERS.rawValue || kind == NGHTTP2_DATA.rawValue,
    header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
  {
    owner.events.append(.endSent(stream: header.stream_id))
  }
  if kind == NGHTTP2_RST_STREAM.rawValue, frame.pointee.rst_stream.error_code != ErrorCode.none,
    frame.pointee.rst_stream.error_code != ErrorCode.cancel
  {
    // The peer did what a stream does not survive: as dear as a reset of its own, and as good a flood.
    owner.overhead.add(.other)
  }
  return 0
}

private func onFrameNotSent(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, _: CInt, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame else { return callbackFailure }
  let header = frame.pointee.hd
  // A request that never left may have no stream whose end would be reported. This side opens streams as a client alone.
  if owner.role == .client, UInt32(header.type) == NGHTTP2_HEADERS.rawValue, owner.outgoing[header.stream_id] != nil {
    owner.unsentRequest = header.stream_id
    owner.dropBody(header.stream_id)
    owner.events.append(.closed(stream: header.stream_id, errorCode: ErrorCode.refusedStream))
  }
  return 0
}

/// Hands a stream's body to libnghttp2 as it asks for it.
var outgoingBodyProvider: nghttp2_data_provider {
  nghttp2_data_provider(source: nghttp2_data_source(), read_callback: readBody)
}

/// How long the next DATA frame may be: as long as the peer's windows and settings allow when there is so much to send.
/// libnghttp2 makes a buffer of this length, so that it is asked for only then.
private func frameLength(
  _: OpaquePointer?, _: UInt8, stream: Int32, sessionWindow: Int32, streamWindow: Int32, maximum: UInt32,
  owner: UnsafeMutableRawPointer?
) -> Int {
  let smallest = 16 << 10
  guard let waiting = session(owner)?.outgoing[stream]?.queue.count, waiting > smallest else { return smallest }
  return max(1, min(Int(sessionWindow), Int(streamWindow), Int(maximum), 64 << 10))
}

/// Says how much of a body goes into the next frame; `sendData` copies it.
private func readBody(
  _: OpaquePointer?, stream: Int32, buffer: UnsafeMutablePointer<UInt8>?, length: Int,
  flags: UnsafeMutablePointer<UInt32>?, _: UnsafeMutablePointer<nghttp2_data_source>?, owner: UnsafeMutableRawPointer?
) -> Int {
  guard let owner = session(owner), let body = owner.outgoing[stream], let flags else {
    return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }
  let taken = min(body.queue.count, length)
  if taken > 0 { flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue }
  guard taken == body.queue.count else { return taken }
  if let trailers = body.end {
    flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
    if trailers.count > 0 {
      flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
      guard owner.submitTrailers(stream, trailers) else {
        return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
      }
    }
    return taken
  }
  if taken == 0 {
    body.isDeferred = true
    return Int(NGHTTP2_ERR_DEFERRED.rawValue)
  }
  return taken
}

/// Puts a whole DATA frame into the output. This side never pads.
private func sendData(
  _: OpaquePointer?, frame: UnsafeMutablePointer<nghttp2_frame>?, frameHeader: UnsafePointer<UInt8>?, length: Int,
  _: UnsafeMutablePointer<nghttp2_data_source>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame, let frameHeader else { return callbackFailure }
  guard owner.output.count < owner.outputLimit else { return Int32(NGHTTP2_ERR_WOULDBLOCK.rawValue) }
  guard let body = owner.outgoing[frame.pointee.hd.stream_id], length >= 0, length <= body.queue.count else {
    return Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }
  owner.output.append(UnsafeRawBufferPointer(start: frameHeader, count: 9))
  body.queue.move(length, to: owner.output)
  owner.totalUnsentByteCount -= length
  owner.overhead.sentData(length)
  return 0
}

/// Lays header fields out as libnghttp2 reads them; it copies them before it returns.
func withNameValues<Result>(
  _ fields: HeaderList, _ body: (UnsafeBufferPointer<nghttp2_nv>) -> Result
) -> Result {
  withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: max(fields.count, 1)) { pairs in
    var index = 0
    return fields.withAll { name, value in
      pairs.initializeElement(
        at: index,
        to: nghttp2_nv(
          name: mutable(name), value: mutable(value), namelen: name.count, valuelen: value.count,
          flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
      index += 1
    } then: {
      body(UnsafeBufferPointer(start: pairs.baseAddress, count: index))
    }
  }
}

/// libnghttp2 declares what it only reads as mutable.
private func mutable(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<UInt8>? {
  UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
}
