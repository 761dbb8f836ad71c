import HTTP2Session

/// Header fields as a peer may send them: each is a byte with the name's length, a byte with the value's, then both.
func headersFuzz(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  var fields = HeaderList()
  while !input.isEmpty {
    let (nameLength, valueLength) = (Int(input.byte()), Int(input.byte()))
    fields.append(input.take(nameLength), input.take(valueLength))
  }
  let request = RequestHeaders(fields)
  precondition(request.timeout.map { $0.utf8.count <= 3 * 255 } ?? true)
  _ = fields.status()
  for (_, value) in fields.fields {
    valueFuzz(value)
  }
  metadataFuzz(fields.metadata())
}

private func valueFuzz(_ value: String) {
  if let timeout = TimeoutHeader.decode(value) {
    // Written again it may be rounded up, but is never shorter.
    let again = TimeoutHeader.decode(TimeoutHeader.encode(timeout))
    precondition(again.map { $0 >= timeout } ?? false, "timeout '\(value)'")
  }
  precondition(PercentEncoding.decode(PercentEncoding.encode(value)) == value, "message '\(value)'")
  _ = PercentEncoding.decode(value)
  let bytes = Array(value.utf8)
  precondition(Base64.decode(Base64.encode(bytes)[...]) == bytes, "bytes \(bytes)")
  _ = Base64.decode(value[...])
}

/// What came as metadata and can be sent comes again as the same.
private func metadataFuzz(_ metadata: Metadata) {
  var sent = HeaderList()
  sent.append(metadata)
  let received = sent.metadata()
  var sentAgain = HeaderList()
  sentAgain.append(received)
  precondition(sentAgain.metadata() == received, "metadata changes on the way: \(received)")
}

/// Stands for the mesh's router, of which a request's headers use the hash alone.
enum Router {
  static func hash(_ path: UnsafeRawBufferPointer) -> UInt64 { UInt64(path.count) }
}
