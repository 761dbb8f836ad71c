import CZlib
import Glibc
import HTTP2Session
import MeshRPC
import Messages
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// What gzip makes of bytes, by a compressor of the test's own.
final class TestGzip {
  /// libz remembers where its streams stand.
  private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)

  init() throws {
    stream.initialize(to: z_stream())
    let code = deflateInit2_(
      stream, Z_BEST_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY, zlibVersion(),
      CInt(MemoryLayout<z_stream>.size))
    try #require(code == Z_OK)
  }

  deinit {
    deflateEnd(stream)
    stream.deallocate()
  }

  func compress(_ bytes: [UInt8], _ flush: CInt) -> [UInt8] {
    var bytes = bytes
    return bytes.withUnsafeMutableBufferPointer { bytes in
      [UInt8](unsafeUninitializedCapacity: bytes.count + 64) { output, count in
        stream.pointee.next_in = bytes.baseAddress
        stream.pointee.avail_in = UInt32(bytes.count)
        stream.pointee.next_out = output.baseAddress
        stream.pointee.avail_out = UInt32(output.count)
        deflate(stream, flush)
        count = output.count - Int(stream.pointee.avail_out)
      }
    }
  }

  static func compress(_ bytes: [UInt8]) throws -> [UInt8] {
    try TestGzip().compress(bytes, Z_FINISH)
  }
}

/// A message in a body, said to be compressed.
private func compressedFrame(_ bytes: [UInt8]) -> [UInt8] {
  [1] + withUnsafeBytes(of: UInt32(bytes.count).bigEndian) { Array($0) } + bytes
}

/// The most memory that this process ever had.
private func peakMemoryByteCount() -> Int {
  var usage = rusage()
  getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
  return usage.ru_maxrss << 10
}

