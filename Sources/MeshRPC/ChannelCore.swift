import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// The one connection of a channel, and the calls that wait for it.
///
/// Sendable because everything but the constants and `beginnings` is touched on the event loop alone.
final class ChannelCore: @unchecked Sendable {
  let endpoint: SocketEndpoint
  let authority: String
  let limits: ChannelLimits
  private let security: (any ClientSecurity)?
  let eventLoop: any EventLoop

  private enum State {
    case idle
    case connecting(waiting: [ClientStream])
    case connected(ClientConnection)
    case closed
  }

  private var state = State.idle
  /// Nobody can make calls any more.
  private var isAbandoned = false
  private var deadlines = DeadlineTimer()
  /// Calls that other threads begin; one hop to the loop takes all that there are.
  private let beginnings = Mutex<[@Sendable () -> Void]>([])

  init(
    _ endpoint: SocketEndpoint, security: (any ClientSecurity)?, limits: ChannelLimits, eventLoop: any EventLoop
  ) {
    self.endpoint = endpoint
    if case .tcp = endpoint { self.security = security } else { self.security = nil }
    authority = endpoint.authority
    self.limits = limits
    self.eventLoop = eventLoop
  }

  /// The `:scheme` of calls.
  var scheme: String { security == nil ? "http" : "https" }

  // MARK: Calls

  /// Begins a call on the loop, after `prepare`, from any thread.
  func onLoop(beginning stream: ClientStream, _ prepare: @escaping @Sendable (ClientStream) -> Void) {
    let beginning: @Sendable () -> Void = {
      prepare(stream)
      self.begin(stream)
    }
    if eventLoop.inEventLoop { return beginning() }
    let isFirst = beginnings.withLock { beginnings in
      beginnings.append(beginning)
      return beginnings.count == 1
    }
    guard isFirst else { return }
    eventLoop.execute {
      let beginnings = self.beginnings.withLock { beginnings in
        defer { beginnings = [] }
        return beginnings
      }
      for beginning in beginnings { beginning() }
    }
  }

  private func begin(_ stream: ClientStream) {
    guard stream.mayBegin() else { return }
    switch state {
    case .connected(let connection): connection.open(stream)
    case .idle: connect(waiting: stream)
    case .closed: stream.end(closedError)
    case .connecting(var waiting):
      waiting.append(stream)
      state = .connecting(waiting: waiting)
      armDeadline(stream.deadline)
    }
  }

  /// Ends a call that has begun; one that has not is kept from it by its own mark.
  func giveUp(_ stream: ClientStream, _ error: RPCError) {
    if let connection = stream.connection { return connection.fail(stream, error) }
    guard case .connecting(var waiting) = state, let index = waiting.firstIndex(where: { $0 === stream }) else {
      return
    }
    waiting.remove(at: index)
    state = .connecting(waiting: waiting)
    stream.end(error)
  }

  private func armDeadline(_ deadline: NIODeadline?) {
    guard let deadline else { return }
    deadlines.arm(for: deadline, on: eventLoop) { [weak self] in self?.endLateCalls() }
  }

  private func endLateCalls() {
    deadlines.fired()
    guard case .connecting(let waiting) = state else { return }
    armDeadline(
      waiting.endLate {
        giveUp($0, RPCError(.deadlineExceeded, "the deadline passed before there was a connection to \(endpoint)"))
      })
  }

  // MARK: The connection

  private func connect(waiting stream: ClientStream) {
    state = .connecting(waiting: [stream])
    armDeadline(stream.deadline)
    let bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(TimeAmount(limits.connectTimeout))
      .channelInitializer { channel in
        // An address may be tried after another: each attempt has a handler of its own.
        channel.eventLoop.makeCompletedFuture {
          let connection = try ClientConnection(channel: self)
          if self.security != nil { connection.sharedByteCount = .max }
          connection.secured = try self.security?.secure(
            channel, to: self.endpoint, within: TimeAmount(self.limits.connectTimeout))
          try channel.pipeline.syncOperations.addHandler(connection)
        }
      }
    let attempt =
      switch endpoint {
      case .tcp(let host, let port):
        bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1).connect(host: host, port: port)
      case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
      }
    attempt.hop(to: eventLoop).flatMap { channel in
      self.secured(channel)
    }.whenComplete { result in
      self.attemptEnded(result)
    }
  }

  /// The connection, when its server has shown that it is the right one; a channel that has not is closed.
  private func secured(_ channel: any Channel) -> EventLoopFuture<ClientConnection> {
    do {
      let connection = try channel.pipeline.syncOperations.handler(type: ClientConnection.self)
      guard let secured = connection.secured else { return eventLoop.makeSucceededFuture(connection) }
      secured.whenFailure { _ in channel.close(promise: nil) }
      return secured.map { connection }
    } catch {
      return eventLoop.makeFailedFuture(error)
    }
  }

  private func attemptEnded(_ result: Result<ClientConnection, any Error>) {
    deadlines.cancel()
    guard case .connecting(let waiting) = state else {
      if case .success(let connection) = result { connection.close() }
      return
    }
    switch result {
    case .failure(let error):
      state = .idle
      let error = RPCError(.unavailable, "no connection to \(endpoint): \(reason(error))")
      for stream in waiting { stream.end(error) }
    case .success(let connection) where connection.context == nil:
      // It was closed before we could hear of it.
      state = .idle
      for stream in waiting { stream.end(connection.lostError) }
    case .success(let connection):
      state = .connected(connection)
      for stream in waiting { connection.open(stream) }
      if isAbandoned { connection.drain() }
    }
  }

  /// The connection takes no more calls: the next one makes another.
  func ended(_ connection: ClientConnection) {
    if case .connected(let current) = state, current === connection { state = .idle }
  }

  private func reason(_ error: any Error) -> String {
    func words(_ code: CInt) -> String { "\(String(cString: strerror(code))) (errno \(code))" }
    switch error {
    case let error as IOError: return words(error.errnoCode)
    case let error as NIOConnectionError:
      if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty { return "\(dns)" }
      return error.connectionErrors.map { reason($0.error) }.joined(separator: "; ")
    case ChannelError.connectTimeout: return "no answer within \(limits.connectTimeout)"
    case let error as RPCError: return error.message
    default: return "\(error)"
    }
  }

  // MARK: The end

  private var closedError: RPCError { RPCError(.cancelled, "the channel to \(endpoint) is closed") }

  /// Ends all calls; returns when the connection is closed.
  func close() async {
    let closed = eventLoop.flatSubmit { () -> EventLoopFuture<Void> in
      let before = self.state
      self.state = .closed
      switch before {
      case .idle, .closed: break
      case .connecting(let waiting):
        for stream in waiting { stream.end(self.closedError) }
      case .connected(let connection):
        guard let channel = connection.context?.channel else { break }
        connection.stop(self.closedError)
        return channel.closeFuture
      }
      return self.eventLoop.makeSucceededVoidFuture()
    }
    // The future carries how the socket was closed, which does not matter any more.
    try? await closed.get()
  }

  /// Closes when the last call has ended, from any thread.
  func abandon() {
    eventLoop.execute {
      self.isAbandoned = true
      if case .connected(let connection) = self.state { connection.drain() }
    }
  }
}
