import Glibc

/// Memory that is given out piece by piece and freed as a whole: where C structs live while a message is encoded or
/// decoded.
public struct MessageArena: ~Copyable {
  @usableFromInline var next: UnsafeMutableRawPointer
  @usableFromInline var end: UnsafeMutableRawPointer
  private var chunks: UnsafeMutableRawPointer?
  private var nextChunkBytes = 4096
  private var remainingBytes: Int

  /// - Parameters:
  ///   - first: where allocation begins; stays the caller's.
  ///   - limitBytes: how much may be allocated beyond `first`.
  @usableFromInline
  init(first: UnsafeMutableRawBufferPointer, limitBytes: Int = .max) {
    guard let base = first.baseAddress else { preconditionFailure("an arena begins with an empty chunk") }
    next = base
    end = base + first.count
    remainingBytes = limitBytes
  }

  deinit {
    var chunk = chunks
    while let current = chunk {
      chunk = current.load(as: UnsafeMutableRawPointer?.self)
      free(current)
    }
  }

  /// `byteCount` bytes, aligned for every C type that messages use; nil beyond the limit.
  @inlinable
  mutating func bytes(_ byteCount: Int) -> UnsafeMutableRawPointer? {
    guard byteCount <= end - next else { return bytesOfNewChunk(byteCount) }
    let result = next
    next += min((byteCount + 7) & ~7, end - next)
    return result
  }

  @usableFromInline
  mutating func bytesOfNewChunk(_ byteCount: Int) -> UnsafeMutableRawPointer? {
    let headBytes = 16
    guard byteCount <= remainingBytes else { return nil }
    let chunkBytes = min(max(nextChunkBytes, byteCount), remainingBytes)
    guard let chunk = malloc(headBytes + chunkBytes) else { return nil }
    chunk.storeBytes(of: chunks, as: UnsafeMutableRawPointer?.self)
    chunks = chunk
    remainingBytes -= chunkBytes
    nextChunkBytes = min(nextChunkBytes * 2, 1 << 20)
    next = chunk + headBytes
    end = next + chunkBytes
    return bytes(byteCount)
  }

  /// Room for `count` values of a C type, uninitialized. Only for encoding, where no limit applies.
  @inlinable
  public mutating func allocate<Element>(_ type: Element.Type, count: Int = 1) -> UnsafeMutablePointer<Element> {
    guard let memory = bytes(MemoryLayout<Element>.stride * count) else { fatalError("out of memory") }
    return memory.bindMemory(to: Element.self, capacity: count)
  }
}
