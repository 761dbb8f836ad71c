/// Bytes as a compressed message never become more than the limit; what they become is the same when it is compressed again.
func compressionFuzz(_ bytes: UnsafeRawBufferPointer) {
  let limit = 100_000
  do throws(RPCError) {
    let message = try Gzip.decompress(Array(bytes)[...], maximumByteCount: limit)
    precondition(message.count <= limit, "\(message.count) bytes are above the limit")
    guard let compressed = Gzip.compress(message) else { return }
    let again = try Gzip.decompress(compressed[...], maximumByteCount: limit)
    precondition(again == message, "gzip changes a message")
  } catch {
    precondition(error.code == .internalError || error.code == .resourceExhausted)
  }
}
