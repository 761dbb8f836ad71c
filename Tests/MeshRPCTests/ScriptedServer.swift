import HTTP2Session
import NIOCore
import NIOPosix

@testable import MeshRPC

/// A server that does with its connections what a test says, to see how a client takes it.
struct ScriptedServer {
  private let listener: any Channel
  let endpoint: SocketEndpoint

  /// - Parameter act: is told what each connection receives, on its loop.
  init(_ act: @escaping @Sendable (ScriptedConnection, SessionEvent) -> Void) async throws {
    let counter = Counter()
    listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          counter.increment()
          try channel.pipeline.syncOperations.addHandler(ScriptedConnection(counter.value, act))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    endpoint = .tcp(host: "127.0.0.1", port: listener.localAddress?.port ?? 0)
  }

  func close() async throws { try await listener.close() }
}

final class ScriptedConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// From one, in the order in which they were accepted.
  let number: Int
  let session: HTTP2Session
  private let act: @Sendable (ScriptedConnection, SessionEvent) -> Void
  private var context: ChannelHandlerContext?

  init(_ number: Int, _ act: @escaping @Sendable (ScriptedConnection, SessionEvent) -> Void) throws {
    self.number = number
    self.act = act
    session = try HTTP2Session(.server)
  }

  func channelActive(context: ChannelHandlerContext) {
    self.context = context
    flush()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let events = unwrapInboundIn(data).withUnsafeReadableBytes { try? session.receive($0) }
    for event in events ?? [] { act(self, event) }
    flush()
  }

  func channelInactive(context: ChannelHandlerContext) { self.context = nil }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func flush() {
    try? session.outgoingBytes { bytes, _ in send(Array(bytes)) }
  }

  private func send(_ bytes: [UInt8]) {
    context?.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
  }

  // MARK: What a script can say

  func answer(_ stream: StreamID, _ text: String) {
    try? session.submitResponse(stream, HeaderList([(":status", "200"), ("content-type", "application/grpc")]))
    let frame = Array(Text(text).framed(compressed: false).bytes.readableBytesView)
    session.send(on: stream, byteCount: frame.count) { $0.copyBytes(from: frame) }
    session.finish(stream, trailers: HeaderList([("grpc-status", "0")]))
    flush()
  }

  func goAway(lastStream: UInt32, _ errorCode: UInt32 = ErrorCode.none) {
    flush()
    var frame: [UInt8] = [0, 0, 8, 7, 0, 0, 0, 0, 0]
    for number in [lastStream, errorCode] { withUnsafeBytes(of: number.bigEndian) { frame += $0 } }
    send(frame)
  }

  func close() { context?.close(promise: nil) }
}
