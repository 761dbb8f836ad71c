import MeshRPC
import Messages
import Synchronization
import Testing

/// What runs around handlers.
@Suite(.timeLimit(.minutes(2))) struct ServerInterceptorTests {
  static let method = TextMethod(service: "test.Interceptors", method: "Call")
  static let stream = TextMethod(service: "test.Interceptors", method: "Stream")

  @TaskLocal static var trace = "none"

  /// Notes when it is entered and left, with the status that it saw.
  private struct Note: ServerInterceptor {
    let name: String
    let log: Log

    func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
      log.add("\(name) enters \(call.path)")
      do {
        try await next()
        log.add("\(name) leaves")
      } catch let error as RPCError {
        log.add("\(name) sees \(error.code)")
        throw error
      }
    }
  }

  private struct Refuse: ServerInterceptor {
    func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
      guard call.metadata["token"] == "good" else { throw RPCError(.unauthenticated, "no token") }
      try await next()
    }
  }

  private struct Trace: ServerInterceptor {
    func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
      try await ServerInterceptorTests.$trace.withValue(call.metadata["trace"] ?? "none") { try await next() }
    }
  }

  private final class Log: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
  }

  @Test func interceptorsRunAroundTheHandlerTheFirstOutermost() async throws {
    let log = Log()
    let service = TestService { router in
      router.unary(Self.method) { request, _ in
        log.add("handler")
        return request
      }
    }
    try await withServer(service, interceptors: [Note(name: "a", log: log), Note(name: "b", log: log)]) { channel in
      _ = try await channel.unary(Self.method, Text())
    }
    let path = Self.method.path
    #expect(log.all == ["a enters \(path)", "b enters \(path)", "handler", "b leaves", "a leaves"])
  }

  @Test func aRefusedCallEndsWithTheInterceptorsStatusAndReachesNoHandler() async throws {
    let log = Log()
    let service = TestService { router in
      router.unary(Self.method) { request, _ in
        log.add("handler")
        return request
      }
    }
    try await withServer(service, interceptors: [Note(name: "a", log: log), Refuse()]) { channel in
      let refused = await rpcError { _ = try await channel.unary(Self.method, Text()) }
      #expect(refused == RPCError(.unauthenticated, "no token"))
      #expect(log.all == ["a enters \(Self.method.path)", "a sees unauthenticated"])
      _ = try await channel.unary(Self.method, Text(), options: CallOptions(metadata: ["token": "good"]))
      #expect(log.all.contains("handler"))
    }
  }

  @Test func taskLocalValuesOfAnInterceptorReachTheHandler() async throws {
    let service = TestService { router in
      router.unary(Self.method) { _, _ in Text(Self.trace) }
      router.bidirectional(Self.stream) { requests, responses, _ in
        for try await _ in requests { try await responses.write(Text(Self.trace)) }
      }
    }
    try await withServer(service, interceptors: [Trace()]) { channel in
      let options = CallOptions(metadata: ["trace": "t-1"])
      #expect(try await channel.unary(Self.method, Text(), options: options) == Text("t-1"))
      #expect(try await channel.unary(Self.method, Text()) == Text("none"))
      let call = try await channel.bidirectional(Self.stream, options: CallOptions(metadata: ["trace": "t-2"]))
      var iterator = call.responses.makeAsyncIterator()
      try await call.write(Text())
      #expect(try await iterator.next() == Text("t-2"))
      call.finishWriting()
      #expect(try await iterator.next() == nil)
    }
  }

  @Test func anInterceptorMayTurnAnAnswerIntoAnError() async throws {
    struct Sour: ServerInterceptor {
      func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
        try await next()
        call.setTrailingMetadata(["seen": "yes"])
        throw RPCError(.dataLoss, "too good to be true")
      }
    }
    try await withServer(TestService { _ in }, interceptors: [Sour()]) { channel in
      let error = await rpcError { _ = try await channel.unary(echo, Text()) }
      #expect(error?.code == .dataLoss)
      #expect(error?.metadata["seen"] == "yes")
    }
  }
}
