import HTTP2Session
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import MeshRPC

/// Servers that are silent, and what a client may ask of them.
@Suite(.timeLimit(.minutes(2))) struct KeepaliveTests {
  /// Keeps what it hears and says at most that it speaks HTTP/2.
  private final class SilentServer: Sendable {
    private final class Listener: ChannelInboundHandler, Sendable {
      typealias InboundIn = ByteBuffer
      typealias OutboundOut = ByteBuffer
      let server: SilentServer

      init(_ server: SilentServer) { self.server = server }

      func channelActive(context: ChannelHandlerContext) {
        guard server.greets else { return }
        let settings = ByteBuffer(bytes: [0, 0, 0, 4, 0, 0, 0, 0, 0] as [UInt8])
        context.writeAndFlush(wrapOutboundOut(settings), promise: nil)
      }

      func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Array(unwrapInboundIn(data).readableBytesView)
        server.heard.withLock { $0 += bytes }
      }

      func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
      func channelInactive(context: ChannelHandlerContext) { server.hasHeardAll.raise() }
    }

    let greets: Bool
    /// Its connection is closed.
    let hasHeardAll = Signal()
    private let heard = Mutex<[UInt8]>([])
    private let listener = Mutex<(any Channel)?>(nil)

    init(greets: Bool) { self.greets = greets }

    func listen() async throws -> SocketEndpoint {
      let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .childChannelInitializer { $0.pipeline.addHandler(Listener(self)) }
        .bind(host: "127.0.0.1", port: 0).get()
      listener.withLock { $0 = channel }
      return .tcp(host: "127.0.0.1", port: channel.localAddress?.port ?? 0)
    }

    func close() async throws { try await listener.withLock { $0 }?.close().get() }

    /// The PING frames of its one connection.
    var pingCount: Int {
      let bytes = heard.withLock { $0 }
      var next = 24  // after the preface (RFC 9113 §3.4)
      var count = 0
      while next + 9 <= bytes.count {
        if bytes[next + 3] == 6 { count += 1 }
        next += 9 + Int(bytes[next]) << 16 + Int(bytes[next + 1]) << 8 + Int(bytes[next + 2])
      }
      return count
    }
  }

  private static func limits(withoutCalls: Bool = false, interval: Duration = .milliseconds(30)) -> ChannelLimits {
    var limits = ChannelLimits()
    limits.keepaliveInterval = interval
    limits.keepaliveWithoutCalls = withoutCalls
    return limits
  }

  @Test func aServerThatAnswersNothingIsPingedOnceAndThenUnavailable() async throws {
    let server = SilentServer(greets: true)
    let channel = RPCChannel(try await server.listen(), limits: Self.limits())
    let error = await rpcError { _ = try await channel.unary(echo, Text()) }
    #expect(error?.code == .unavailable)
    await server.hasHeardAll.wait()
    #expect(server.pingCount == 1)
    await channel.close()
    try await server.close()
  }

  @Test func withoutCallsAServerIsPingedOnlyIfTheChannelSaysSo() async throws {
    let quiet = SilentServer(greets: true)
    let asked = SilentServer(greets: true)
    // Long enough for a busy machine to give the call up before a ping is due.
    let interval = Duration.seconds(2)
    let patient = RPCChannel(try await quiet.listen(), limits: Self.limits(interval: interval))
    let curious = RPCChannel(try await asked.listen(), limits: Self.limits(withoutCalls: true, interval: interval))
    // A call that is given up at once leaves a connection behind.
    for channel in [patient, curious] {
      let call = try await channel.bidirectional(echo)
      call.cancel()
    }
    // Nobody answered the second one's ping.
    for await state in curious.states where state == .idle { break }
    await asked.hasHeardAll.wait()
    #expect(asked.pingCount == 1)
    // The first one's connection would have ended likewise.
    #expect(patient.state == .ready)
    await patient.close()
    await curious.close()
    try await quiet.close()
    try await asked.close()
  }

  @Test func aServerThatNeverSpeaksHTTP2IsUnavailable() async throws {
    let server = SilentServer(greets: false)
    var limits = ChannelLimits()
    limits.handshakeTimeout = .milliseconds(50)
    let endpoint = try await server.listen()
    let channel = RPCChannel(endpoint, limits: limits)
    let error = await rpcError { _ = try await channel.unary(echo, Text()) }
    #expect(
      error
        == RPCError(
          .unavailable, "no connection to \(endpoint): it did not begin to speak HTTP/2 within 0.05 seconds"))
    await channel.close()
    try await server.close()
  }

  @Test func aServerThatWasPingedTooOftenIsPingedSeldomFromThenOn() async throws {
    let server = try await ScriptedServer { connection, event in
      guard case .headers = event else { return }
      connection.goAway(lastStream: 1, ErrorCode.enhanceYourCalm)
    }
    let channel = RPCChannel(server.endpoint)
    let call = try await channel.bidirectional(echo)
    for await state in channel.states where state == .idle { break }
    let core = channel.core
    let interval = try await core.eventLoop.submit { core.keepaliveInterval }.get()
    #expect(interval == .seconds(300))
    call.cancel()
    await channel.close()
    try await server.close()
  }
}
