// For what is done with every grant: interpolation and views of characters cost several times as much.
extension String {
  /// One text after the other.
  init<let count: Int>(joining texts: [count of String]) {
    var size = 0
    for place in texts.indices { size += texts[place].utf8.count }
    self.init(unsafeUninitializedCapacity: size) { bytes in
      var end = 0
      for place in texts.indices {
        let rest = UnsafeMutableBufferPointer(rebasing: bytes[end...])
        let copied = texts[place].utf8.withContiguousStorageIfAvailable { rest.update(fromContentsOf: $0) }
        end += copied ?? rest.update(fromContentsOf: Array(texts[place].utf8))
      }
      return end
    }
  }

  func hasByte(_ byte: UInt8) -> Bool {
    utf8.withContiguousStorageIfAvailable { $0.contains(byte) } ?? utf8.contains(byte)
  }
}