@Suite(.timeLimit(.minutes(2))) struct CompressionTests {
  private static let long = String(repeating: "all work and no play ", count: 5000)
  private static let gzip = CallOptions(compression: .gzip)
  private static let collect = TextMethod(service: "test.Compression", method: "Collect")

  private static func gzipHeaders(accepting: String? = nil) -> HeaderList {
    var headers = grpcHeaders(echo.path)
    headers.append("grpc-encoding", "gzip")
    if let accepting { headers.append("grpc-accept-encoding", accepting) }
    return headers
  }

  // MARK: As the specification says

  @Test func aCallThatCompressesArrivesCompressed() async throws {
    let encodings = Mutex<[MessageEncoding]>([])
    let service = TestService { router in
      router.unary(Self.collect) { request, call in
        encodings.withLock { $0.append(call.requestEncoding) }
        return request
      }
    }
    try await withServer(service) { channel in
      for options in [CallOptions(), CallOptions(compression: .identity), Self.gzip] {
        let response = try await channel.unary(Self.collect, Text(Self.long), options: options)
        #expect(response == Text(Self.long))
      }
      #expect(encodings.withLock { $0 } == [.identity, .identity, .gzip])
    }
  }

  @Test func whatWouldNotGetSmallerIsSentAsItIs() async throws {
    let encodings = Mutex<[MessageEncoding]>([])
    let service = TestService { router in
      router.unary(Self.collect) { request, call in
        encodings.withLock { $0.append(call.requestEncoding) }
        return request
      }
    }
    try await withServer(service) { channel in
      for text in ["", "x"] {
        let response = try await channel.unary(Self.collect, Text(text), options: Self.gzip)
        #expect(response == Text(text))
      }
      #expect(encodings.withLock { $0 } == [.identity, .identity])
    }
  }

  @Test func aStreamIsCompressedMessageByMessageBothWays() async throws {
    let encodings = Mutex<[MessageEncoding]>([])
    let service = TestService { router in
      router.bidirectional(Self.collect) { requests, responses, call in
        call.compressResponses()
        var isCompressed = true
        for try await request in requests {
          encodings.withLock { $0.append(call.requestEncoding) }
          try await responses.write(request, compressed: isCompressed)
          isCompressed.toggle()
        }
      }
    }
    try await withServer(service) { channel in
      let call = try await channel.bidirectional(Self.collect, options: Self.gzip)
      var responses = call.responses.makeAsyncIterator()
      for number in 0..<4 {
        try await call.write(Text(Self.long), compressed: number >= 2)
        #expect(try await responses.next() == Text(Self.long))
        #expect(call.responses.messageEncoding == (number % 2 == 0 ? .gzip : .identity))
      }
      call.finishWriting()
      #expect(try await responses.next() == nil)
      #expect(encodings.withLock { $0 } == [.identity, .identity, .gzip, .gzip])
    }
  }

  @Test(arguments: [nil, MessageEncoding.identity, .gzip])
  func theServerCompressesForThoseWhoAcceptIt(compression: MessageEncoding?) async throws {
    let service = TestService { router in
      router.serverStreaming(Self.collect) { request, responses, call in
        call.compressResponses()
        try await responses.write(request)
      }
    }
    try await withServer(service) { channel in
      let options = CallOptions(compression: compression)
      let responses = try await channel.serverStreaming(Self.collect, Text(Self.long), options: options)
      for try await response in responses { #expect(response == Text(Self.long)) }
      #expect(responses.messageEncoding == (compression == nil ? .identity : .gzip))
    }
  }

  @Test(arguments: [
    ("gzip", true), ("identity, deflate, gzip", true), ("identity,gzipped", false), ("", false), (",", false),
  ])
  func aListOfAcceptedEncodingsIsRead(list: String, namesGzip: Bool) async throws {
    let service = TestService { router in
      router.unary(Self.collect) { _, call in
        call.compressResponses()
        return Text(Self.long)
      }
    }
    var headers = grpcHeaders(Self.collect.path)
    headers.append("grpc-accept-encoding", list)
    let fields = try await answer(to: headers, body: [0, 0, 0, 0, 0], service: service)
    #expect(fields["grpc-status"] == "0")
    #expect(fields["grpc-encoding"] == (namesGzip ? "gzip" : nil))
  }

  @Test func anUnknownEncodingIsUnimplementedAndTheKnownOnesAreNamed() async throws {
    var headers = grpcHeaders(echo.path)
    headers.append("grpc-encoding", "snappy")
    let fields = try await answer(to: headers, body: compressedFrame([1]))
    #expect(fields["grpc-status"] == "\(StatusCode.unimplemented.rawValue)")
    #expect(fields["grpc-accept-encoding"] == "identity,gzip")
  }

  @Test func whoCompressesIsToldWhatIsKnown() async throws {
    let body = compressedFrame(try TestGzip.compress(Text(Self.long).encoded()))
    let fields = try await answer(to: Self.gzipHeaders(), body: body)
    #expect(fields["grpc-status"] == "0")
    #expect(fields["grpc-accept-encoding"] == "identity,gzip")
  }

  @Test func whoSaysNothingOfCompressionHearsNothingOfIt() async throws {
    let fields = try await answer(to: grpcHeaders(echo.path), body: [0, 0, 0, 0, 0])
    #expect(fields["grpc-encoding"] == nil)
    #expect(fields["grpc-accept-encoding"] == nil)
  }

  // MARK: Peers who lie

  @Test(arguments: [[], [1, 2, 3], [UInt8](repeating: 0x1f, count: 100)])
  func bytesThatGzipDidNotMakeAreInternal(bytes: [UInt8]) async throws {
    let fields = try await answer(to: Self.gzipHeaders(), body: compressedFrame(bytes))
    #expect(fields["grpc-status"] == "\(StatusCode.internalError.rawValue)")
  }

  @Test func aCompressedMessageIsWholeAndNothingFollowsIt() async throws {
    let bytes = try TestGzip.compress(Text(Self.long).encoded())
    for wrong in [Array(bytes.dropLast()), bytes + [0], bytes + bytes] {
      let fields = try await answer(to: Self.gzipHeaders(), body: compressedFrame(wrong))
      #expect(fields["grpc-status"] == "\(StatusCode.internalError.rawValue)")
    }
  }

  @Test func aFlagThatIsNeitherIsInternal() async throws {
    let fields = try await answer(to: Self.gzipHeaders(), body: [2, 0, 0, 0, 0])
    #expect(fields["grpc-status"] == "\(StatusCode.internalError.rawValue)")
  }

  @Test func theLimitIsOnWhatAMessageBecomes() async throws {
    var limits = ServerLimits()
    // The field's number and length take four bytes beside its text.
    limits.maximumMessageByteCount = 100_004
    try await withServer(TestService { _ in }, limits: limits) { channel in
      try await channel.expectEcho(String(repeating: "x", count: 100_000), options: Self.gzip)
      let error = await rpcError {
        try await channel.expectEcho(String(repeating: "x", count: 100_001), options: Self.gzip)
      }
      #expect(error?.code == .resourceExhausted)
    }
  }

  @Test func theClientsLimitIsOnWhatAnAnswerBecomes() async throws {
    let service = TestService { router in
      router.unary(Self.collect) { _, call in
        call.compressResponses()
        return Text(String(repeating: "x", count: 1 << 20))
      }
    }
    var limits = ChannelLimits()
    limits.maximumMessageByteCount = 100_000
    try await withServer(service, channelLimits: limits) { channel in
      let options = CallOptions(compression: .identity)
      let error = await rpcError { _ = try await channel.unary(Self.collect, Text(), options: options) }
      #expect(error?.code == .resourceExhausted)
      try await channel.expectEcho("the connection is still good")
    }
  }

  @Test(arguments: [("snappy", StatusCode.internalError), ("identity", .internalError), ("gzip", .unavailable)])
  func anAnswerIsReadAsItsHeadersSay(encoding: String, code: StatusCode) async throws {
    var headers = HeaderList([(":status", "200"), ("content-type", "application/grpc")])
    headers.append("grpc-encoding", encoding)
    let trailers = HeaderList([("grpc-status", "\(StatusCode.unavailable.rawValue)")])
    let body = compressedFrame(try TestGzip.compress(Text(Self.long).encoded()))
    try await withAnswer(headers, body, trailers) { channel in
      let responses = try await channel.serverStreaming(Self.collect, Text())
      let error = await rpcError {
        for try await response in responses { #expect(response == Text(Self.long) && encoding == "gzip") }
      }
      #expect(error?.code == code)
    }
  }

  /// Four million bytes that would become four billion.
  @Test(.timeLimit(.minutes(1))) func aMessageThatExplodesIsStoppedAtTheLimit() async throws {
    let gzip = try TestGzip()
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    var bomb = gzip.compress(zeros, Z_FULL_FLUSH)
    // After a full flush nothing refers back: a piece may stand again and again.
    let piece = gzip.compress(zeros, Z_FULL_FLUSH)
    while bomb.count + piece.count < 4_000_000 { bomb += piece }
    let before = peakMemoryByteCount()
    let fields = try await answer(to: Self.gzipHeaders(), body: compressedFrame(bomb))
    #expect(fields["grpc-status"] == "\(StatusCode.resourceExhausted.rawValue)")
    #expect(peakMemoryByteCount() - before < 1 << 30)
  }

  /// What waits unread waits compressed, however much it would become.
  @Test func unreadMessagesStayCompressed() async throws {
    let mayRead = Signal()
    let service = TestService { router in
      router.clientStreaming(Self.collect) { requests, _ in
        await mayRead.wait()
        var count = 0
        for try await _ in requests { count += 1 }
        return Text("\(count)")
      }
    }
    let message = Text(String(repeating: " ", count: 4_000_000))
    let frame = compressedFrame(try TestGzip.compress(message.encoded()))
    // As many as a stream may have under way.
    let count = 60
    try #require(count * frame.count < 256 << 10)
    try await withServer(service) { channel in
      let before = peakMemoryByteCount()
      let session = try HTTP2Session(.client)
      let connection = try await RawConnection(channel.endpoint)
      var headers = grpcHeaders(Self.collect.path)
      headers.append("grpc-encoding", "gzip")
      let collecting = try session.submitRequest(headers)
      for _ in 0..<count { session.send(on: collecting, byteCount: frame.count) { $0.copyBytes(from: frame) } }
      try await connection.send(outgoingBytes(session))

      var echoing: StreamID?
      for await bytes in connection.received {
        let events = try bytes.withUnsafeBytes { bytes in Result { try session.receive(bytes) } }.get()
        for event in events {
          guard case .headers(let stream, let fields, endsStream: true) = event else { continue }
          #expect(fields["grpc-status"] == "0")
          if stream == echoing {
            #expect(peakMemoryByteCount() - before < 100 << 20)
            session.finish(collecting)
            mayRead.raise()
          } else {
            try await connection.channel.close()
          }
        }
        guard connection.channel.isActive else { continue }
        try await connection.send(outgoingBytes(session))
        guard echoing == nil, session.unsentByteCount(collecting) == 0 else { continue }
        // Its answer tells that all before it has arrived.
        let request = try session.submitRequest(grpcHeaders(echo.path))
        session.send(on: request, byteCount: 5) { $0.copyBytes(from: [0, 0, 0, 0, 0]) }
        session.finish(request)
        echoing = request
        try await connection.send(outgoingBytes(session))
      }
    }
  }
}

/// A server that gives every call the same answer, whatever it is.
private final class Answerer: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let session: HTTP2Session
  private let answer: (HTTP2Session, StreamID) throws -> Void

  init(_ answer: @escaping (HTTP2Session, StreamID) throws -> Void) throws {
    session = try HTTP2Session(.server)
    self.answer = answer
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    do {
      let events = try unwrapInboundIn(data).withUnsafeReadableBytes { try session.receive($0) }
      for event in events {
        if case .headers(let stream, _, _) = event { try answer(session, stream) }
      }
      let bytes = try outgoingBytes(session)
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
    } catch {
      context.close(promise: nil)
    }
  }
}

/// Runs a server that answers with these headers, body and trailers, and a channel to it.
private func withAnswer(
  _ headers: HeaderList, _ body: [UInt8], _ trailers: HeaderList, _ use: (RPCChannel) async throws -> Void
) async throws {
  let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
    .childChannelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(
          Answerer { session, stream in
            try session.submitResponse(stream, headers)
            session.send(on: stream, byteCount: body.count) { $0.copyBytes(from: body) }
            session.finish(stream, trailers: trailers)
          })
      }
    }
    .bind(host: "127.0.0.1", port: 0).get()
  let channel = RPCChannel(.tcp(host: "127.0.0.1", port: listener.localAddress?.port ?? 0))
  do {
    try await use(channel)
  } catch {
    await channel.close()
    try await listener.close()
    throw error
  }
  await channel.close()
  try await listener.close()
}
