import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Serves services on any number of endpoints.
public final class RPCServer: Sendable {
  private let router: Router
  private let limits: ServerLimits
  private let arrivals: Arrivals
  private let group: MultiThreadedEventLoopGroup
  private let state = Mutex(State())
  /// Ends when the server shall.
  private let stops = AsyncStream.makeStream(of: Void.self)

  private struct State {
    var listeners: [any Channel] = []
    var connections: [ObjectIdentifier: (channel: any Channel, connection: ServerConnection)] = [:]
    var unixPaths: [String] = []
    var isStopped = false
  }

  /// - Parameter arrivals: told of connections whose handshakes are under way.
  public init(
    services: [any RPCService], interceptors: [any ServerInterceptor] = [], limits: ServerLimits = ServerLimits(),
    arrivals: Arrivals = Arrivals(), eventLoopGroup: MultiThreadedEventLoopGroup = .singleton
  ) {
    var router = Router()
    for service in services { service.register(in: &router) }
    router.intercept(interceptors)
    self.router = router
    self.limits = limits
    self.arrivals = arrivals
    group = eventLoopGroup
  }

  /// Listens; answers where, with port 0 resolved. Throws `RPCError` that says who is in the way.
  ///
  /// - Parameter security: What a TCP listener's connections go through first; nil: plain text.
  public func bind(
    _ endpoint: SocketEndpoint, security: (any ServerSecurity)? = nil
  ) async throws -> SocketEndpoint {
    do {
      switch endpoint {
      case .tcp(let host, let port):
        let channel = try await bootstrap(security).bind(host: host, port: port).get()
        return try await accept(channel, .tcp(host: host, port: channel.localAddress?.port ?? port))
      case .unix(let path):
        try removeStaleSocket(path)
        let channel = try await bootstrap().bind(unixDomainSocketPath: path).get()
        state.withLock { $0.unixPaths.append(path) }
        return try await accept(channel, endpoint)
      }
    } catch let error as IOError where error.errnoCode == EADDRINUSE {
      throw RPCError(
        .unavailable, "\(endpoint) is in use by another process: stop it, or choose another endpoint to listen on")
    } catch let error as IOError {
      throw RPCError(.unavailable, "cannot listen on \(endpoint): \(String(cString: strerror(error.errnoCode)))")
    }
  }

  /// Serves a socket that listens already and was inherited. The server closes it at its end.
  public func serve(listeningSocket: CInt) async throws {
    let channel = try await bootstrap().withBoundSocket(listeningSocket).get()
    _ = try await accept(channel, .unix(path: "/"))
  }

  /// Runs until the task is cancelled or `shutDown` is called. Then no more connections are taken, calls in flight may go on
  /// for `ServerLimits.drainTimeout`, what is left ends with UNAVAILABLE, and everything closes.
  public func run() async throws {
    for await _ in stops.stream {}
    let (listeners, connections, paths) = state.withLock { state in
      state.isStopped = true
      return (state.listeners, Array(state.connections.values), state.unixPaths)
    }
    for listener in listeners { try? await listener.close().get() }
    for path in paths { unlink(path) }
    for (channel, connection) in connections {
      channel.eventLoop.execute {
        // One that is still in its security's hands has no call.
        if connection.context == nil { return channel.close(promise: nil) }
        connection.drain(within: self.limits.drainTimeout)
      }
    }
    for (channel, _) in connections { try? await channel.closeFuture.get() }
  }

  /// Has `run` end as if its task were cancelled.
  public func shutDown() { stops.continuation.finish() }

  private func bootstrap(_ security: (any ServerSecurity)? = nil) -> ServerBootstrap {
    ServerBootstrap(group: group)
      // A rack's agents come back all at once.
      .serverChannelOption(.backlog, value: 4096)
      .serverChannelOption(.maxMessagesPerRead, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      // The channel keeps its buffer; most connections of a rack are quiet, and a busy one's grows with what comes.
      .childChannelOption(
        .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 512, maximum: 64 << 10)
      )
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try self.admit(channel, security) }
      }
  }

  private func accept(_ channel: any Channel, _ endpoint: SocketEndpoint) async throws -> SocketEndpoint {
    let isStopped = state.withLock { state in
      state.listeners.append(channel)
      return state.isStopped
    }
    if isStopped { try await channel.close().get() }
    return endpoint
  }

  private func admit(_ channel: any Channel, _ security: (any ServerSecurity)?) throws {
    let connection = try ServerConnection(
      router: router, limits: limits, peer: PeerAddress(of: channel), arrivals: arrivals, eventLoop: channel.eventLoop)
    let identifier = ObjectIdentifier(channel)
    let isAdmitted = state.withLock { state in
      guard state.connections.count < limits.maximumConnections, !state.isStopped else { return false }
      state.connections[identifier] = (channel, connection)
      return true
    }
    guard isAdmitted else { throw RPCError(.resourceExhausted, "too many connections") }
    connection.beginArrival()
    channel.closeFuture.whenComplete { _ in
      connection.endArrival()
      self.state.withLock { $0.connections[identifier] = nil }
    }
    if security != nil { connection.isSecured() }
    try security?.secure(channel, within: TimeAmount(limits.handshakeTimeout)).whenComplete { result in
      switch result {
      case .success(let names): connection.peer.identity = names
      case .failure: channel.close(promise: nil)
      }
    }
    try channel.pipeline.syncOperations.addHandler(connection)
  }

  /// A socket file that nobody answers on was left by a process that ended.
  private func removeStaleSocket(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
    let address = try SocketAddress(unixDomainSocketPath: path)
    let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard probe >= 0 else { return }
    defer { Glibc.close(probe) }
    let result = address.withSockAddr { connect(probe, $0, socklen_t($1)) }
    if result != 0, errno == ECONNREFUSED { unlink(path) }
  }
}

extension PeerAddress {
  /// Mirrors `struct ucred` (unix(7)), which Glibc's module leaves out.
  private struct Credentials {
    var processID: Int32 = 0
    var userID: UInt32 = 0
    var groupID: UInt32 = 0
  }

  fileprivate init(of channel: any Channel) {
    guard case .unixDomainSocket? = channel.localAddress, let provider = channel as? any SocketOptionProvider else {
      self.init(description: channel.remoteAddress.map { "\($0)" } ?? "unknown", unixCredentials: nil)
      return
    }
    let option: EventLoopFuture<Credentials> = provider.unsafeGetSocketOption(
      level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
    // On the channel's own loop the answer is there at once.
    let answer = NIOLoopBoundBox<Credentials?>(nil, eventLoop: channel.eventLoop)
    option.whenSuccess { answer.value = $0 }
    let found = answer.value
    self.init(
      description: found.map { "unix: process \($0.processID), user \($0.userID)" } ?? "unix",
      unixCredentials: found.map {
        UnixCredentials(processID: $0.processID, userID: $0.userID, groupID: $0.groupID)
      })
  }
}
