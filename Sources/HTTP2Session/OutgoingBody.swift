/// The bytes of one stream's body that have not left yet. A class, so that libnghttp2's read callback works on the
/// buffer in place.
final class OutgoingBody {
  private var storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var first = 0
  private var last = 0

  /// libnghttp2 asked and there was nothing: it must be told when there is.
  var isDeferred = false
  /// Set once the body is whole: the trailers that follow it.
  var end: [HeaderField]?

  var count: Int { last - first }

  deinit { storage.deallocate() }

  func append(_ byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) {
    guard byteCount > 0 else { return }
    makeRoom(byteCount)
    write(UnsafeMutableRawBufferPointer(rebasing: storage[last..<last + byteCount]))
    last += byteCount
  }

  /// Moves at most `buffer.count` bytes to `buffer`; answers how many.
  func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    let taken = min(count, buffer.count)
    guard taken > 0 else { return 0 }
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[first..<first + taken]))
    first += taken
    if first == last { (first, last) = (0, 0) }
    return taken
  }

  private func makeRoom(_ byteCount: Int) {
    guard storage.count - last < byteCount else { return }
    let kept = count
    if storage.count - kept >= byteCount, first >= kept {
      storage.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[first..<last]))
    } else {
      let larger = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(kept + byteCount, 2 * storage.count, 256), alignment: 16)
      if kept > 0 { larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[first..<last])) }
      storage.deallocate()
      storage = larger
    }
    (first, last) = (0, kept)
  }
}
