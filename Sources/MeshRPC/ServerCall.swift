import HTTP2Session

/// What a handler knows of its call.
public struct ServerCall: Sendable {
  /// `/package.Service/Method`.
  public let path: String
  public let metadata: Metadata
  /// When the caller stops waiting; the handler's task is cancelled then. nil: no limit.
  public let deadline: ContinuousClock.Instant?
  public let peer: PeerAddress
  let stream: CallStream

  /// Metadata to go with the status.
  public func setTrailingMetadata(_ metadata: Metadata) {
    stream.onLoop { stream.trailingMetadata = metadata }
  }
}

/// Who is at the other end of a connection.
public struct PeerAddress: Sendable, Hashable, CustomStringConvertible {
  /// The process at the other end of a Unix socket when it connected (SO_PEERCRED).
  public struct UnixCredentials: Sendable, Hashable {
    public let processID: Int32
    public let userID: UInt32
    public let groupID: UInt32
  }

  public let description: String
  public let unixCredentials: UnixCredentials?
}
