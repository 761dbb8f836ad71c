import NIOCore
import ProtobufRuntime

/// A message as it stands in a body, in memory of its own: what a call sends from another thread, and what is too large to
/// be copied on its way to the socket.
final class MessageBuffer: Sendable {
  let bytes: ByteBuffer

  init(_ message: PackedMessage) {
    let byteCount = message.byteCount + MessageFramer.prefixByteCount
    var bytes = ByteBufferAllocator().buffer(capacity: byteCount)
    bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount) { room in
      message.writeFramed(to: UnsafeMutableRawBufferPointer(rebasing: room[..<byteCount]))
      return byteCount
    }
    self.bytes = bytes
  }

  init(compressed message: [UInt8]) {
    let prefixByteCount = MessageFramer.prefixByteCount
    var bytes = ByteBufferAllocator().buffer(capacity: message.count + prefixByteCount)
    bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: prefixByteCount) { room in
      MessageFramer.writePrefix(to: room, byteCount: message.count, isCompressed: true)
      return prefixByteCount
    }
    bytes.writeBytes(message)
    self.bytes = bytes
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
