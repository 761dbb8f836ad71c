import MeshRPC
import Messages
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct ClientInterceptorTests {
  /// Adds a word to each call's metadata, and keeps what it hears of their ends.
  private final class Recorder: ClientInterceptor {
    let word: String
    let refusal: RPCError?
    private let recorded = Mutex<[CallEnd]>([])

    init(_ word: String, refusal: RPCError? = nil) {
      self.word = word
      self.refusal = refusal
    }

    var ends: [CallEnd] { recorded.withLock { $0 } }

    func callBegins(_ path: String, _ options: inout CallOptions) async throws -> CallObserver? {
      if let refusal { throw refusal }
      options.metadata.add("words", .text(word))
      return { end in self.recorded.withLock { $0.append(end) } }
    }
  }

  static let words = TextMethod(service: "test.Interceptors", method: "Words")
  static let stream = TextMethod(service: "test.Interceptors", method: "Stream")

  static let service = TestService { router in
    router.unary(words) { request, call in
      if request.name == "fail" { throw RPCError(.notFound, "no words") }
      if request.name == "flaky", call.metadata["grpc-previous-rpc-attempts"] == nil {
        throw RPCError(.unavailable, "not yet")
      }
      let entries = call.metadata.entries.filter { $0.name == "words" }
      return Text(entries.map { "\($0.value)" }.joined(separator: " "))
    }
    router.serverStreaming(stream) { request, responses, _ in try await responses.write(request) }
  }

  private static func withChannel(
    _ interceptors: [any ClientInterceptor], _ body: (RPCChannel) async throws -> Void
  ) async throws {
    let server = try await RunningServer(service)
    let rules = RetryRules(
      policy: RetryPolicy(backoff: ExponentialBackoff(initial: .milliseconds(1), multiplier: 1, maximum: .seconds(1))))
    let channel = RPCChannel(server.endpoint, retries: rules, interceptors: interceptors)
    try await body(channel)
    await channel.close()
    try await server.stop()
  }

  @Test func interceptorsAreAskedInOrderAndToldOfTheEnd() async throws {
    let (first, second) = (Recorder("one"), Recorder("two"))
    try await Self.withChannel([first, second]) { channel in
      let answer = try await channel.unary(Self.words, Text())
      #expect(answer.name == "text(\"one\") text(\"two\")")
      for recorder in [first, second] {
        #expect(recorder.ends.map(\.path) == [Self.words.path])
        #expect(recorder.ends.map(\.code) == [.ok])
        #expect(recorder.ends.allSatisfy { $0.duration > .zero })
      }
    }
  }

  @Test func aFailedCallIsToldWithItsErrorAndItsAttempts() async throws {
    let recorder = Recorder("")
    try await Self.withChannel([recorder]) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.words, Text("fail")) }
      _ = try await channel.unary(Self.words, Text("flaky"))
      #expect(recorder.ends.map(\.error) == [error, nil])
      #expect(recorder.ends.map(\.previousAttempts) == [0, 1])
    }
  }

  @Test func aStreamEndsWithItsLastMessage() async throws {
    let recorder = Recorder("")
    try await Self.withChannel([recorder]) { channel in
      var received = 0
      for try await _ in try await channel.serverStreaming(Self.stream, Text("one")) { received += 1 }
      #expect(received == 1)
      #expect(recorder.ends.map(\.code) == [.ok])
    }
  }

  @Test func aCallThatIsRefusedIsNotMade() async throws {
    let (first, second) = (Recorder("one"), Recorder("two", refusal: RPCError(.unauthenticated, "no token")))
    try await Self.withChannel([first, second]) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.words, Text()) }
      #expect(error == RPCError(.unauthenticated, "no token"))
      #expect(first.ends.map(\.error) == [error])
      #expect(channel.state == .idle)
    }
  }
}
