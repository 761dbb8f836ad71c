/// What a server grants its peers.
public struct ServerLimits: Sendable {
  /// Bytes of one message; above, the call fails with RESOURCE_EXHAUSTED.
  public var maximumMessageByteCount = 4 << 20
  /// Calls in flight on one connection; further ones are refused.
  public var maximumConcurrentCalls: UInt32 = 1024
  /// Bytes of a call's headers, names and values, with 32 for each field; above, it fails with RESOURCE_EXHAUSTED.
  public var maximumHeaderListByteCount = 16 << 10
  /// Connections at a time; further ones are closed.
  public var maximumConnections = 65_536
  /// How long a new connection may take to show that it speaks HTTP/2.
  public var handshakeTimeout: Duration = .seconds(10)
  /// A connection without calls that has been silent for so long is closed.
  public var idleTimeout: Duration = .seconds(3600)
  /// With calls open and the peer silent for so long, it is pinged; silent for as long again, the connection is closed.
  public var keepaliveInterval: Duration = .seconds(15)
  /// Bytes that a response stream holds before its writer waits.
  public var sendBufferByteCount = 64 << 10

  public init() {}
}

/// What a client grants its server.
public struct ChannelLimits: Sendable {
  /// Bytes of one message; above, the call fails with RESOURCE_EXHAUSTED.
  public var maximumMessageByteCount = 4 << 20
  /// How long making a connection may take.
  public var connectTimeout: Duration = .seconds(5)
  /// With calls open and the server silent for so long, it is pinged; silent for as long again, the connection is closed
  /// and its calls end with UNAVAILABLE.
  public var keepaliveInterval: Duration = .seconds(10)
  /// Bytes that a request stream holds before its writer waits.
  public var sendBufferByteCount = 64 << 10

  public init() {}
}
