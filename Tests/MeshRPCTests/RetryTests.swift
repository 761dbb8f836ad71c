import HTTP2Session
import MeshRPC
import Messages
import Testing

/// Calls that are made again, over real sockets.
@Suite(.timeLimit(.minutes(2))) struct RetryTests {
  static let flaky = TextMethod(service: "test.Retries", method: "Flaky")
  static let stream = TextMethod(service: "test.Retries", method: "Stream")

  /// No retry waits long.
  static let rules = RetryRules(
    policy: RetryPolicy(
      backoff: ExponentialBackoff(initial: .milliseconds(2), multiplier: 2, maximum: .milliseconds(10))))

  /// Fails until its caller has tried often enough; answers how often it had.
  static func service(failures: Int, _ calls: Counter, metadata: Metadata = [:]) -> TestService {
    TestService { router in
      router.unary(flaky) { request, call in
        calls.increment()
        let previous = call.metadata["grpc-previous-rpc-attempts"].flatMap(Int.init) ?? 0
        guard previous >= failures else { throw RPCError(.unavailable, "not yet", metadata: metadata) }
        return Text("\(previous) \(request.name.utf8.count)")
      }
    }
  }

  /// A channel with rules to a server of its own.
  static func withServer(
    _ service: TestService, _ rules: RetryRules, _ body: (RPCChannel) async throws -> Void
  ) async throws {
    let server = try await RunningServer(service)
    let channel = RPCChannel(server.endpoint, retries: rules)
    try await body(channel)
    await channel.close()
    try await server.stop()
  }

  @Test func aCallIsMadeAgainUntilItSucceeds() async throws {
    let calls = Counter()
    try await Self.withServer(Self.service(failures: 2, calls), Self.rules) { channel in
      let answer = try await channel.unary(Self.flaky, Text(String(repeating: "x", count: 1 << 20)))
      #expect(answer.name == "2 \(1 << 20)")
      #expect(calls.value == 3)
    }
  }

  @Test func aCallThatFailsTooOftenEndsAsItsLastAttempt() async throws {
    let calls = Counter()
    try await Self.withServer(Self.service(failures: 100, calls), Self.rules) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.flaky, Text()) }
      #expect(error == RPCError(.unavailable, "not yet"))
      #expect(calls.value == 4)
    }
  }

  @Test func withoutAPolicyACallIsMadeOnce() async throws {
    var excepted = Self.rules
    excepted.methods[Self.flaky.path] = .once
    for rules in [RetryRules(), excepted] {
      let calls = Counter()
      try await Self.withServer(Self.service(failures: 1, calls), rules) { channel in
        let error = await rpcError { _ = try await channel.unary(Self.flaky, Text()) }
        #expect(error?.code == .unavailable)
        #expect(calls.value == 1)
      }
    }
  }

  @Test func aServerCanForbidMoreAttempts() async throws {
    let calls = Counter()
    let service = Self.service(failures: 1, calls, metadata: ["grpc-retry-pushback-ms": "-1"])
    try await Self.withServer(service, Self.rules) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.flaky, Text()) }
      #expect(error?.metadata["grpc-retry-pushback-ms"] == "-1")
      #expect(calls.value == 1)
    }
  }

  @Test func aServerCanNameTheDelay() async throws {
    var rules = Self.rules
    rules.policy?.backoff.initial = .seconds(3600)
    rules.policy?.backoff.maximum = .seconds(3600)
    let calls = Counter()
    let service = Self.service(failures: 1, calls, metadata: ["grpc-retry-pushback-ms": "1"])
    try await Self.withServer(service, rules) { channel in
      let answer = try await channel.unary(Self.flaky, Text())
      #expect(answer.name == "1 0")
    }
  }

  @Test func anAttemptThatWouldComeTooLateIsNotWaitedFor() async throws {
    var rules = Self.rules
    rules.policy?.backoff.initial = .seconds(3600)
    rules.policy?.backoff.maximum = .seconds(3600)
    try await Self.withServer(Self.service(failures: 1, Counter()), rules) { channel in
      let error = await rpcError {
        _ = try await channel.unary(Self.flaky, Text(), options: CallOptions(timeout: .seconds(60)))
      }
      #expect(error == RPCError(.unavailable, "not yet"))
    }
  }

  @Test func aCallBetweenItsAttemptsCanBeGivenUp() async throws {
    var rules = Self.rules
    rules.policy?.backoff.initial = .seconds(3600)
    rules.policy?.backoff.maximum = .seconds(3600)
    let calls = Counter()
    try await Self.withServer(Self.service(failures: 1, calls), rules) { channel in
      let call = Task { await rpcError { _ = try await channel.unary(Self.flaky, Text()) } }
      while calls.value == 0 { try await channel.expectEcho("") }
      // What comes after the failed attempt on the connection has heard of it.
      try await channel.expectEcho("")
      call.cancel()
      #expect(await call.value?.code == .cancelled)
    }
  }

  @Test func theBudgetIsSharedByAllCalls() async throws {
    var rules = Self.rules
    rules.budget = RetryBudget(maximumTokens: 4, tokenRatio: 0)
    let calls = Counter()
    try await Self.withServer(Self.service(failures: 1, calls), rules) { channel in
      let answer = try await channel.unary(Self.flaky, Text())
      #expect(answer.name == "1 0")
      let error = await rpcError { _ = try await channel.unary(Self.flaky, Text()) }
      #expect(error?.code == .unavailable, "half of the tokens are gone")
      #expect(calls.value == 3)
    }
  }

  @Test func aServerStreamIsMadeAgainUntilItsAnswerBegins() async throws {
    let calls = Counter()
    let service = TestService { router in
      router.serverStreaming(Self.stream) { request, responses, _ in
        calls.increment()
        if calls.value == 1 { throw RPCError(.unavailable, "not yet") }
        try await responses.write(request)
        throw RPCError(.unavailable, "not any more")
      }
    }
    try await Self.withServer(service, Self.rules) { channel in
      var iterator = try await channel.serverStreaming(Self.stream, Text("one")).makeAsyncIterator()
      #expect(try await iterator.next() == Text("one"))
      let error = await rpcError { _ = try await iterator.next() }
      #expect(error == RPCError(.unavailable, "not any more"))
      #expect(calls.value == 2)
    }
  }

  @Test func aCallThatLostItsConnectionIsMadeAgainOnAnother() async throws {
    let server = try await ScriptedServer { connection, event in
      guard case .headers(let stream, let fields, _) = event else { return }
      if connection.number == 1 { return connection.close() }
      let isSecond = fields["grpc-previous-rpc-attempts"] == "1"
      let timeout = fields["grpc-timeout"] ?? ""
      connection.answer(stream, isSecond && !timeout.isEmpty ? "second" : "\(fields.fields)")
    }
    let channel = RPCChannel(server.endpoint, retries: Self.rules)
    let options = CallOptions(timeout: .seconds(60))
    #expect(try await channel.unary(Self.flaky, Text(), options: options).name == "second")
    await channel.close()
    try await server.close()
  }

  @Test func aCallThatFoundNobodyIsMadeAgainToo() async throws {
    var limits = ChannelLimits()
    limits.reconnect = ExponentialBackoff(initial: .milliseconds(1), multiplier: 1, maximum: .milliseconds(1))
    let endpoint = SocketEndpoint.unix(path: temporarySocketPath())
    var rules = Self.rules
    // Between its first two attempts there is time for the server to come, however busy the machine.
    rules.policy?.backoff = ExponentialBackoff(initial: .seconds(8), multiplier: 1, maximum: .seconds(8))
    let channel = RPCChannel(endpoint, limits: limits, retries: rules)
    async let answer: Void = channel.expectEcho("hello")
    for await state in channel.states where state == .transientFailure { break }
    let server = try await RunningServer(TestService { _ in }, at: endpoint)
    try await answer
    await channel.close()
    try await server.stop()
  }
}
