import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// A channel's connections, and the calls that wait for one: performs what `EndpointPool` and `CallAttempts` decide.
///
/// Sendable because everything but the constants, `beginnings` and `states` is touched on the event loop alone.
final class ChannelCore: @unchecked Sendable {
  let endpoints: [SocketEndpoint]
  let authority: String
  let limits: ChannelLimits
  private let security: (any ClientSecurity)?
  let eventLoop: any EventLoop
  let states = ChannelStates()
  private let retries: RetryRules

  private enum Ending {
    case open
    /// No new calls; those there are come to their end.
    case draining
    case closed
  }

  private var ending = Ending.open
  private var pool: EndpointPool
  /// For each endpoint the connection that is ready, or on the way to it.
  private var connections: [ClientConnection?]
  /// All that are open, also those that take no more calls.
  private var openConnections: [ObjectIdentifier: ClientConnection] = [:]
  private var lastError: RPCError
  /// Calls that need a connection.
  private var waiting: [ClientStream] = []
  /// Calls whose next attempt has a time.
  private var pausing: [ClientStream] = []
  private var deadlines = DeadlineTimer()
  private var tokens: RetryTokens
  private var draws: SeededDraws
  private var drained: [EventLoopPromise<Void>] = []
  private(set) var keepaliveInterval: Duration
  /// Calls that other threads begin; one hop to the loop takes all that there are.
  private let beginnings = Mutex<[@Sendable () -> Void]>([])

  init(
    _ endpoints: [SocketEndpoint], policy: EndpointPolicy, security: (any ClientSecurity)?, limits: ChannelLimits,
    retries: RetryRules, seed: UInt64, eventLoop: any EventLoop
  ) {
    precondition(!endpoints.isEmpty, "a channel needs an endpoint")
    self.endpoints = endpoints
    authority = endpoints[0].authority
    self.security = security
    self.limits = limits
    self.retries = retries
    self.eventLoop = eventLoop
    pool = EndpointPool(endpointCount: endpoints.count, policy: policy, backoff: limits.reconnect)
    connections = Array(repeating: nil, count: endpoints.count)
    lastError = RPCError(.unavailable, "no connection to \(endpoints[0])")
    tokens = RetryTokens(retries.budget)
    draws = SeededDraws(seed: seed)
    keepaliveInterval = limits.keepaliveInterval
  }

  /// The `:scheme` of calls.
  var scheme: String { security(for: 0) == nil ? "http" : "https" }

  private func security(for index: Int) -> (any ClientSecurity)? {
    if case .tcp = endpoints[index] { security } else { nil }
  }

  // MARK: Calls

