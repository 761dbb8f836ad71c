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
}

extension PackedMessage {
  /// Writes gRPC's prefix (not compressed, length) and the message; `buffer` has just the room.
  func writeFramed(to buffer: UnsafeMutableRawBufferPointer) {
    buffer[0] = 0
    buffer.storeBytes(of: UInt32(truncatingIfNeeded: byteCount).bigEndian, toByteOffset: 1, as: UInt32.self)
    write(to: UnsafeMutableRawBufferPointer(rebasing: buffer[MessageFramer.prefixByteCount...]))
  }
}

extension Message {
  /// The message as it stands in a body.
  func framed() -> MessageBuffer { withPackedMessage { MessageBuffer($0) } }
}
