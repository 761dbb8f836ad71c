import HTTP2Session
import NIOCore

/// The server's end of a connection: calls begin with their headers, run as one task each on the loop, and end with
/// trailers.
final class ServerConnection: HTTP2Connection, @unchecked Sendable {
  private let router: Router
  private let limits: ServerLimits
  private let requestTimeout: TimeAmount
  /// Known in full when the connection is open.
  var peer: PeerAddress
  private let arrivals: Arrivals
  private var isArriving = false
  private var handshake: Scheduled<Void>?
  private var deadlines = DeadlineTimer()
  private var pings: PingPolicy
  private var overhead: OverheadBudget
  /// Handlers that have not returned, also those of calls that are over.
  private var runningHandlerCount = 0
  /// When the last call ended, or the connection began.
  private var idleSince = NIODeadline.now()
  private var callCount = 0
  private var callCountThen = 0
  private static let queuedFramesBeforePause = 256
  private var isReadingPaused = false
  /// Closes a connection whose list of headers does not end.
  private var headersTimer: Scheduled<Void>?

  // MARK: The way to its end
  private var stage = Stage.serving
  private var age: Scheduled<Void>?
  private var goAway: Scheduled<Void>?
  private var lastWord: Scheduled<Void>?
  /// How calls end that are left when the time is over.
  private var endReason = stopping

  private enum Stage {
    case serving
    /// The peer was told that the end is near; calls on their way are taken.
    case announced
    /// The peer was told the last call that is taken.
    case draining
    /// Everything was sent; the peer has the last word.
    case finished
  }

  init(router: Router, limits: ServerLimits, peer: PeerAddress, arrivals: Arrivals, eventLoop: any EventLoop) throws {
    self.router = router
    self.limits = limits
    requestTimeout = TimeAmount(limits.requestTimeout)
    self.peer = peer
    self.arrivals = arrivals
    pings = PingPolicy(minimumInterval: TimeAmount(limits.minimumPingInterval))
    overhead = OverheadBudget(burst: limits.overheadFrames.burst, perSecond: limits.overheadFrames.perSecond)
    var settings = SessionSettings()
    settings.maximumConcurrentStreams = limits.maximumConcurrentCalls
    settings.maximumHeaderListByteCount = limits.maximumHeaderListByteCount
    try super.init(
      role: .server, settings: settings, sendBufferByteCount: limits.sendBufferByteCount,
      keepaliveInterval: limits.keepaliveInterval, eventLoop: eventLoop)
  }

  func beginArrival() {
    isArriving = true
    arrivals.begin()
  }

  /// Its peer has shown that it speaks HTTP/2, or will not any more.
  func endArrival() {
    guard isArriving else { return }
    isArriving = false
    arrivals.end()
  }

  override func receivedSettings() { endArrival() }

  override func begin() {
    super.begin()
    // Whoever connects and does not speak HTTP/2 does not keep a connection.
    handshake = eventLoop.scheduleTask(in: TimeAmount(limits.handshakeTimeout)) { [weak self] in
      guard let self, !self.hasSettings else { return }
      self.close()
    }
    guard let maximumAge = limits.maximumConnectionAge else { return }
    // Connections that were made together shall not all end together.
    let jittered = maximumAge * Double.random(in: 0.9...1.1)
    age = eventLoop.scheduleTask(in: TimeAmount(jittered)) { [weak self] in
      guard let self else { return }
      self.drain(
        within: self.limits.connectionAgeGrace,
        RPCError(.unavailable, "the connection is older than the server allows: call again"))
    }
  }

  override func timePassed() {
    // A peer that takes nothing is as good as gone; with calls open, a PING without an answer tells that.
    if isReadingPaused, streams.isEmpty, NIODeadline.now() - lastReceived >= TimeAmount(limits.keepaliveInterval) {
      return close()
    }
    if !streams.isEmpty || callCount != callCountThen {
      callCountThen = callCount
      idleSince = .now()
    } else if stage == .serving, NIODeadline.now() - idleSince >= TimeAmount(limits.idleTimeout) {
      drain(within: limits.drainTimeout)
    }
  }

  override func connectionEnded() {
    for timer in [handshake, age, goAway, lastWord, headersTimer] { timer?.cancel() }
    deadlines.cancel()
  }

  // MARK: Peers that ask for too much

  override var maximumUnsentByteCount: Int { limits.maximumUnsentByteCount }
  override var maximumUnreadByteCount: Int { limits.maximumUnreadByteCount }

