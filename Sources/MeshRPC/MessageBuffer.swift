import NIOCore
import ProtobufRuntime
import Synchronization

/// A message as it stands in a body, in memory of its own: what a call sends from another thread, and what is too large to
/// be copied on its way to the socket.
final class MessageBuffer: Sendable {
  let bytes: ByteBuffer

  init(_ message: PackedMessage) {
    let byteCount = message.byteCount + MessageFramer.prefixByteCount
    var bytes = SpareBuffers.shared.buffer(byteCount)
    bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount) { room in
      message.writeFramed(to: UnsafeMutableRawBufferPointer(rebasing: room[..<byteCount]))
      return byteCount
    }
    self.bytes = bytes
  }

  init(compressed message: [UInt8]) {
    let prefixByteCount = MessageFramer.prefixByteCount
    var bytes = SpareBuffers.shared.buffer(message.count + prefixByteCount)
    bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: prefixByteCount) { room in
      MessageFramer.writePrefix(to: room, byteCount: message.count, isCompressed: true)
      return prefixByteCount
    }
    bytes.writeBytes(message)
    self.bytes = bytes
  }

  deinit { SpareBuffers.shared.keep(bytes) }
}

/// Memory of large messages that have left, kept for the next ones. Without it a stream of large messages has malloc give memory
/// back to the kernel and ask for it again all the time, and every page of it faults anew.
final class SpareBuffers: Sendable {
  static let shared = SpareBuffers()

  /// What one process keeps at most, however much it sends.
  static let maximumByteCount = 1 << 20
  /// Smaller ones are malloc's business, larger ones would fill the place alone.
  static let byteCounts = (8 << 10)...(256 << 10)

  private struct State {
    var buffers: [ByteBuffer] = []
    var byteCount = 0
  }

  private let state = Mutex(State())

  /// What is kept now.
  var byteCount: Int { state.withLock { $0.byteCount } }

  /// An empty buffer with room for that many bytes.
  func buffer(_ byteCount: Int) -> ByteBuffer {
    guard Self.byteCounts.contains(byteCount) else { return ByteBufferAllocator().buffer(capacity: byteCount) }
    var buffer = state.withLock { state -> ByteBuffer? in
      // The last one kept is the one that is most likely in the processor's cache.
      guard let index = state.buffers.lastIndex(where: { $0.capacity >= byteCount }) else { return nil }
      let buffer = state.buffers.remove(at: index)
      state.byteCount -= buffer.capacity
      return buffer
    }
    // Whoever holds a slice of it still, the channel for one, keeps what it has: then this is memory of its own.
    buffer?.clear(minimumCapacity: byteCount)
    return buffer ?? ByteBufferAllocator().buffer(capacity: byteCount)
  }

  func keep(_ buffer: ByteBuffer) {
    guard Self.byteCounts.contains(buffer.capacity) else { return }
    state.withLock { state in
      guard state.byteCount + buffer.capacity <= Self.maximumByteCount else { return }
      state.buffers.append(buffer)
      state.byteCount += buffer.capacity
    }
  }
}

extension PackedMessage {
  /// Writes gRPC's prefix and the message; `buffer` has just the room.
  func writeFramed(to buffer: UnsafeMutableRawBufferPointer) {
    MessageFramer.writePrefix(to: buffer, byteCount: byteCount, isCompressed: false)
    write(to: UnsafeMutableRawBufferPointer(rebasing: buffer[MessageFramer.prefixByteCount...]))
  }
}

extension Message {
  /// The message as it stands in a body. It is compressed only if that makes it smaller.
  func framed(compressed: Bool) -> MessageBuffer {
    if compressed, let bytes = Gzip.compress(encoded()) { return MessageBuffer(compressed: bytes) }
    return withPackedMessage { MessageBuffer($0) }
  }
}
