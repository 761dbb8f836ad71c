import Messages

/// Bytes as one of the product's messages: the first byte says which. What is taken is the same when it is written and read
/// again.
func messagesFuzz(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  let kind = Int(input.byte())
  messageKinds[kind % messageKinds.count](input.rest)
}

private let messageKinds: [@Sendable (UnsafeRawBufferPointer) -> Void] = [
  { roundTrip(Claim.self, $0) },
  { roundTrip(EndNode.self, $0) },
  { roundTrip(Host.self, $0) },
  { roundTrip(WantedFunction.self, $0) },
  { roundTrip(Heartbeat.self, $0) },
  { roundTrip(FunctionRequest.self, $0) },
  { roundTrip(FunctionStatus.self, $0) },
  { roundTrip(DiscoverResponse.self, $0) },
  { roundTrip(PluginDescription.self, $0) },
  { roundTrip(CreateClaimRequest.self, $0) },
  { roundTrip(Cluster.self, $0) },
  { roundTrip(BackupChunk.self, $0) },
]

private func roundTrip<Value: Message>(_ type: Value.Type, _ bytes: UnsafeRawBufferPointer) {
  guard let value = try? Value(decoding: bytes) else { return }
  let encoded = value.encoded()
  do throws(MessageDecodingError) {
    let again = try Value(decoding: encoded)
    // Compared as bytes: NaN differs from itself.
    precondition(again.encoded() == encoded, "\(Value.fullName) changes when it is written and read again")
  } catch {
    preconditionFailure("\(Value.fullName) cannot read what it wrote: \(error)")
  }
}
