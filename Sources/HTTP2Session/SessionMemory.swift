import CNghttp2
import Glibc

/// Memory for one libnghttp2 session, so that a quiet connection touches little of it.
///
/// A session owns a buffer of 16 KiB in which it lays out frames, and a struct of 3 KB. Of the buffer a quiet connection uses
/// the first few hundred bytes. Where malloc puts it, those and the buffer's end lie on two pages, of which nobody else
/// uses much. Here the struct and the buffer's beginning share one page, and the rest of the buffer is four pages that
/// are not there until a long header list is sent. That saves 2 KB of 19 for each connection.
struct SessionMemory: ~Copyable {
  private let slab: UnsafeMutableRawPointer?

  private static let slabByteCount = 5 * 4096
  /// Two flags stand first.
  private static let structOffset = 16
  private static let bufferOffset = 4096 - 256

  private struct Flags {
    var structIsTaken = false
    var bufferIsTaken = false
  }

  init() {
    // From the kernel and not from malloc, whose own notes between the pieces would touch further pages.
    let slab = mmap(nil, Self.slabByteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let slab, slab != MAP_FAILED else {
      self.slab = nil
      return
    }
    slab.bindMemory(to: Flags.self, capacity: 1).initialize(to: Flags())
    self.slab = slab
  }

  deinit {
    if let slab { munmap(slab, Self.slabByteCount) }
  }

  /// What libnghttp2 allocates with; it keeps a copy. The session must be deleted before this is.
  var functions: nghttp2_mem {
    nghttp2_mem(
      mem_user_data: slab,
      malloc: { SessionMemory.allocate($0, $1) },
      free: { SessionMemory.release($0, $1) },
      calloc: { SessionMemory.allocateZeroed($0, $1, $2) },
      realloc: { SessionMemory.reallocate($0, $1, $2) })
  }

  private static func allocate(_ byteCount: Int, _ slab: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let slab, byteCount >= 16 << 10, byteCount <= slabByteCount - bufferOffset else { return malloc(byteCount) }
    let flags = slab.assumingMemoryBound(to: Flags.self)
    guard !flags.pointee.bufferIsTaken else { return malloc(byteCount) }
    flags.pointee.bufferIsTaken = true
    return slab + bufferOffset
  }

  /// The session itself is what is allocated first.
  private static func allocateZeroed(
    _ count: Int, _ elementByteCount: Int, _ slab: UnsafeMutableRawPointer?
  ) -> UnsafeMutableRawPointer? {
    guard let slab, count == 1, elementByteCount <= bufferOffset - structOffset else {
      return calloc(count, elementByteCount)
    }
    let flags = slab.assumingMemoryBound(to: Flags.self)
    guard !flags.pointee.structIsTaken else { return calloc(count, elementByteCount) }
    flags.pointee.structIsTaken = true
    return memset(slab + structOffset, 0, elementByteCount)
  }

  private static func release(_ memory: UnsafeMutableRawPointer?, _ slab: UnsafeMutableRawPointer?) {
    guard let slab, let memory, memory >= slab, memory < slab + slabByteCount else { return free(memory) }
    let flags = slab.assumingMemoryBound(to: Flags.self)
    if memory == slab + bufferOffset { flags.pointee.bufferIsTaken = false }
  }

  private static func reallocate(
    _ memory: UnsafeMutableRawPointer?, _ byteCount: Int, _ slab: UnsafeMutableRawPointer?
  ) -> UnsafeMutableRawPointer? {
    // Buffers are made this way, too.
    guard let memory else { return allocate(byteCount, slab) }
    guard let slab, memory >= slab, memory < slab + slabByteCount else { return realloc(memory, byteCount) }
    guard let larger = malloc(byteCount) else { return nil }
    memcpy(larger, memory, min(byteCount, slab + slabByteCount - memory))
    release(memory, slab)
    return larger
  }
}
