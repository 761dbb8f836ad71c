import MeshRPC
import Messages
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A message with one string: what these tests send both ways.
typealias Text = GetClaimRequest

extension Text {
  init(_ text: String) {
    self.init()
    name = text
  }
}

typealias TextMethod = MethodDescriptor<Text, Text>

/// A service that is put together inside a test.
struct TestService: RPCService {
  let build: @Sendable (inout Router) -> Void

  init(_ build: @escaping @Sendable (inout Router) -> Void) { self.build = build }

  func register(in router: inout Router) { build(&router) }
}

let echo = TextMethod(service: "test.Echo", method: "Echo")

/// A service that every test server offers.
let echoService = TestService { router in
  router.unary(echo) { request, _ in request }
}

/// Runs a server on a port of its own and a channel to it, until `body` returns.
func withServer<Result: Sendable>(
  _ service: TestService, interceptors: [any ServerInterceptor] = [], limits: ServerLimits = ServerLimits(),
  channelLimits: ChannelLimits = ChannelLimits(),
  _ body: @Sendable (RPCChannel) async throws -> Result
) async throws -> Result {
  let server = RPCServer(services: [service, echoService], interceptors: interceptors, limits: limits)
  let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
  return try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await server.run() }
    defer { group.cancelAll() }
    let channel = RPCChannel(endpoint, limits: channelLimits)
    do {
      let result = try await body(channel)
      await channel.close()
      return result
    } catch {
      await channel.close()
      throw error
    }
  }
}

/// A server that a test stops when it likes.
struct RunningServer {
  let endpoint: SocketEndpoint
  private let running: Task<Void, any Error>

  init(
    _ service: TestService, limits: ServerLimits = ServerLimits(),
    at endpoint: SocketEndpoint = .tcp(host: "127.0.0.1", port: 0)
  ) async throws {
    let server = RPCServer(services: [service, echoService], limits: limits)
    self.endpoint = try await server.bind(endpoint)
    running = Task { try await server.run() }
  }

  func stop() async throws {
    running.cancel()
    try await running.value
  }
}

/// The error that `body` throws; nil, and a failure of the test, if it throws none.
func rpcError(
  _ sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async -> RPCError? {
  do {
    try await body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  } catch let error as RPCError {
    return error
  } catch {
    Issue.record("\(error) is no RPCError", sourceLocation: sourceLocation)
  }
  return nil
}

/// Something that happens once; tasks wait for it.
final class Signal: Sendable {
  private struct State {
    var isRaised = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  var isRaised: Bool { state.withLock { $0.isRaised } }

  func raise() {
    let waiting = state.withLock { state in
      state.isRaised = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  func wait() async {
    await withCheckedContinuation { continuation in
      let isRaised = state.withLock { state in
        if !state.isRaised { state.waiting.append(continuation) }
        return state.isRaised
      }
      if isRaised { continuation.resume() }
    }
  }

  /// Waits until the task is cancelled, and raises then.
  func raiseWhenCancelled() async {
    let forever = Signal()
    await withTaskCancellationHandler {
      await forever.wait()
    } onCancel: {
      forever.raise()
    }
    raise()
  }
}

/// A connection without any protocol: bytes out, bytes in.
struct RawConnection {
  private final class Collector: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let received: AsyncStream<[UInt8]>.Continuation

    init(_ received: AsyncStream<[UInt8]>.Continuation) { self.received = received }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      received.yield(Array(unwrapInboundIn(data).readableBytesView))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    func channelInactive(context: ChannelHandlerContext) { received.finish() }
  }

  let channel: any Channel
  /// What the other side sends, until it closes.
  let received: AsyncStream<[UInt8]>

  /// - Parameter reads: Whether it takes what the other side sends.
  init(_ endpoint: SocketEndpoint, reads: Bool = true) async throws {
    let (received, continuation) = AsyncStream.makeStream(of: [UInt8].self)
    self.received = received
    let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer { channel in
      channel.pipeline.addHandler(Collector(continuation))
    }.channelOption(.autoRead, value: reads)
    switch endpoint {
    case .tcp(let host, let port): channel = try await bootstrap.connect(host: host, port: port).get()
    case .unix(let path): channel = try await bootstrap.connect(unixDomainSocketPath: path).get()
    }
  }

  func send(_ bytes: [UInt8]) async throws {
    try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
  }

  /// Returns when the other side has closed, with all that it sent.
  func bytesUntilClosed() async -> [UInt8] {
    await received.reduce(into: []) { $0 += $1 }
  }
}

extension RPCChannel {
  /// Has the server echo `text`.
  func expectEcho(
    _ text: String, options: CallOptions = CallOptions(), _ sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let response = try await unary(echo, Text(text), options: options)
    #expect(response.name == text, sourceLocation: sourceLocation)
  }
}
