/// A header list that is arriving.
struct IncomingHeaders {
  private(set) var fields: [HeaderField] = []
  private var byteCount = 0

  /// False if the list has become longer than `limit`; each field counts 32 bytes beside its own (RFC 9113 §6.5.2).
  mutating func append(_ field: HeaderField, limit: Int) -> Bool {
    byteCount += field.name.utf8.count + field.value.utf8.count + 32
    guard byteCount <= limit else { return false }
    fields.append(field)
    return true
  }
}
