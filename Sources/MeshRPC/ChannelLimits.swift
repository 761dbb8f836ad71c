/// What a client grants its servers, and how patient it is.
public struct ChannelLimits: Sendable {
  /// Bytes of one message; above, the call fails with RESOURCE_EXHAUSTED.
  public var maximumMessageByteCount = 4 << 20
  /// How long an address may take to accept a connection.
  public var connectTimeout: Duration = .seconds(5)
  /// How long a server that has accepted a connection may take for TLS, and then to show that it speaks HTTP/2. A server may have its socket
  /// before it runs, so that this is the time it has to start.
  public var handshakeTimeout: Duration = .seconds(20)
  /// From one attempt to connect to an endpoint to the next one, while none succeeds.
  public var reconnect = ExponentialBackoff.connection
  /// With calls open and the server silent for so long, it is pinged; silent for as long again, the connection is closed
  /// and its calls end with UNAVAILABLE. gRPC's servers may end connections that are pinged more often than every five
  /// minutes while nothing else moves; a server that does so is pinged that seldom from then on.
  public var keepaliveInterval: Duration = .seconds(10)
  /// Ping a silent server while no calls are open, too. Most servers do not want that.
  public var keepaliveWithoutCalls = false
  /// Bytes that a request stream holds before its writer waits.
  public var sendBufferByteCount = 256 << 10

  public init() {}
}
