import HTTP2Session
import MeshRPC
import Messages
import NIOCore
import NIOPosix
import Testing

/// Peers that do not keep to HTTP/2 or to gRPC.
@Suite(.timeLimit(.minutes(2))) struct HostilePeerTests {
  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

  @Test(arguments: [
    Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8),
    [UInt8](repeating: 0, count: 64),
    preface + [UInt8](repeating: 0xff, count: 64),
    preface + Array("what is this supposed to be?".utf8),
  ])
  func aConnectionThatSpeaksSomethingElseIsClosed(bytes: [UInt8]) async throws {
    try await withServer(TestService { _ in }) { channel in
      let connection = try await RawConnection(channel.endpoint)
      try await connection.send(bytes)
      _ = await connection.bytesUntilClosed()
      try await channel.expectEcho("others are not disturbed")
    }
  }

  @Test(arguments: [[], Array(preface[..<10])])
  func aConnectionThatSaysTooLittleIsClosedInTime(bytes: [UInt8]) async throws {
    var limits = ServerLimits()
    limits.handshakeTimeout = .milliseconds(50)
    try await withServer(TestService { _ in }, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      // On a busy machine it may be closed before it has said anything.
      if !bytes.isEmpty { try? await connection.send(bytes) }
      _ = await connection.bytesUntilClosed()
    }
  }

  @Test func anIdleConnectionIsToldToGo() async throws {
    var limits = ServerLimits()
    limits.keepaliveInterval = .milliseconds(200)
    limits.idleTimeout = .milliseconds(200)
    try await withServer(TestService { _ in }, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      let bytes = await connection.bytesUntilClosed()
      // The last frame is a GOAWAY (RFC 9113 §6.8: type 7, at least 8 bytes).
      #expect(bytes.suffix(17).dropFirst(3).first == 7)
    }
  }

  @Test func aSilentPeerWithACallOpenIsPingedAndThenGivenUp() async throws {
    let hang = TextMethod(service: "test.Hostile", method: "Hang")
    let cancelled = Signal()
    let service = TestService { router in
      router.bidirectional(hang) { _, _, _ in await cancelled.raiseWhenCancelled() }
    }
    var limits = ServerLimits()
    // Long enough for a busy machine to open the call before the first ping is missed.
    limits.keepaliveInterval = .milliseconds(500)
    try await withServer(service, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      try await connection.send(try bytes { _ = try $0.submitRequest(grpcHeaders(hang.path)) })
      await cancelled.wait()
      _ = await connection.bytesUntilClosed()
    }
  }

  // MARK: HTTP/2, but not gRPC as it should be

  @Test func aCompressedMessageIsRefused() async throws {
    let fields = try await answer(to: grpcHeaders(echo.path), body: [1, 0, 0, 0, 2, 10, 0])
    #expect(fields["grpc-status"] == "\(StatusCode.internalError.rawValue)")
  }

  @Test func anEncodingThatNobodyKnowsIsRefused() async throws {
    var headers = grpcHeaders(echo.path)
    headers.append("grpc-encoding", "snappy")
    let fields = try await answer(to: headers, body: [1, 0, 0, 0, 2, 10, 0])
    #expect(fields["grpc-status"] == "\(StatusCode.unimplemented.rawValue)")
    #expect(fields["grpc-message"]?.contains("snappy") == true)
  }

  @Test func aLengthBeyondTheLimitIsRefusedBeforeTheMessageComes() async throws {
    let fields = try await answer(to: grpcHeaders(echo.path), body: [0, 0xff, 0xff, 0xff, 0xff], ends: false)
    #expect(fields["grpc-status"] == "\(StatusCode.resourceExhausted.rawValue)")
  }

  @Test func aRequestThatEndsInTheMiddleOfAMessageIsRefused() async throws {
    let fields = try await answer(to: grpcHeaders(echo.path), body: [0, 0, 0, 0, 9, 10])
    #expect(fields["grpc-status"] == "\(StatusCode.internalError.rawValue)")
  }

  @Test(arguments: [[], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
  func aUnaryCallHasOneMessage(body: [UInt8]) async throws {
    let fields = try await answer(to: grpcHeaders(echo.path), body: body)
    #expect(fields["grpc-status"] == "\(StatusCode.internalError.rawValue)")
  }

  @Test func bytesThatAreNoMessageAreRefused() async throws {
    let fields = try await answer(to: grpcHeaders(echo.path), body: [0, 0, 0, 0, 3, 10, 200, 1])
    #expect(fields["grpc-status"] == "\(StatusCode.invalidArgument.rawValue)")
  }

  @Test func anEmptyMessageIsAMessage() async throws {
    let fields = try await answer(to: grpcHeaders(echo.path), body: [0, 0, 0, 0, 0])
    #expect(fields["grpc-status"] == "0")
  }

  @Test(arguments: ["", "1", "S", "1x", "-1S", "+1S", "123456789S"])
  func aTimeoutThatIsNoneIsRefused(timeout: String) async throws {
    var headers = grpcHeaders(echo.path)
    headers.append("grpc-timeout", timeout)
    let fields = try await answer(to: headers, body: [0, 0, 0, 0, 0])
    #expect(fields["grpc-status"] == "\(StatusCode.invalidArgument.rawValue)")
  }

  @Test(arguments: ["99999999H", "99999999M", "99999999S", "99999999m", "99999999u", "99999999n"])
  func aTimeoutOfAnyLengthIsTaken(timeout: String) async throws {
    var headers = grpcHeaders(echo.path)
    headers.append("grpc-timeout", timeout)
    let fields = try await answer(to: headers, body: [0, 0, 0, 0, 0])
    #expect(fields["grpc-status"] == "0" || timeout.hasSuffix("n"))
  }

  @Test func whatIsNoGRPCIsAnswered415() async throws {
    let headers = HeaderList([
      (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x"), ("accept", "text/html"),
    ])
    let fields = try await answer(to: headers, body: [])
    #expect(fields[":status"] == "415")
    #expect(try await answer(to: headers, body: [1, 2, 3], ends: false)[":status"] == "415")
  }

  @Test func headersAboveTheLimitAreResourceExhausted() async throws {
    var headers = grpcHeaders(echo.path)
    for number in 0..<20 { headers.append("x-\(number)", String(repeating: "v", count: 1000)) }
    let fields = try await answer(to: headers, body: [0, 0, 0, 0, 0])
    #expect(fields["grpc-status"] == "\(StatusCode.resourceExhausted.rawValue)")
  }

  // MARK: Servers that do not keep to the protocol

  private final class Greeter: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelActive(context: ChannelHandlerContext) {
      let greeting = ByteBuffer(string: "220 mail.example ESMTP ready, how do you do, dear stranger\r\n")
      context.writeAndFlush(wrapOutboundOut(greeting), promise: nil)
    }
  }

  @Test func aServerThatSpeaksSomethingElseIsUnavailable() async throws {
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { $0.pipeline.addHandler(Greeter()) }
      .bind(host: "127.0.0.1", port: 0).get()
    let channel = RPCChannel(.tcp(host: "127.0.0.1", port: listener.localAddress?.port ?? 0))
    let error = await rpcError { _ = try await channel.unary(echo, Text()) }
    #expect(error?.code == .unavailable)
    await channel.close()
    try await listener.close()
  }
}

func grpcHeaders(_ path: String) -> HeaderList {
  HeaderList([
    (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers"),
    ("content-type", "application/grpc"),
  ])
}

/// What a client's session sends first.
private func bytes(_ act: (HTTP2Session) throws -> Void) throws -> [UInt8] {
  let session = try HTTP2Session(.client)
  try act(session)
  return try outgoingBytes(session)
}

/// What a session has to send now.
func outgoingBytes(_ session: HTTP2Session) throws -> [UInt8] {
  var bytes: [UInt8] = []
  try session.outgoingBytes { copied, _ in bytes += copied }
  return bytes
}

/// Makes one request of any shape to a server; answers all headers and trailers that come back.
func answer(
  to headers: HeaderList, body: [UInt8], ends: Bool = true, service: TestService = TestService { _ in }
) async throws -> HeaderList {
  try await withServer(service) { channel in
    let session = try HTTP2Session(.client)
    let stream = try session.submitRequest(headers)
    session.send(on: stream, byteCount: body.count) { $0.copyBytes(from: body) }
    if ends { session.finish(stream) }
    let request = try outgoingBytes(session)

    let connection = try await RawConnection(channel.endpoint)
    try await connection.send(request)
    var fields = HeaderList()
    for await bytes in connection.received {
      let events = try bytes.withUnsafeBytes { bytes in Result { try session.receive(bytes) } }.get()
      for event in events {
        guard case .headers(_, let more, let endsStream) = event else { continue }
        fields.append(more)
        if endsStream {
          try await connection.channel.close()
          return fields
        }
      }
      // What had to wait for the server's windows.
      let more = try outgoingBytes(session)
      if !more.isEmpty { try await connection.send(more) }
    }
    return fields
  }
}
