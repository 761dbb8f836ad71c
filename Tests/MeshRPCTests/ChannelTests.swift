import Glibc
import HTTP2Session
import Messages
import Synchronization
import Testing

@testable import MeshRPC

/// Channels over real sockets: several endpoints, servers that come and go, the channel's own end.
@Suite(.timeLimit(.minutes(2))) struct ChannelTests {
  static let whoami = TextMethod(service: "test.Channel", method: "WhoAmI")
  static let hang = TextMethod(service: "test.Channel", method: "Hang")

  static func named(_ name: String) -> TestService {
    TestService { router in router.unary(whoami) { _, _ in Text(name) } }
  }

  /// Attempts that follow each other fast.
  static var impatient: ChannelLimits {
    var limits = ChannelLimits()
    limits.reconnect = ExponentialBackoff(initial: .milliseconds(5), multiplier: 1.6, maximum: .milliseconds(50))
    return limits
  }

  static var nobody: SocketEndpoint { .unix(path: temporarySocketPath()) }

  // MARK: Several endpoints

  @Test func failoverCallsTheFirstThatCanBeReached() async throws {
    let second = try await RunningServer(Self.named("second"))
    let third = try await RunningServer(Self.named("third"))
    let channel = RPCChannel(endpoints: [Self.nobody, second.endpoint, third.endpoint])
    for _ in 0..<10 { #expect(try await channel.unary(Self.whoami, Text()).name == "second") }
    try await second.stop()
    #expect(try await channel.unary(Self.whoami, Text(), options: CallOptions(waitForReady: true)).name == "third")
    await channel.close()
    try await third.stop()
  }

  @Test func roundRobinSpreadsCallsOverAllThatAreReady() async throws {
    let servers = [
      try await RunningServer(Self.named("one")), try await RunningServer(Self.named("two")),
      try await RunningServer(Self.named("three")),
    ]
    let channel = RPCChannel(
      endpoints: servers.map(\.endpoint) + [Self.nobody], policy: .roundRobin, limits: Self.impatient)
    var answers: [String: Int] = [:]
    while answers.count < 3 { answers[try await channel.unary(Self.whoami, Text()).name, default: 0] += 1 }
    answers = [:]
    for _ in 0..<30 { answers[try await channel.unary(Self.whoami, Text()).name, default: 0] += 1 }
    #expect(answers == ["one": 10, "two": 10, "three": 10])
    await channel.close()
    for server in servers { try await server.stop() }
  }

  // MARK: Waiting for ready

  @Test func aCallThatWaitsForReadyIsMadeWhenItsServerComes() async throws {
    let endpoint = Self.nobody
    let channel = RPCChannel(endpoint, limits: Self.impatient)
    async let waiting: Void = channel.expectEcho("hello", options: CallOptions(waitForReady: true))
    for await state in channel.states where state == .transientFailure { break }
    let server = try await RunningServer(TestService { _ in }, at: endpoint)
    try await waiting
    await channel.close()
    try await server.stop()
  }

  @Test func aCallThatWaitsForReadyWaitsUntilItsDeadline() async throws {
    let channel = RPCChannel(Self.nobody, limits: Self.impatient)
    let error = await rpcError {
      try await channel.expectEcho("", options: CallOptions(timeout: .milliseconds(100), waitForReady: true))
    }
    #expect(error?.code == .deadlineExceeded)
    #expect(error?.message.contains("No such file or directory (errno 2)") == true)
    await channel.close()
  }

  @Test func otherCallsFailAtOnceWhileNobodyCanBeReached() async throws {
    let endpoint = Self.nobody
    var limits = ChannelLimits()
    limits.reconnect.initial = .seconds(3600)
    limits.reconnect.maximum = .seconds(3600)
    let channel = RPCChannel(endpoint, limits: limits)
    let first = await rpcError { try await channel.expectEcho("") }
    #expect(channel.state == .transientFailure)
    let server = try await RunningServer(TestService { _ in }, at: endpoint)
    // Somebody is there now; but the channel looks again in an hour.
    let second = await rpcError { try await channel.expectEcho("") }
    #expect(first?.code == .unavailable)
    #expect(second == first)
    await channel.close()
    try await server.stop()
  }

  @Test func aCallThatWaitsForReadyCanBeGivenUp() async throws {
    let channel = RPCChannel(Self.nobody, limits: Self.impatient)
    let call = Task { await rpcError { try await channel.expectEcho("", options: CallOptions(waitForReady: true)) } }
    for await state in channel.states where state == .transientFailure { break }
    call.cancel()
    #expect(await call.value?.code == .cancelled)
    await channel.close()
  }

  // MARK: State

  @Test func aChannelsStatesAreSeenFromTheFirstToTheLast() async throws {
    let endpoint = Self.nobody
    let channel = RPCChannel(endpoint, limits: Self.impatient)
    #expect(channel.state == .idle)
    let states = channel.states
    let server = try await RunningServer(TestService { _ in }, at: endpoint)
    try await channel.expectEcho("hello")
    #expect(channel.state == .ready)
    await channel.close()
    var seen: [ChannelState] = []
    for await state in states { seen.append(state) }
    #expect(seen == [.idle, .connecting, .ready, .shutdown])
    // Whoever comes later sees the last one.
    for await state in channel.states { #expect(state == .shutdown) }
    try await server.stop()
  }

  // MARK: The server's end

  /// Both goodbyes are in use: a notice that names no stream yet (2^31-1), and one that names the last one taken.
  @Test(arguments: [UInt32(Int32.max), 1])
  func aGoodbyeMovesNewCallsToAnotherConnectionWhileOldOnesFinish(lastStream: UInt32) async throws {
    let server = try await ScriptedServer { connection, event in
      switch event {
      case .headers(_, let fields, _) where fields[":path"] == Self.hang.path:
        connection.goAway(lastStream: lastStream)
      case .headers(let stream, _, _): connection.answer(stream, "connection \(connection.number)")
      case .bodyEnded(let stream) where connection.number == 1: connection.answer(stream, "the old one")
      default: break
      }
    }
    let channel = RPCChannel(server.endpoint)
    let call = try await channel.clientStreaming(Self.hang)
    for await state in channel.states where state == .idle { break }
    #expect(try await channel.unary(Self.whoami, Text()).name == "connection 2")
    #expect(try await call.response().name == "the old one")
    await channel.close()
    try await server.close()
  }

  @Test func aCallThatTheServerRefusedIsMadeAgain() async throws {
    let server = try await ScriptedServer { connection, event in
      guard case .headers(let stream, _, _) = event else { return }
      if stream == 1 {
        connection.session.reset(stream, ErrorCode.refusedStream)
      } else {
        connection.answer(stream, "stream \(stream)")
      }
    }
    let channel = RPCChannel(server.endpoint)
    #expect(try await channel.unary(Self.whoami, Text()).name == "stream 3")
    await channel.close()
    try await server.close()
  }

  @Test func aCallAboveTheLastStreamOfAGoodbyeIsMadeAgainElsewhere() async throws {
    let server = try await ScriptedServer { connection, event in
      guard case .headers(let stream, _, _) = event else { return }
      if connection.number == 1 { return connection.goAway(lastStream: 0) }
      connection.answer(stream, "connection \(connection.number)")
    }
    let channel = RPCChannel(server.endpoint)
    #expect(try await channel.unary(Self.whoami, Text()).name == "connection 2")
    await channel.close()
    try await server.close()
  }

  @Test func aServerThatAlwaysRefusesIsNotAskedForEver() async throws {
    let asked = Counter()
    let server = try await ScriptedServer { connection, event in
      guard case .headers(let stream, _, _) = event else { return }
      asked.increment()
      connection.session.reset(stream, ErrorCode.refusedStream)
    }
    let channel = RPCChannel(server.endpoint)
    let error = await rpcError { _ = try await channel.unary(Self.whoami, Text()) }
    #expect(error?.code == .unavailable)
    #expect(asked.value == 2)
    await channel.close()
    try await server.close()
  }

  // MARK: The channel's end

  @Test func aChannelThatIsDrainedFinishesItsCallsAndTakesNoMore() async throws {
    let started = Signal()
    let mayEnd = Signal()
    let service = TestService { router in
      router.unary(Self.hang) { request, _ in
        started.raise()
        await mayEnd.wait()
        return request
      }
    }
    try await withServer(service) { channel in
      async let answer = channel.unary(Self.hang, Text("done"))
      await started.wait()
      async let drained: Void = channel.drain()
      // Until the channel has heard of it, calls are taken.
      while true {
        do { try await channel.expectEcho("one more") } catch let error as RPCError {
          #expect(error.code == .cancelled)
          break
        }
      }
      #expect(channel.state == .ready || channel.state == .idle)
      mayEnd.raise()
      #expect(try await answer == Text("done"))
      await drained
      #expect(channel.state == .shutdown)
    }
  }

  @Test func aChannelWithoutCallsIsDrainedAtOnce() async throws {
    let unused = RPCChannel(Self.nobody)
    await unused.drain()
    #expect(unused.state == .shutdown)
    try await withServer(TestService { _ in }) { channel in
      try await channel.expectEcho("hello")
      await channel.drain()
      await channel.drain()
      #expect(channel.state == .shutdown)
    }
  }

  @Test func cancellingADrainEndsTheCalls() async throws {
    let started = Signal()
    let cancelled = Signal()
    let service = TestService { router in
      router.unary(Self.hang) { request, _ in
        started.raise()
        await cancelled.raiseWhenCancelled()
        return request
      }
    }
    try await withServer(service) { channel in
      async let error = rpcError { _ = try await channel.unary(Self.hang, Text()) }
      await started.wait()
      let draining = Task { await channel.drain() }
      draining.cancel()
      await draining.value
      #expect(await error?.code == .cancelled)
      await cancelled.wait()
    }
  }

  @Test func closingEndsTheCallsThatWait() async throws {
    let channel = RPCChannel(Self.nobody, limits: Self.impatient)
    async let error = rpcError { try await channel.expectEcho("", options: CallOptions(waitForReady: true)) }
    for await state in channel.states where state == .transientFailure { break }
    await channel.close()
    #expect(await error?.code == .cancelled)
  }
}
