/// What a caller may say of one call.
public struct CallOptions: Sendable {
  /// From now; when it has passed, the call fails with DEADLINE_EXCEEDED on both sides. nil: no limit.
  public var timeout: Duration?
  public var metadata: Metadata
  /// Waits for a connection until the timeout has passed, instead of failing with UNAVAILABLE when one cannot be made.
  public var waitForReady: Bool
  /// How this side's messages leave; a message that gzip would not make smaller leaves as it is. `identity` compresses
  /// nothing and accepts compressed answers; nil says nothing of compression at all.
  public var compression: MessageEncoding?

  public init(
    timeout: Duration? = nil, metadata: Metadata = [:], waitForReady: Bool = false, compression: MessageEncoding? = nil
  ) {
    self.timeout = timeout
    self.metadata = metadata
    self.waitForReady = waitForReady
    self.compression = compression
  }

  var compressesMessages: Bool { compression == .gzip }
}
