/// What a caller may say of one call.
public struct CallOptions: Sendable {
  /// From now; when it has passed, the call fails with DEADLINE_EXCEEDED on both sides. nil: no limit.
  public var timeout: Duration?
  public var metadata: Metadata
  /// Waits for a connection until the timeout has passed, instead of failing with UNAVAILABLE when one cannot be made.
  public var waitForReady: Bool

  public init(timeout: Duration? = nil, metadata: Metadata = [:], waitForReady: Bool = false) {
    self.timeout = timeout
    self.metadata = metadata
    self.waitForReady = waitForReady
  }
}
