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
