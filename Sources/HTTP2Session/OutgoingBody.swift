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

/// What is to leave, in order: small things copied into one buffer, and between them pieces of large ones, which stay
/// where their owners keep them.
///
/// The session never looks at an owner's bytes; it only says which of them leave when.
public final class OutgoingQueue {
  /// A piece that was not copied, and how many copied bytes leave between the piece before and this one.
  private struct Shared {
    var copiedBefore: Int
    let owner: AnyObject
    var range: Range<Int>
  }

  private let copied = ByteQueue()
  private var shared: [Shared] = []
  /// Copied bytes that leave before the last shared piece.
  private var copiedBeforeShared = 0
  private var sharedByteCount = 0

  public init() {}

  var count: Int { copied.count + sharedByteCount }

  func append(_ byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) { copied.append(byteCount, write) }

  func append(_ bytes: UnsafeRawBufferPointer) { copied.append(bytes) }

  func append(_ owner: AnyObject, _ range: Range<Int>) {
    guard !range.isEmpty else { return }
    shared.append(Shared(copiedBefore: copied.count - copiedBeforeShared, owner: owner, range: range))
    copiedBeforeShared = copied.count
    sharedByteCount += range.count
  }

  /// Moves the first `byteCount` bytes, of which there must be so many, to the end of `other`.
  func move(_ byteCount: Int, to other: OutgoingQueue) {
    var left = byteCount
    while left > 0, let first = shared.first {
      if first.copiedBefore > 0 {
        let taken = min(left, first.copiedBefore)
        moveCopied(taken, to: other)
        copiedBeforeShared -= taken
        shared[0].copiedBefore -= taken
        left -= taken
      } else {
        let taken = min(left, first.range.count)
        let end = first.range.lowerBound + taken
        other.append(first.owner, first.range.lowerBound..<end)
        sharedByteCount -= taken
        left -= taken
        // Few pieces wait at a time: a stream's writer stops at some hundred KiB, and each has many.
        if end == first.range.upperBound {
          shared.removeFirst()
        } else {
          shared[0].range = end..<first.range.upperBound
        }
      }
    }
    moveCopied(left, to: other)
  }

  private func moveCopied(_ byteCount: Int, to other: OutgoingQueue) {
    other.copied.append(UnsafeRawBufferPointer(rebasing: copied.bytes[..<byteCount]))
    copied.drop(byteCount)
  }

  /// Hands over all there is and is empty then: the copied bytes, and the pieces in their order if some are shared.
  func takeAll(_ take: (_ copied: UnsafeRawBufferPointer, _ pieces: [OutgoingPiece]) -> Void) {
    guard !shared.isEmpty else {
      take(copied.bytes, [])
      return copied.drop(copied.count)
    }
    var pieces: [OutgoingPiece] = []
    pieces.reserveCapacity(2 * shared.count + 1)
    var start = 0
    for piece in shared {
      if piece.copiedBefore > 0 { pieces.append(.copied(start..<start + piece.copiedBefore)) }
      start += piece.copiedBefore
      pieces.append(.shared(piece.owner, piece.range))
    }
    if start < copied.count { pieces.append(.copied(start..<copied.count)) }
    take(copied.bytes, pieces)
    removeAll()
  }

  func removeAll() {
    copied.drop(copied.count)
    shared.removeAll(keepingCapacity: shared.capacity <= 64)
    copiedBeforeShared = 0
    sharedByteCount = 0
  }

  /// Gives memory back when empty and larger than `byteCount`.
  func shrink(to byteCount: Int) { copied.shrink(to: byteCount) }
}

/// A part of what is to be sent.
public enum OutgoingPiece {
  /// A range of the copied bytes.
  case copied(Range<Int>)
  /// A range of the bytes that an owner keeps (`HTTP2Session.send(on:owner:byteCount:)`).
  case shared(AnyObject, Range<Int>)
}

/// What is still to leave on one stream.
final class OutgoingBody {
  let queue = OutgoingQueue()
  /// libnghttp2 asked and there was nothing: it must be told when there is.
  var isDeferred = false
  /// Set once the body is whole: the trailers that follow it.
  var end: HeaderList?

  /// As new, with the buffer kept: a call that follows needs no other.
  func reset() {
    queue.removeAll()
    queue.shrink(to: 4 << 10)
    isDeferred = false
    end = nil
  }
}
