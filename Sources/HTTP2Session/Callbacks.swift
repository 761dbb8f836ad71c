import CNghttp2

// Everything that libnghttp2 calls. Each thunk checks, recovers the session, hands over a value and stops; whoever
// reacts does so after libnghttp2 has returned.

private func session(_ pointer: UnsafeMutableRawPointer?) -> HTTP2Session? {
  pointer.map { Unmanaged<HTTP2Session>.fromOpaque($0).takeUnretainedValue() }
}

/// Creates libnghttp2's session with our callbacks; `owner` outlives it.
func makeSession(_ role: HTTP2Session.Role, owner: UnsafeMutableRawPointer) throws(HTTP2Error) -> OpaquePointer? {
  var callbacks: OpaquePointer?
  var options: OpaquePointer?
  guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&options) == 0 else {
    throw HTTP2Session.error(Int32(NGHTTP2_ERR_NOMEM.rawValue))
  }
  defer {
    nghttp2_session_callbacks_del(callbacks)
    nghttp2_option_del(options)
  }
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
  nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrameReceived)
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onDataChunk)
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, onFrameSent)
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onStreamClose)

  // Windows are credited as readers take bytes, not as they arrive.
  nghttp2_option_set_no_auto_window_update(options, 1)
  // Closed streams are kept for priorities, which gRPC does not use; without them busy connections stay small.
  nghttp2_option_set_no_closed_streams(options, 1)
  // A peer that sends PING or SETTINGS without reading the answers is cut off.
  nghttp2_option_set_max_outbound_ack(options, 1000)
  nghttp2_option_set_max_settings(options, 32)

  var created: OpaquePointer?
  let code =
    switch role {
    case .client: nghttp2_session_client_new2(&created, callbacks, owner, options)
    case .server: nghttp2_session_server_new2(&created, callbacks, owner, options)
    }
  guard code == 0 else { throw HTTP2Session.error(code) }
  return created
}

private func onBeginHeaders(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  owner.incoming[frame.pointee.hd.stream_id] = IncomingHeaders()
  return 0
}

private func onHeader(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, name: UnsafePointer<UInt8>?, nameLength: Int,
  value: UnsafePointer<UInt8>?, valueLength: Int, _: UInt8, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  let field = HeaderField(
    String(decoding: UnsafeBufferPointer(start: name, count: nameLength), as: UTF8.self),
    String(decoding: UnsafeBufferPointer(start: value, count: valueLength), as: UTF8.self))
  let limit = owner.settings.maximumHeaderListByteCount
  // A list that is too long costs its stream, not the connection.
  guard owner.incoming[frame.pointee.hd.stream_id]?.append(field, limit: limit) ?? false else {
    return Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }
  return 0
}

private func onFrameReceived(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  let header = frame.pointee.hd
  let endsStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
  switch UInt32(header.type) {
  case NGHTTP2_HEADERS.rawValue:
    guard let headers = owner.incoming.removeValue(forKey: header.stream_id) else { break }
    owner.events.append(.headers(stream: header.stream_id, fields: headers.fields, endsStream: endsStream))
  case NGHTTP2_DATA.rawValue where endsStream:
    owner.events.append(.bodyEnded(stream: header.stream_id))
  case NGHTTP2_GOAWAY.rawValue:
    let goAway = frame.pointee.goaway
    owner.events.append(.goAway(lastStream: goAway.last_stream_id, errorCode: goAway.error_code))
  default: break
  }
  return 0
}

private func onDataChunk(
  _: OpaquePointer?, _: UInt8, stream: Int32, bytes: UnsafePointer<UInt8>?, count: Int, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner) else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  owner.events.append(.data(stream: stream, bytes: Array(UnsafeBufferPointer(start: bytes, count: count))))
  return 0
}

private func onFrameSent(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner), let frame else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  let header = frame.pointee.hd
  let kind = UInt32(header.type)
  if kind == NGHTTP2_HEADERS.rawValue || kind == NGHTTP2_DATA.rawValue,
    header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
  {
    owner.events.append(.endSent(stream: header.stream_id))
  }
  return 0
}

private func onStreamClose(
  _: OpaquePointer?, stream: Int32, errorCode: UInt32, owner: UnsafeMutableRawPointer?
) -> CInt {
  guard let owner = session(owner) else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  owner.incoming[stream] = nil
  owner.outgoing[stream] = nil
  owner.events.append(.closed(stream: stream, errorCode: errorCode))
  return 0
}

/// Hands a stream's body to libnghttp2 as it asks for it.
var outgoingBodyProvider: nghttp2_data_provider {
  nghttp2_data_provider(source: nghttp2_data_source(), read_callback: readBody)
}

private func readBody(
  _: OpaquePointer?, stream: Int32, buffer: UnsafeMutablePointer<UInt8>?, length: Int,
  flags: UnsafeMutablePointer<UInt32>?, _: UnsafeMutablePointer<nghttp2_data_source>?, owner: UnsafeMutableRawPointer?
) -> Int {
  guard let owner = session(owner), let body = owner.outgoing[stream], let flags else {
    return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }
  let taken = body.take(into: UnsafeMutableRawBufferPointer(start: buffer, count: length))
  guard body.count == 0 else { return taken }
  if let trailers = body.end {
    flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
    if !trailers.isEmpty {
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

/// Lays header fields out as libnghttp2 reads them; it copies them before it returns.
func withNameValues<Result>(
  _ fields: [HeaderField], _ body: (UnsafeBufferPointer<nghttp2_nv>) -> Result
) -> Result {
  let byteCount = fields.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
  return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(byteCount, 1)) { bytes in
    withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: max(fields.count, 1)) { pairs in
      var next = 0
      func store(_ text: String) -> UnsafeMutablePointer<UInt8>? {
        let start = next
        for byte in text.utf8 {
          bytes[next] = byte
          next += 1
        }
        return bytes.baseAddress.map { $0 + start }
      }
      for (index, field) in fields.enumerated() {
        pairs.initializeElement(
          at: index,
          to: nghttp2_nv(
            name: store(field.name), value: store(field.value), namelen: field.name.utf8.count,
            valuelen: field.value.utf8.count, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
      }
      return body(UnsafeBufferPointer(start: pairs.baseAddress, count: fields.count))
    }
  }
}
