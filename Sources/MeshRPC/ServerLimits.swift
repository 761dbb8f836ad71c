/// What a server grants its peers. The defaults suit a rack: peers that mean well meet none of them.
public struct ServerLimits: Sendable {
  // MARK: Calls

  /// Bytes of one message; above, the call fails with RESOURCE_EXHAUSTED.
  public var maximumMessageByteCount = 4 << 20
  /// Calls in flight on one connection; further ones are refused. A call that its caller has given up counts until its
  /// handler has returned, so that giving up does not make room for more (CVE-2023-44487).
  public var maximumConcurrentCalls: UInt32 = 1024
  /// Bytes of a call's headers, names and values, with 32 for each field; above, it fails with RESOURCE_EXHAUSTED.
  public var maximumHeaderListByteCount = 16 << 10
  /// How long the request of a method that takes one message may take to arrive; then the call ends with DEADLINE_EXCEEDED.
  /// Streams of requests last as long as their callers like.
  public var requestTimeout: Duration = .seconds(60)

  // MARK: Memory

  /// Bytes that a response stream holds before its writer waits.
  public var sendBufferByteCount = 256 << 10
  /// Bytes of responses that one connection holds because its peer does not take them. At the limit writers wait and new
  /// calls are refused.
  public var maximumUnsentByteCount = 64 << 20
  /// Bytes of requests that one connection holds because they are not whole or not read yet; a call whose request goes
  /// beyond fails with RESOURCE_EXHAUSTED.
  public var maximumUnreadByteCount = 64 << 20

  // MARK: Connections

  /// Connections at a time; further ones are closed.
  public var maximumConnections = 65_536
  /// How long a new connection may take to show that it speaks HTTP/2, and any connection for one list of headers.
  public var handshakeTimeout: Duration = .seconds(10)
  /// A connection that has had no call for so long is told to go.
  public var idleTimeout: Duration = .seconds(3600)
  /// A connection that is so old, give or take a tenth, is told to go; peers connect again, and spread over servers that
  /// have come since. nil: it may grow as old as it likes.
  public var maximumConnectionAge: Duration?
  /// How long calls may go on after that; then they end with UNAVAILABLE.
  public var connectionAgeGrace: Duration = .seconds(60)
  /// How long calls in flight may go on when the server stops; then they end with UNAVAILABLE.
  public var drainTimeout: Duration = .seconds(5)

  // MARK: Frames

  /// With calls open and the peer silent for so long, it is pinged; silent for as long again, the connection is closed.
  public var keepaliveInterval: Duration = .seconds(15)
  /// A peer may ping this often. Sooner counts unless it was sent something meanwhile, and the third one too many ends the
  /// connection with ENHANCE_YOUR_CALM, as it does in other servers of gRPC.
  public var minimumPingInterval: Duration = .seconds(5)
  /// Frames at a time, and then each second, that cost this side something and bring no call on: PING, SETTINGS, PRIORITY,
  /// resets, WINDOW_UPDATE without cause, empty DATA. Beyond, the connection ends with ENHANCE_YOUR_CALM.
  public var overheadFrames = (burst: 10_000, perSecond: 1000)

  public init() {}
}