  override func receivedPing() {
    let answer = pings.pinged(at: lastReceived, sentSomethingSince: session.takeSentSomething())
    if answer == .tooManyPings { sayGoodbye(ErrorCode.enhanceYourCalm, reason: "too_many_pings") }
  }

  override func channelReadComplete(context: ChannelHandlerContext) {
    super.channelReadComplete(context: context)
    guard context.channel.isActive else { return }
    let now = Duration.nanoseconds(Int64(clamping: lastReceived.uptimeNanoseconds))
    guard overhead.spend(session.takeOverheadFrameCount(), at: now) else {
      return sayGoodbye(ErrorCode.enhanceYourCalm, reason: "too many frames that bring nothing")
    }
    if session.headerListInProgress != nil, headersTimer == nil { watchHeaders() }
    // What the peer does not take piles up here: answers to its PINGs, refusals of its calls. Then it is not read any more
    // either. Its windows play no part: the socket itself is full.
    if !context.channel.isWritable, session.queuedFrameCount > Self.queuedFramesBeforePause { pauseReading(true) }
  }

  override func channelWritabilityChanged(context: ChannelHandlerContext) {
    super.channelWritabilityChanged(context: context)
    if context.channel.isWritable, isReadingPaused { pauseReading(false) }
  }

  private func pauseReading(_ isPaused: Bool) {
    guard isPaused != isReadingPaused else { return }
    isReadingPaused = isPaused
    // A channel of sockets has its options at hand, and the one that is set cannot fail.
    try? context?.channel.syncOptions?.setOption(.autoRead, value: !isPaused)
  }

  /// Closes if the list of headers that is arriving is still the same after the time for it.
  private func watchHeaders() {
    let list = session.headerListInProgress
    headersTimer = eventLoop.scheduleTask(in: TimeAmount(limits.handshakeTimeout)) { [weak self] in
      guard let self else { return }
      headersTimer = nil
      guard let current = session.headerListInProgress else { return }
      if current == list { close() } else { watchHeaders() }
    }
  }

  // MARK: The end

  /// How long a peer that was told everything may take to close.
  private static let politeness: TimeAmount = .seconds(1)
  private static let announcement: UInt64 = 1

  /// Has the connection end when the calls in flight have, and those that the peer makes before it hears of it
  /// (RFC 9113 §6.8). Those that are left after `timeout` end with `reason`.
  func drain(within timeout: Duration, _ reason: RPCError = stopping) {
    guard stage != .finished else { return }
    endReason = reason
    lastWord?.cancel()
    lastWord = eventLoop.scheduleTask(in: TimeAmount(timeout)) { [weak self] in self?.stop() }
    guard stage == .serving else { return }
    guard hasSettings else { return sayGoodbye() }
    stage = .announced
    session.announceGoAway()
    // libnghttp2 lets a PING overtake a GOAWAY that has not left, and its answer would prove nothing.
    flush()
    session.ping(payload: Self.announcement)
    for stream in serverStreams where stream.endsWhenDraining { fail(stream, endReason) }
    // A peer that answers no PING shall not take the time of its calls.
    goAway = eventLoop.scheduleTask(in: TimeAmount(timeout / 2)) { [weak self] in self?.nameLastCall() }
    flush()
  }

  override func receivedPingAnswer(_ payload: UInt64) {
    if payload == Self.announcement { nameLastCall() }
  }

  private func nameLastCall() {
    guard stage == .announced else { return }
    stage = .draining
    goAway?.cancel()
    session.goAway(ErrorCode.none)
    flushSoon()
    streamEnded()
  }

  override func streamEnded() {
    guard stage == .draining, streams.isEmpty else { return }
    // Called while the last call's bytes are on their way to the channel.
    eventLoop.execute { self.finish() }
  }

  override func sessionEnded() {
    if stage == .serving { close() } else { finish() }
  }

  /// Everything is said. The peer closes when it has read it: a socket that is closed with something unread would take back
  /// what the peer has not read.
  private func finish() {
    guard stage == .draining, let context else { return }
    stage = .finished
    flush()
    context.close(mode: .output, promise: nil)
    lastWord?.cancel()
    lastWord = eventLoop.scheduleTask(in: Self.politeness) { [weak self] in self?.close() }
  }

  /// Ends all calls, and the connection.
  func stop() {
    for stream in serverStreams { fail(stream, endReason) }
    sayGoodbye()
  }