  /// Begins a call on the loop, after `prepare`, from any thread.
  func onLoop(beginning stream: ClientStream, _ prepare: @escaping @Sendable (ClientStream) -> Void) {
    let beginning: @Sendable () -> Void = {
      prepare(stream)
      guard stream.mayBegin() else { return }
      if self.ending == .open { self.begin(stream) } else { stream.end(self.closedError) }
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

  /// Gives a call's attempt a connection, now or when there is one.
  func begin(_ stream: ClientStream) {
    if let index = pool.pick(), let connection = connections[index] { return connection.open(stream) }
    guard ending != .closed else { return stream.end(closedError) }
    guard let actions = pool.callWaits(forReady: stream.waitsForReady, at: .now) else { return unreachable(stream) }
    stream.isHeldUp()
    waiting.append(stream)
    armDeadline(stream.deadline)
    perform(actions)
  }

  /// Ends a call that has begun; one that has not is kept from it by its own mark.
  func giveUp(_ stream: ClientStream, _ error: RPCError) {
    if let connection = stream.connection { return connection.fail(stream, error) }
    if let index = waiting.firstIndex(where: { $0 === stream }) {
      waiting.remove(at: index)
      pool.callLeft(forReady: stream.waitsForReady)
    } else if let index = pausing.firstIndex(where: { $0 === stream }) {
      pausing.remove(at: index)
    } else {
      return
    }
    stream.end(error)
    settle()
  }

  private func armDeadline(_ deadline: NIODeadline?) {
    guard let deadline else { return }
    deadlines.arm(for: deadline, on: eventLoop) { [weak self] in self?.endLateCalls() }
  }

  private func endLateCalls() {
    deadlines.fired()
    armDeadline(
      (waiting + pausing).endLate {
        giveUp(
          $0, RPCError(.deadlineExceeded, "the deadline passed before the call could be made: \(lastError.message)"))
      })
  }

  // MARK: Attempts

  /// nil: a call that failed has no other attempt.
  func delayBeforeNextAttempt(of stream: ClientStream, after failure: AttemptFailure) -> Duration? {
    guard ending != .closed else { return nil }
    let policy = retries.isEmpty ? nil : retries.policy(for: stream.path)
    let verdict = stream.attempts.failed(failure, policy: policy, tokens: &tokens, draw: draws.next())
    guard case .again(let delay) = verdict else { return nil }
    // Nobody gains by waiting for a deadline: the failure says more.
    if let deadline = stream.deadline, deadline <= .after(delay) { return nil }
    return delay
  }

  func begin(_ stream: ClientStream, after delay: Duration) {
    stream.isHeldUp()
    if delay == .zero { return begin(stream) }
    pausing.append(stream)
    armDeadline(stream.deadline)
    eventLoop.scheduleTask(in: TimeAmount(delay)) { [weak self] in
      // It may have been given up meanwhile.
      guard let self, let index = self.pausing.firstIndex(where: { $0 === stream }) else { return }
      self.pausing.remove(at: index)
      self.begin(stream)
    }
  }

  func succeeded() {
    if !retries.isEmpty { tokens.succeeded() }
  }

  /// There is no connection for a call.
  private func unreachable(_ stream: ClientStream) {
    let failure = AttemptFailure(code: lastError.code, isCommitted: !stream.canBeMadeAgain)
    if let delay = delayBeforeNextAttempt(of: stream, after: failure) {
      begin(stream, after: delay)
    } else {
      stream.end(lastError)
    }
  }

  // MARK: What the pool decides

  private func perform(_ actions: [EndpointPool.Action]) {
    for action in actions {
      switch action {
      case .connect(let index): connect(index)
      case .pause(let index, let end):
        eventLoop.scheduleTask(in: TimeAmount(ContinuousClock.now.duration(to: end))) { [weak self] in
          guard let self else { return }
          self.perform(self.pool.pauseEnded(index, at: .now))
        }
      case .beginWaiting:
        let streams = waiting
        waiting = []
        for stream in streams { begin(stream) }
      case .failWaiting:
        let streams = waiting.filter { !$0.waitsForReady }
        waiting.removeAll { !$0.waitsForReady }
        for stream in streams { unreachable(stream) }
      }
    }
    states.change(to: pool.state)
    settle()
  }

  private func connect(_ index: Int) {
    // Nothing is read before there is somebody who reads it.
    let bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(TimeAmount(limits.connectTimeout))
      .channelOption(.autoRead, value: false)
    attempt(index, bootstrap).hop(to: eventLoop).flatMap { channel in
      self.begin(channel, to: index)
    }.whenComplete { result in
      self.attemptEnded(index, result)
    }
  }

  private func attempt(_ index: Int, _ bootstrap: ClientBootstrap) -> EventLoopFuture<any Channel> {
    switch endpoints[index] {
    case .tcp(let host, let port):
      let bootstrap = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
      // What is an address needs nobody to be asked for one.
      guard let address = try? SocketAddress(ipAddress: host, port: port) else {
        return bootstrap.connect(host: host, port: port)
      }
      return bootstrap.connect(to: address)
    case .unix(let path): return bootstrap.connect(unixDomainSocketPath: path)
    }
  }

  /// The connection, when its server has shown that it is the right one; a channel that has not is closed. What speaks TLS and
  /// HTTP/2 is made when somebody has answered: most attempts of a rack whose server is away are in vain, and cost nothing more.
  private func begin(_ channel: any Channel, to index: Int) -> EventLoopFuture<ClientConnection> {
    do {
      let connection = try ClientConnection(channel: self, index: index)
      var secured = eventLoop.makeSucceededVoidFuture()
      if let security = security(for: index) {
        connection.isSecured()
        secured = try security.secure(channel, to: endpoints[index], within: TimeAmount(limits.handshakeTimeout))
        secured.whenFailure { _ in channel.close(promise: nil) }
      }
      try channel.pipeline.syncOperations.addHandler(connection)
      try channel.syncOptions?.setOption(.autoRead, value: true)
      return secured.map { connection }
    } catch {
      channel.close(promise: nil)
      return eventLoop.makeFailedFuture(error)
    }
  }

  private func attemptEnded(_ index: Int, _ result: Result<ClientConnection, any Error>) {
    switch result {
    case .failure(let error): attemptFailed(index, reason(error))
    case .success(let connection) where ending == .closed: connection.close()
    case .success(let connection) where connection.context == nil:
      // It was closed before we could hear of it.
      attemptFailed(index, reasonForEarlyEnd(connection))
    case .success(let connection):
      connections[index] = connection
      openConnections[ObjectIdentifier(connection)] = connection
      if connection.hasSettings { isReady(connection) } else { connection.awaitSettings() }
    }
  }

  private func attemptFailed(_ index: Int, _ reason: String) {
    lastError = RPCError(.unavailable, "no connection to \(endpoints[index]): \(reason)")
    perform(pool.attemptFailed(index, at: .now, draw: draws.next()))
  }

  /// The server has shown that it speaks HTTP/2.
  func isReady(_ connection: ClientConnection) {
    guard connections[connection.index] === connection else { return }
    perform(pool.connected(connection.index, at: .now))
  }

  /// A connection takes no more calls.
  func ended(_ connection: ClientConnection) {
    let index = connection.index
    guard connections[index] === connection else { return }
    connections[index] = nil
    guard connection.hasSettings else { return attemptFailed(index, reasonForEarlyEnd(connection)) }
    lastError = connection.lostError
    perform(pool.ended(index, at: .now))
  }

  func closed(_ connection: ClientConnection) {
    openConnections[ObjectIdentifier(connection)] = nil
    settle()
  }

  /// A server has ended a connection because it was pinged too often. gRPC's servers bear a ping every five minutes unless
  /// they are told otherwise, and gRPC's keepalive design (gRFC A8) has the client slow down at least by half.
  func annoyedItsServer() { keepaliveInterval = max(keepaliveInterval * 2, .seconds(300)) }

  // MARK: Why there is no connection

  private func reasonForEarlyEnd(_ connection: ClientConnection) -> String {
    if let failure = connection.failure { return failure.message }
    if connection.isTooLate { return "it did not begin to speak HTTP/2 within \(limits.handshakeTimeout)" }
    return "it was closed before the server began to speak HTTP/2"
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

  private var closedError: RPCError { RPCError(.cancelled, "the channel to \(endpoints[0]) is closed") }

  // MARK: The end

  /// Ends all calls; returns when the connections are closed.
  func close() async {
    let closed = eventLoop.flatSubmit { () -> EventLoopFuture<Void> in
      let futures = self.openConnections.values.compactMap { $0.context?.channel.closeFuture }
      self.closeNow()
      return .andAllComplete(futures, on: self.eventLoop)
    }
    // The future carries how the sockets were closed, which does not matter any more.
    try? await closed.get()
  }

  private func closeNow() {
    guard ending != .closed else { return }
    ending = .closed
    pool.close()
    deadlines.cancel()
    let streams = waiting + pausing
    waiting = []
    pausing = []
    for stream in streams { stream.end(closedError) }
    for connection in openConnections.values.sorted(by: { $0.index < $1.index }) { connection.stop(closedError) }
    states.change(to: .shutdown)
    settle()
  }

  /// Takes no new calls; returns when those there are have ended and the connections are closed. Cancelling the task ends
  /// the calls.
  func drain() async {
    let done = eventLoop.makePromise(of: Void.self)
    eventLoop.execute {
      self.drained.append(done)
      self.beginDraining()
    }
    await withTaskCancellationHandler {
      try? await done.futureResult.get()
    } onCancel: {
      eventLoop.execute { self.closeNow() }
    }
  }

  /// Nobody can make calls any more: closes when the last call has ended. From any thread.
  func abandon() { eventLoop.execute { self.beginDraining() } }

  private func beginDraining() {
    if ending == .open {
      ending = .draining
      pool.drain()
    }
    settle()
  }

  /// Takes the end as far as the calls allow.
  private func settle() {
    if ending == .draining, waiting.isEmpty, pausing.isEmpty {
      for connection in connections { connection?.drain() }
      if openConnections.isEmpty { closeNow() }
    }
    guard ending == .closed, openConnections.isEmpty else { return }
    let promises = drained
    drained = []
    for promise in promises { promise.succeed() }
  }
}

/// Draws from 0 to 1; the same ones for a seed. SplitMix64.
struct SeededDraws {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> Double {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    mixed ^= mixed >> 31
    return Double(mixed >> 11) * 0x1p-53
  }
}
