import Glibc
import MeshRPC
import Messages
import NIOCore
import NIOPosix
import Testing

/// Connections: how they are made, lost and made again.
@Suite(.timeLimit(.minutes(2))) struct ConnectionTests {
  @Test func aConnectionThatCannotBeMadeSaysWhy() async throws {
    let channel = RPCChannel(.tcp(host: "127.0.0.1", port: 1))
    let error = await rpcError { _ = try await channel.unary(echo, Text()) }
    #expect(error == RPCError(.unavailable, "no connection to 127.0.0.1:1: Connection refused (errno 111)"))
    let missing = RPCChannel(.unix(path: "/nowhere/mesh.sock"))
    let noFile = await rpcError { _ = try await missing.unary(echo, Text()) }
    #expect(
      noFile
        == RPCError(.unavailable, "no connection to unix:/nowhere/mesh.sock: No such file or directory (errno 2)"))
  }

  @Test func aChannelConnectsAgainWhenItsServerIsBack() async throws {
    let path = temporarySocketPath()
    let channel = RPCChannel(.unix(path: path), limits: ChannelTests.impatient)
    for _ in 0..<3 {
      let unavailable = await rpcError { _ = try await channel.unary(echo, Text()) }
      #expect(unavailable?.code == .unavailable)
      let server = RPCServer(services: [echoService])
      _ = try await server.bind(.unix(path: path))
      let running = Task { try await server.run() }
      try await channel.expectEcho("hello", options: CallOptions(waitForReady: true))
      running.cancel()
      try await running.value
    }
    await channel.close()
  }

  /// A server that closes what it accepts: the connection ends while it is being made, or right after.
  @Test func aConnectionThatIsClosedAtOnceIsUnavailableEveryTime() async throws {
    var limits = ServerLimits()
    limits.maximumConnections = 0
    let server = RPCServer(services: [echoService], limits: limits)
    let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
    let running = Task { try await server.run() }
    let channel = RPCChannel(endpoint)
    for _ in 0..<50 {
      let error = await rpcError { _ = try await channel.unary(echo, Text()) }
      #expect(error?.code == .unavailable)
    }
    await channel.close()
    running.cancel()
    try await running.value
  }

  @Test func aClosedChannelMakesNoCalls() async throws {
    try await withServer(TestService { _ in }) { channel in
      try await channel.expectEcho("hello")
      await channel.close()
      let error = await rpcError { _ = try await channel.unary(echo, Text()) }
      #expect(error?.code == .cancelled)
    }
  }

  @Test func aServerThatStopsCancelsItsHandlersAndTellsTheirCallers() async throws {
    let hang = TextMethod(service: "test.Connection", method: "Hang")
    let started = Signal()
    let cancelled = Signal()
    let service = TestService { router in
      router.bidirectional(hang) { _, responses, _ in
        try await responses.write(Text("here"))
        started.raise()
        await cancelled.raiseWhenCancelled()
      }
    }
    var limits = ServerLimits()
    limits.drainTimeout = .milliseconds(10)
    let server = RPCServer(services: [service], limits: limits)
    let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
    let running = Task { try await server.run() }
    let channel = RPCChannel(endpoint)
    let call: BidirectionalCall<Text, Text> = try await channel.bidirectional(hang)
    var iterator = call.responses.makeAsyncIterator()
    #expect(try await iterator.next() == Text("here"))
    await started.wait()
    running.cancel()
    let error = await rpcError { _ = try await iterator.next() }
    #expect(error?.code == .unavailable)
    await cancelled.wait()
    try await running.value
    let refused = await rpcError { _ = try await channel.unary(echo, Text()) }
    #expect(refused?.code == .unavailable)
    await channel.close()
  }

  @Test func aChannelThatIsDroppedLetsItsStreamsFinish() async throws {
    let count = TextMethod(service: "test.Connection", method: "Count")
    let service = TestService { router in
      router.serverStreaming(count) { _, responses, _ in
        for number in 0..<1000 { try await responses.write(Text("\(number)")) }
      }
    }
    try await withServer(service) { other in
      let responses = try await RPCChannel(other.endpoint).serverStreaming(count, Text())
      var received = 0
      for try await _ in responses { received += 1 }
      #expect(received == 1000)
    }
  }

  // MARK: Listening

  @Test func anEndpointThatIsInUseSaysSo() async throws {
    try await withServer(TestService { _ in }) { channel in
      let second = RPCServer(services: [])
      let error = await rpcError { _ = try await second.bind(channel.endpoint) }
      #expect(error?.message.hasPrefix("\(channel.endpoint) is in use by another process") == true)
    }
  }

  @Test func aSocketFileThatNobodyAnswersOnIsReplacedAndALiveOneIsNot() async throws {
    let path = temporarySocketPath()
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    let address = try SocketAddress(unixDomainSocketPath: path)
    #expect(address.withSockAddr { Glibc.bind(descriptor, $0, socklen_t($1)) } == 0)
    close(descriptor)
    #expect(access(path, F_OK) == 0, "the file outlives its socket")

    let server = RPCServer(services: [echoService])
    let endpoint = try await server.bind(.unix(path: path))
    let running = Task { try await server.run() }
    let second = RPCServer(services: [])
    let error = await rpcError { _ = try await second.bind(endpoint) }
    #expect(error?.code == .unavailable)
    let channel = RPCChannel(endpoint)
    try await channel.expectEcho("still here")
    await channel.close()
    running.cancel()
    try await running.value
  }

  @Test(arguments: [
    ("127.0.0.1:7100", SocketEndpoint.tcp(host: "127.0.0.1", port: 7100)),
    ("[::1]:0", .tcp(host: "::1", port: 0)),
    ("host-a:65535", .tcp(host: "host-a", port: 65_535)),
    ("unix:/run/iov/x.sock", .unix(path: "/run/iov/x.sock")),
  ])
  func anEndpointIsReadAndWrittenAlike(text: String, endpoint: SocketEndpoint) throws {
    #expect(try SocketEndpoint(parsing: text) == endpoint)
    #expect(endpoint.description == text)
  }

  @Test(arguments: [
    "", "host", ":1", "host:", "host:65536", "host:-1", "::1:80", "unix:", "unix:" + String(repeating: "x", count: 108),
  ])
  func whatIsNoEndpointIsRefused(text: String) {
    #expect(throws: RPCError.self) { try SocketEndpoint(parsing: text) }
  }
}

func temporarySocketPath() -> String { "/tmp/mesh-\(UInt64.random(in: 0 ... .max)).sock" }