  private var serverStreams: [ServerStream] {
    streams.values.compactMap { $0 as? ServerStream }.sorted { $0.id < $1.id }
  }

  static let stopping = RPCError(.unavailable, "the server is stopping")

  /// Has a call end as soon as the server drains.
  func endWhenDraining(_ stream: ServerStream) {
    stream.endsWhenDraining = true
    if stage != .serving { fail(stream, endReason) }
  }

  // MARK: A call's beginning

  override func receivedHeaders(_ id: StreamID, _ fields: HeaderList, endsStream: Bool) {
    // A second list is trailers, which gRPC's clients do not send; only their end counts.
    if let stream = streams[id] {
      if endsStream { receivedEnd(of: stream) }
      return
    }
    let request = RequestHeaders(fields)
    guard request.isGRPC else {
      // 415 (RFC 9110 §15.5.16) for what is no gRPC at all: a browser or a probe understands it.
      try? session.submitWholeResponse(id, HeaderList([(":status", "415")]))
      return
    }
    guard runningHandlerCount < limits.maximumConcurrentCalls,
      session.totalUnsentByteCount < limits.maximumUnsentByteCount
    else { return session.reset(id, ErrorCode.refusedStream) }
    callCount &+= 1
    let route = router.route(request.pathHash, fields)
    let stream = ServerStream(
      headers: fields, path: route?.path ?? fields[":path"] ?? "", peer: peer,
      maximumMessageByteCount: limits.maximumMessageByteCount, server: self)
    stream.open(id, on: self)
    streams[id] = stream
    if let encoding = request.unknownEncoding {
      let known = MessageEncoding.accepted
      stream.namesEncodings = true
      return fail(
        stream, RPCError(.unimplemented, "the messages' encoding '\(encoding)' is not known here; known are \(known)"))
    }
    stream.incomingEncoding = request.encoding
    stream.namesEncodings = request.encoding != .identity
    stream.callerAcceptsGzip = request.acceptsGzip
    guard let route else { return fail(stream, router.unimplemented(stream.path)) }
    if let text = request.timeout {
      guard let timeout = TimeoutHeader.decode(text) else {
        return fail(stream, RPCError(.invalidArgument, "grpc-timeout '\(text)' is no timeout"))
      }
      stream.deadline = .after(timeout)
    }
    if route.takesWholeRequest, !endsStream {
      stream.requestMustBeWhole(by: lastReceived + requestTimeout)
    }
    armDeadline(stream.deadline)
    stream.start(route)
    if endsStream { receivedEnd(of: stream) }
  }

  func handlerBegan() { runningHandlerCount += 1 }
  func handlerEnded() { runningHandlerCount -= 1 }

  override func receivedTooLongHeaders(_ id: StreamID) {
    guard streams[id] == nil else { return session.reset(id, ErrorCode.enhanceYourCalm) }
    let stream = ServerStream(
      headers: HeaderList(), path: "", peer: peer, maximumMessageByteCount: 0, server: self)
    stream.open(id, on: self)
    streams[id] = stream
    fail(
      stream,
      RPCError(.resourceExhausted, "the call's headers are above \(limits.maximumHeaderListByteCount) bytes"))
  }

  override func receivedEnd(of stream: CallStream) {
    (stream as? ServerStream)?.requestIsWhole()
  }

  // MARK: A call's end

  override func endSent(_ id: StreamID) {
    // The answer is out; a caller that is still sending is told to stop (RFC 9113 §8.1).
    if let stream = streams[id] as? ServerStream, stream.hasWholeRequest { return }
    session.reset(id, ErrorCode.none)
  }

  override func fail(_ stream: CallStream, _ error: RPCError) {
    (stream as? ServerStream)?.finish(error)
    stream.end(error)
  }

  override func closedError(_ errorCode: UInt32) -> RPCError { RPCError(.cancelled, "the caller gave the call up") }

  override var lostError: RPCError { RPCError(.cancelled, "the connection of \(peer) was lost") }

  func armDeadline(_ deadline: NIODeadline?) {
    guard let deadline else { return }
    deadlines.arm(for: deadline, on: eventLoop) { [weak self] in self?.endLateCalls() }
  }

  private func endLateCalls() {
    deadlines.fired()
    armDeadline(streams.values.endLate { fail($0, ($0 as? ServerStream)?.lateError ?? .deadlineExceeded) })
  }
}
