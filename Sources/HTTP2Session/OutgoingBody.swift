/// Bytes that are to leave in the order in which they were written. A class, so that libnghttp2's callbacks work on the
/// buffer in place.
final class ByteQueue {
  private var storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var first = 0
  private var last = 0

  var count: Int { last - first }

  /// What there is; valid until the next change.
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage[first..<last]) }

  deinit { storage.deallocate() }

  func append(_ byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) {
    guard byteCount > 0 else { return }
    makeRoom(byteCount)
    write(UnsafeMutableRawBufferPointer(rebasing: storage[last..<last + byteCount]))
    last += byteCount
  }

  func append(_ bytes: UnsafeRawBufferPointer) {
    append(bytes.count) { $0.copyMemory(from: bytes) }
  }

  /// Forgets the first `byteCount` bytes, of which there must be so many.
  func drop(_ byteCount: Int) {
    precondition(byteCount <= count)
    first += byteCount
    if first == last { (first, last) = (0, 0) }
  }

  /// Gives memory back when empty and larger than `byteCount`.
  func shrink(to byteCount: Int) {
    guard count == 0, storage.count > byteCount else { return }
    storage.deallocate()
    storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)
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

/// What is still to leave on one stream.
final class OutgoingBody {
  let queue = ByteQueue()
  /// libnghttp2 asked and there was nothing: it must be told when there is.
  var isDeferred = false
  /// Set once the body is whole: the trailers that follow it.
  var end: HeaderList?

  /// As new, with the buffer kept: a call that follows needs no other.
  func reset() {
    queue.drop(queue.count)
    queue.shrink(to: 4 << 10)
    isDeferred = false
    end = nil
  }
}
