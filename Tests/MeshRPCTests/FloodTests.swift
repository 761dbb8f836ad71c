import HTTP2Session
import MeshRPC
import Messages
import NIOCore
import Testing

/// Peers that send what costs the server most and themselves least: the server cuts them off or holds them back, others go
/// on, and memory stays flat.
@Suite(.timeLimit(.minutes(2))) struct FloodTests {
  /// More than any of these attacks may cost; each would take far more if nothing held it.
  static let memoryBound = 192 << 20

  /// Sends `bytes` again and again until the server has closed; answers what it sent. Checks that memory and others are
  /// unharmed.
  private func flood(
    limits: ServerLimits = ServerLimits(), service: TestService = TestService { _ in }, opening: [UInt8] = [],
    upTo byteLimit: Int = 256 << 20, _ bytes: @Sendable (_ round: Int) -> [UInt8]
  ) async throws -> [RawFrame] {
    try await withServer(service, limits: limits) { channel in
      try await channel.expectEcho("before")
      let before = residentByteCount()
      let connection = try await RawConnection(channel.endpoint)
      async let received = connection.bytesUntilClosed()
      try await connection.send(RawFrame.greeting + opening)
      var sent = 0
      var round = 0
      while sent < byteLimit {
        let piece = bytes(round)
        // It fails when the server has closed, which is the point.
        guard (try? await connection.send(piece)) != nil else { break }
        sent += piece.count
        round += 1
      }
      #expect(sent < byteLimit, "the server took \(sent) bytes of this")
      let frames = RawFrame.all(in: await received)
      #expect(residentByteCount() - before < Self.memoryBound)
      try await channel.expectEcho("others are not disturbed")
      return frames
    }
  }

  private static func many(_ frame: RawFrame) -> @Sendable (Int) -> [UInt8] {
    let bytes = (0..<1000).flatMap { _ in frame.bytes }
    return { _ in bytes }
  }

  // MARK: Frames that bring nothing

  @Test func aFloodOfPingsIsCutOffAndToldWhy() async throws {
    let frames = try await flood(Self.many(.ping()))
    // What the client still sends may destroy what it has not read; if it has read it, it says this.
    for goAway in frames where goAway.kind == RawFrame.Kind.goAway {
      #expect(goAway.goAwayCode == ErrorCode.enhanceYourCalm)
      #expect(goAway.goAwayReason == "too_many_pings")
    }
  }

  @Test(arguments: [
    RawFrame(kind: RawFrame.Kind.settings),
    RawFrame(kind: RawFrame.Kind.settings, flags: RawFrame.answer),
    RawFrame(kind: RawFrame.Kind.settings, payload: (0..<32).flatMap { _ in [0, 4, 0, 0, 0xff, 0xff] as [UInt8] }),
    RawFrame.ping(isAnswer: true),
    RawFrame(kind: RawFrame.Kind.data, stream: 1),
    RawFrame(kind: RawFrame.Kind.data, flags: 8, stream: 1, payload: [3, 0, 0, 0]),
    RawFrame(kind: RawFrame.Kind.priority, stream: 1, payload: [0, 0, 0, 0, 9]),
    RawFrame(kind: RawFrame.Kind.priority, stream: 1001, payload: [0, 0, 0, 1, 9]),
    RawFrame.windowUpdate(0, 1),
    RawFrame.windowUpdate(1, 1),
    RawFrame(kind: RawFrame.Kind.goAway, payload: [0, 0, 0, 0, 0, 0, 0, 0]),
    RawFrame(kind: RawFrame.Kind.headers, flags: RawFrame.endHeaders, stream: 1),
  ])
  func aFloodOfFramesThatBringNothingIsCutOff(frame: RawFrame) async throws {
    let hang = TextMethod(service: "test.Flood", method: "Hang")
    let service = TestService { router in
      router.bidirectional(hang) { _, _, _ in await Signal().raiseWhenCancelled() }
    }
    _ = try await flood(
      service: service, opening: RawFrame.call(hang.path, stream: 1).bytes, upTo: 32 << 20, Self.many(frame))
  }

  @Test func prioritiesOfStreamsThatNeverWereAreCutOff() async throws {
    _ = try await flood(upTo: 32 << 20) { round in
      (0..<1000).flatMap { number in
        RawFrame(
          kind: RawFrame.Kind.priority, stream: UInt32(round * 1000 + number) * 2 + 1, payload: [0, 0, 0, 0, 9]
        ).bytes
      }
    }
  }

  // MARK: Streams

  /// CVE-2023-44487.
  @Test func rapidResetsAreCutOffAndRunNoMoreHandlersThanAllowed() async throws {
    let call = TextMethod(service: "test.Flood", method: "Slow")
    let started = Counter()
    let mayEnd = Signal()
    let service = TestService { router in
      router.bidirectional(call) { _, _, _ in
        started.increment()
        // A handler that does not heed its cancellation.
        await mayEnd.wait()
      }
    }
    var limits = ServerLimits()
    limits.maximumConcurrentCalls = 50
    _ = try await flood(limits: limits, service: service, upTo: 32 << 20) { round in
      (0..<100).flatMap { number in
        let stream = UInt32(round * 100 + number) * 2 + 1
        return RawFrame.call(call.path, stream: stream).bytes + RawFrame.reset(stream).bytes
      }
    }
    #expect(started.value >= 1 && started.value <= 50)
    mayEnd.raise()
  }

  /// CVE-2025-8671: the peer has the server reset its streams.
  @Test func resetsThatThePeerProvokesAreCutOff() async throws {
    _ = try await flood(upTo: 64 << 20) { round in
      (0..<100).flatMap { number in
        let stream = UInt32(round * 100 + number) * 2 + 1
        return RawFrame.call(echo.path, stream: stream).bytes + RawFrame.windowUpdate(stream, 0x7fff_ffff).bytes
      }
    }
  }

  @Test func callsBeyondTheLimitAgainAndAgainAreCutOff() async throws {
    var limits = ServerLimits()
    limits.maximumConcurrentCalls = 1
    _ = try await flood(limits: limits, upTo: 64 << 20) { round in
      (0..<100).flatMap { number in
        RawFrame.call(echo.path, stream: UInt32(round * 100 + number) * 2 + 1).bytes
      }
    }
  }

  @Test(arguments: [
    RawFrame.reset(7), RawFrame.windowUpdate(0, 0), RawFrame.windowUpdate(7, 5), RawFrame(kind: 0, stream: 7),
    RawFrame(kind: RawFrame.Kind.headers, flags: RawFrame.endHeaders, stream: 2),
    RawFrame(kind: RawFrame.Kind.headers, flags: RawFrame.endHeaders, stream: 0),
    RawFrame(kind: RawFrame.Kind.continuation, stream: 1),
  ])
  func whatNoStreamCanTakeEndsTheConnection(frame: RawFrame) async throws {
    try await withServer(TestService { _ in }) { channel in
      let connection = try await RawConnection(channel.endpoint)
      try await connection.send(RawFrame.greeting + frame.bytes)
      let frames = RawFrame.all(in: await connection.bytesUntilClosed())
      #expect(frames.contains { $0.kind == RawFrame.Kind.goAway && $0.goAwayCode != ErrorCode.none })
    }
  }

  @Test func aWindowThatOverflowsEndsTheConnection() async throws {
    try await withServer(TestService { _ in }) { channel in
      let connection = try await RawConnection(channel.endpoint)
      let most = RawFrame.windowUpdate(0, 0x7fff_ffff).bytes
      try await connection.send(RawFrame.greeting + most + most)
      let frames = RawFrame.all(in: await connection.bytesUntilClosed())
      // FLOW_CONTROL_ERROR (RFC 9113 §6.9.1).
      #expect(frames.contains { $0.kind == RawFrame.Kind.goAway && $0.goAwayCode == 3 })
    }
  }

  // MARK: Headers

  @Test(arguments: [0, 1, 1000])
  func headersThatGoOnAndOnAreCutOff(byteCount: Int) async throws {
    let continuation = RawFrame(
      kind: RawFrame.Kind.continuation, stream: 1, payload: [UInt8](repeating: 0x82, count: byteCount))
    _ = try await flood(
      opening: RawFrame(kind: RawFrame.Kind.headers, stream: 1, payload: [0x83]).bytes, upTo: 32 << 20,
      Self.many(continuation))
  }

  /// The compression lets one byte stand for a whole entry of its table, here of 4,000 bytes (RFC 7541 §6.1).
  @Test func headerBombsAreCutOff() async throws {
    let length: [UInt8] = [0x7f, 0xa1, 0x1e]
    let entry: [UInt8] = [0x40, 1, UInt8(ascii: "x")] + length + [UInt8](repeating: UInt8(ascii: "v"), count: 4000)
    let start = RawFrame.call(echo.path, stream: 1)
    let opening = RawFrame(
      kind: RawFrame.Kind.headers, flags: RawFrame.endHeaders, stream: 1, payload: start.payload + entry)
    _ = try await flood(opening: opening.bytes, upTo: 64 << 20) { round in
      let stream = UInt32(round) * 2 + 3
      let start = RawFrame.call(echo.path, stream: stream)
      return RawFrame(
        kind: RawFrame.Kind.headers, flags: RawFrame.endHeaders, stream: stream,
        payload: start.payload + [UInt8](repeating: 0xbe, count: 16_000)
      ).bytes
    }
  }

  @Test func headersThatComeByteByByteEndInTime() async throws {
    var limits = ServerLimits()
    limits.handshakeTimeout = .milliseconds(500)
    try await withServer(TestService { _ in }, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      // On a busy machine the time may be over before anything was said.
      try? await connection.send(RawFrame.greeting)
      async let received = connection.bytesUntilClosed()
      // Each byte shows that the peer is alive, and none brings the call nearer.
      var headers = RawFrame.call(echo.path, stream: 1)
      // A field "x" with a value of 15,000 bytes (RFC 7541 §5.2) that never all come.
      headers.payload += [0x00, 1, UInt8(ascii: "x"), 0x7f, 0x99, 0x74] + [UInt8](repeating: 0x76, count: 15_000)
      for byte in headers.bytes.dropLast(1000) {
        guard (try? await connection.send([byte])) != nil else { break }
        guard connection.channel.isActive else { break }
      }
      _ = await received
    }
  }

  // MARK: Peers that do not read

  enum Unread: CaseIterable {
    case answersToPings, refusals, largeAnswers
  }

  /// Answers to what the peer sends pile up in front of a full socket: then it is not read any more either, and in the end
  /// given up.
  @Test(arguments: Unread.allCases)
  func aPeerThatReadsNothingIsNotReadEither(unread: Unread) async throws {
    let large = TextMethod(service: "test.Flood", method: "Large")
    let service = TestService { router in
      router.unary(large) { _, _ in Text(String(repeating: "x", count: 1 << 20)) }
    }
    var limits = ServerLimits()
    limits.keepaliveInterval = .milliseconds(200)
    limits.minimumPingInterval = .zero
    limits.overheadFrames = (.max / 2, 0)
    limits.maximumConcurrentCalls = 64
    limits.maximumUnsentByteCount = 8 << 20
    try await withServer(service, limits: limits) { channel in
      try await channel.expectEcho("before")
      let before = residentByteCount()
      let connection = try await RawConnection(channel.endpoint, reads: false)
      // The streams' windows are wide open; the socket is what stays shut.
      let wide = RawFrame(kind: RawFrame.Kind.settings, payload: [0, 4, 0x7f, 0xff, 0xff, 0xff])
      try await connection.send(RawFrame.greeting + wide.bytes + RawFrame.windowUpdate(0, 1 << 30).bytes)
      var round: UInt32 = 0
      while true {
        let bytes = (0..<100 as Range<UInt32>).flatMap { number in
          let stream = (round * 100 + number) * 2 + 1
          let message = RawFrame(
            kind: RawFrame.Kind.data, flags: RawFrame.endStream, stream: stream, payload: [0, 0, 0, 0, 0])
          return switch unread {
          case .answersToPings: RawFrame.ping().bytes
          case .refusals: RawFrame.call("/no/such", stream: stream, endsStream: true).bytes
          case .largeAnswers: RawFrame.call(large.path, stream: stream).bytes + message.bytes
          }
        }
        guard (try? await connection.send(bytes)) != nil else { break }
        round += 1
        guard round < 1_000_000 else {
          Issue.record("the server takes whatever comes")
          break
        }
      }
      #expect(residentByteCount() - before < Self.memoryBound)
      try await channel.expectEcho("others are not disturbed")
    }
  }

  /// The socket is read, but the streams' windows stay shut.
  @Test func aPeerThatGivesNoWindowHoldsNoMoreThanTheLimit() async throws {
    let method = TextMethod(service: "test.Flood", method: "Pour")
    let written = Counter()
    let block = Text(String(repeating: "x", count: 64 << 10))
    let service = TestService { router in
      router.serverStreaming(method) { _, responses, _ in
        while true {
          try await responses.write(block)
          written.increment()
        }
      }
    }
    var limits = ServerLimits()
    let bound = 4 << 20
    limits.maximumUnsentByteCount = bound
    limits.sendBufferByteCount = 1 << 20
    try await withServer(service, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      // SETTINGS_INITIAL_WINDOW_SIZE 0.
      let noWindow = RawFrame(kind: RawFrame.Kind.settings, payload: [0, 4, 0, 0, 0, 0])
      func call(_ number: UInt32) -> [UInt8] {
        let stream = number * 2 + 1
        let message = RawFrame(
          kind: RawFrame.Kind.data, flags: RawFrame.endStream, stream: stream, payload: [0, 0, 0, 0, 0])
        return RawFrame.call(method.path, stream: stream).bytes + message.bytes
      }
      try await connection.send(RawFrame.greeting + noWindow.bytes + (0..<64).flatMap(call))
      var frames = FrameReader(connection)
      for number in 0..<64 as Range<UInt32> {
        // Each stream's headers have come, so that each handler has written once.
        #expect(await frames.next(RawFrame.Kind.headers, stream: number * 2 + 1) != nil)
      }
      // One more is refused: the connection holds what it may.
      try await connection.send(call(64))
      let refusal = await frames.next(RawFrame.Kind.reset, stream: 129)
      #expect(refusal?.resetCode == ErrorCode.refusedStream)
      // Each handler may put one block on top before it waits.
      #expect(written.value * (64 << 10) <= bound + 65 * (64 << 10))
      try await channel.expectEcho("others are not disturbed")
      try await connection.channel.close()
    }
  }

  // MARK: Requests that do not end

  @Test func aRequestThatIsNotWholeInTimeEnds() async throws {
    var limits = ServerLimits()
    limits.requestTimeout = .milliseconds(100)
    try await withServer(TestService { _ in }, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      let half = RawFrame(kind: RawFrame.Kind.data, stream: 1, payload: [0, 0, 0, 0, 9, 10])
      try await connection.send(RawFrame.greeting + RawFrame.call(echo.path, stream: 1).bytes + half.bytes)
      var frames = FrameReader(connection)
      // A status, and then the server wants no more of the request.
      let status = await frames.next(RawFrame.Kind.headers, stream: 1)
      #expect(status.map { $0.flags & RawFrame.endStream } == RawFrame.endStream)
      #expect(await frames.next(RawFrame.Kind.reset, stream: 1) != nil)
      try await channel.expectEcho("others are not disturbed")
      try await connection.channel.close()
    }
  }

  @Test func requestsThatAreNotWholeHoldNoMoreThanTheLimit() async throws {
    var limits = ServerLimits()
    limits.maximumUnreadByteCount = 1 << 20
    try await withServer(TestService { _ in }, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      // 32 messages that promise 1 MB each, of which 48 KiB come: within the windows, beyond the limit.
      let bytes = (0..<32 as Range<UInt32>).flatMap { number in
        let stream = number * 2 + 1
        let start: [UInt8] = [0, 0, 0x0f, 0, 0] + [UInt8](repeating: 1, count: 16_000)
        let more = RawFrame(kind: RawFrame.Kind.data, stream: stream, payload: [UInt8](repeating: 1, count: 16_000))
        return RawFrame.call(echo.path, stream: stream).bytes
          + RawFrame(kind: RawFrame.Kind.data, stream: stream, payload: start).bytes + more.bytes + more.bytes
      }
      try await connection.send(RawFrame.greeting + bytes)
      var frames = FrameReader(connection)
      let status = await frames.next { $0.kind == RawFrame.Kind.headers && $0.flags & RawFrame.endStream != 0 }
      #expect(status != nil, "one of the calls has failed")
      // The room of those that failed is free again: a whole call passes.
      let message = RawFrame(
        kind: RawFrame.Kind.data, flags: RawFrame.endStream, stream: 101, payload: [0, 0, 0, 0, 0])
      try await connection.send(RawFrame.call(echo.path, stream: 101).bytes + message.bytes)
      #expect(await frames.next(RawFrame.Kind.data, stream: 101) != nil)
      try await connection.channel.close()
    }
  }
}
