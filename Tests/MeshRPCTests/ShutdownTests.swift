import HTTP2Session
import MeshRPC
import Messages
import NIOCore
import Testing

/// How a server and its connections come to their end without losing a call.
@Suite(.timeLimit(.minutes(2))) struct ShutdownTests {
  static let wait = TextMethod(service: "test.Shutdown", method: "Wait")

  /// A server whose `Wait` answers when `mayEnd` is raised, and raises `started` before.
  private func server(
    _ started: Signal, _ mayEnd: Signal, limits: ServerLimits = ServerLimits(), endsWhenDraining: Bool = false
  ) async throws -> (RPCServer, SocketEndpoint, Task<Void, any Error>) {
    let service = TestService { router in
      router.unary(Self.wait) { request, call in
        if endsWhenDraining { call.endWhenDraining() }
        started.raise()
        await mayEnd.wait()
        return request
      }
    }
    let server = RPCServer(services: [service, echoService], limits: limits)
    let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
    return (server, endpoint, Task { try await server.run() })
  }

  @Test(arguments: [true, false])
  func callsInFlightFinishBeforeAServerEnds(byCancelling: Bool) async throws {
    let (started, mayEnd) = (Signal(), Signal())
    var limits = ServerLimits()
    limits.drainTimeout = .seconds(60)
    let (server, endpoint, running) = try await server(started, mayEnd, limits: limits)
    let channel = RPCChannel(endpoint)
    async let answer = channel.unary(Self.wait, Text("hello"))
    await started.wait()
    if byCancelling { running.cancel() } else { server.shutDown() }
    // The server has stopped listening, and the call is still going.
    while await canConnect(endpoint) {}
    mayEnd.raise()
    #expect(try await answer == Text("hello"))
    try await running.value
    await channel.close()
  }

  private func canConnect(_ endpoint: SocketEndpoint) async -> Bool {
    guard let connection = try? await RawConnection(endpoint) else { return false }
    try? await connection.channel.close()
    return true
  }

  @Test func whatIsLeftAfterTheTimeEndsAsUnavailable() async throws {
    let (started, mayEnd) = (Signal(), Signal())
    var limits = ServerLimits()
    limits.drainTimeout = .milliseconds(50)
    let (_, endpoint, running) = try await server(started, mayEnd, limits: limits)
    let channel = RPCChannel(endpoint)
    async let error = rpcError { _ = try await channel.unary(Self.wait, Text()) }
    await started.wait()
    running.cancel()
    #expect(await error?.code == .unavailable)
    try await running.value
    mayEnd.raise()
    await channel.close()
  }

  @Test func aCallThatDoesNotHoldUpAStopEndsAtOnce() async throws {
    let (started, mayEnd) = (Signal(), Signal())
    var limits = ServerLimits()
    limits.drainTimeout = .seconds(3600)
    let (_, endpoint, running) = try await server(started, mayEnd, limits: limits, endsWhenDraining: true)
    let channel = RPCChannel(endpoint)
    async let error = rpcError { _ = try await channel.unary(Self.wait, Text()) }
    await started.wait()
    running.cancel()
    #expect(await error == RPCError(.unavailable, "the server is stopping"))
    try await running.value
    mayEnd.raise()
    await channel.close()
  }

  /// RFC 9113 §6.8: first a GOAWAY that refuses nothing, then, after a PING and its answer, the one that names the last call.
  @Test func aCallOnItsWayWhenTheEndIsAnnouncedIsAnswered() async throws {
    var limits = ServerLimits()
    limits.drainTimeout = .seconds(60)
    let server = RPCServer(services: [echoService], limits: limits)
    let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
    let running = Task { try await server.run() }
    let connection = try await RawConnection(endpoint)
    var frames = FrameReader(connection)
    try await connection.send(RawFrame.greeting)
    // The server's answer to our SETTINGS: it knows us.
    #expect(await frames.next { $0.kind == RawFrame.Kind.settings && $0.flags == RawFrame.answer } != nil)
    running.cancel()
    let announcement = await frames.next(RawFrame.Kind.goAway)
    #expect(announcement?.lastStream == 0x7fff_ffff)
    #expect(announcement?.goAwayCode == ErrorCode.none)
    let ping = await frames.next(RawFrame.Kind.ping)
    let message = RawFrame(kind: RawFrame.Kind.data, flags: RawFrame.endStream, stream: 1, payload: [0, 0, 0, 0, 0])
    try await connection.send(
      RawFrame.call(echo.path, stream: 1).bytes + message.bytes
        + RawFrame.ping(ping?.payload ?? [], isAnswer: true).bytes)
    var answered = false
    var last: RawFrame?
    while let frame = await frames.next() {
      if frame.kind == RawFrame.Kind.data, frame.stream == 1 { answered = true }
      if frame.kind == RawFrame.Kind.goAway { last = frame }
    }
    #expect(answered)
    #expect(last?.lastStream == 1)
    try await running.value
  }

  @Test func aPeerThatDoesNotAnswerHoldsUpNoStop() async throws {
    let server = RPCServer(services: [echoService])
    let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
    let running = Task { try await server.run() }
    let connection = try await RawConnection(endpoint)
    try await connection.send(RawFrame.greeting)
    var frames = FrameReader(connection)
    #expect(await frames.next { $0.kind == RawFrame.Kind.settings && $0.flags == RawFrame.answer } != nil)
    running.cancel()
    var last: RawFrame?
    while let frame = await frames.next() { last = frame }
    #expect(last?.kind == RawFrame.Kind.goAway)
    try await running.value
  }

  @Test func anOldConnectionIsReplacedWithoutLosingACall() async throws {
    var limits = ServerLimits()
    limits.maximumConnectionAge = .milliseconds(50)
    let peers = Peers()
    let who = TextMethod(service: "test.Shutdown", method: "Who")
    let service = TestService { router in
      router.unary(who) { request, call in
        await peers.add(call.peer.description)
        return request
      }
    }
    try await withServer(service, limits: limits) { channel in
      while await peers.count < 3 { _ = try await channel.unary(who, Text()) }
    }
  }

  @Test func aCallOnAnOldConnectionEndsWhenItsGraceIsOver() async throws {
    var limits = ServerLimits()
    limits.maximumConnectionAge = .milliseconds(50)
    limits.connectionAgeGrace = .milliseconds(50)
    let cancelled = Signal()
    let service = TestService { router in
      router.unary(Self.wait) { request, _ in
        await cancelled.raiseWhenCancelled()
        return request
      }
    }
    try await withServer(service, limits: limits) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.wait, Text()) }
      #expect(error?.code == .unavailable)
    }
  }

  private actor Peers {
    private var names: Set<String> = []
    var count: Int { names.count }
    func add(_ name: String) { names.insert(name) }
  }

  @Test func anIdleConnectionIsToldToGoThoughItPings() async throws {
    var limits = ServerLimits()
    limits.keepaliveInterval = .milliseconds(50)
    limits.idleTimeout = .milliseconds(50)
    limits.minimumPingInterval = .zero
    limits.overheadFrames = (.max / 2, 0)
    try await withServer(TestService { _ in }, limits: limits) { channel in
      let connection = try await RawConnection(channel.endpoint)
      async let received = connection.bytesUntilClosed()
      // On a busy machine the end may come before this.
      try? await connection.send(RawFrame.greeting)
      while connection.channel.isActive, (try? await connection.send(RawFrame.ping().bytes)) != nil {}
      let frames = RawFrame.all(in: await received)
      #expect(frames.contains { $0.kind == RawFrame.Kind.goAway && $0.goAwayCode == ErrorCode.none })
    }
  }

  // MARK: Metadata before the answer

  @Test func initialMetadataGoesBeforeTheFirstMessageAndBeforeAnErrorAlike() async throws {
    let fine = TextMethod(service: "test.Shutdown", method: "Fine")
    let fails = TextMethod(service: "test.Shutdown", method: "Fails")
    let service = TestService { router in
      router.unary(fine) { request, call in
        call.setInitialMetadata(["early": "bird"])
        return request
      }
      router.unary(fails) { _, call in
        call.setInitialMetadata(["early": "bird"])
        throw RPCError(.notFound, "no worm")
      }
    }
    try await withServer(service) { channel in
      let answer = try await channel.answer(fine, Text("x"))
      #expect(answer.initialMetadata["early"] == "bird")
      let error = await rpcError { _ = try await channel.unary(fails, Text()) }
      #expect(error?.code == .notFound)
    }
  }
}
