// For what is done with every grant: interpolation and views of characters cost several times as much.
extension String {
  /// One text after the other.
  init<let count: Int>(joining texts: [count of String]) {
    var size = 0
    for place in texts.indices { size += texts[place].utf8.count }
    self.init(unsafeUninitializedCapacity: size) { bytes in
      var end = 0
      for place in texts.indices {
        var text = texts[place]
        end += text.withUTF8 { UnsafeMutableBufferPointer(rebasing: bytes[end...]).update(fromContentsOf: $0) }
      }
      return end
    }
  }

  func hasByte(_ byte: UInt8) -> Bool {
    utf8.withContiguousStorageIfAvailable { $0.contains(byte) } ?? utf8.contains(byte)
  }
}
