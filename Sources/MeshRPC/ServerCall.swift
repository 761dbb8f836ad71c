import HTTP2Session
import NIOCore

/// What a handler knows of its call.
public struct ServerCall: Sendable {
  let stream: ServerStream

  /// `/package.Service/Method`.
  public var path: String { stream.path }
  public var metadata: Metadata { stream.headers.metadata() }
  /// When the caller stops waiting; the handler's task is cancelled then. nil: no limit.
  public let deadline: ContinuousClock.Instant?
  public var peer: PeerAddress { stream.peer }

  /// How the message of the request came that was read last.
  public var requestEncoding: MessageEncoding { stream.lastReadEncoding }

  init(_ stream: ServerStream) {
    self.stream = stream
    deadline = stream.deadline.map { .now + .nanoseconds(($0 - .now()).nanoseconds) }
  }

  /// Has the call end with UNAVAILABLE, and its handler's task cancelled, as soon as the server drains: for a watch or a
  /// session, which lasts as long as its caller likes and would hold up every stop. Its caller makes it again elsewhere.
  public func endWhenDraining() { stream.endWhenDraining() }

  /// Metadata to go before the first message, or before the status if there is none. Replaces what was set before; too late
  /// once a message has been sent.
  public func setInitialMetadata(_ metadata: Metadata) { stream.setInitialMetadata(metadata) }

  /// Metadata to go with the status, also when the handler throws. Replaces what was set before.
  public func setTrailingMetadata(_ metadata: Metadata) { stream.setTrailingMetadata(metadata) }

  /// Has the answer's messages compressed with gzip, if the caller accepts it and if that makes them smaller. To be called
  /// before the first message; later it has no effect. Compressed text beside a secret betrays the secret's content by
  /// its length (CRIME): do not compress what a stranger can make stand next to one.
  public func compressResponses() { stream.compressResponses() }
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
  /// The URI names (RFC 5280 §4.2.1.6) of its verified certificate, none if it has none; nil over a connection that asks
  /// for no certificate.
  public internal(set) var identity: [String]?
}
