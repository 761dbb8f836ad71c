import NIOCore

/// What stands between a server's TCP connections and HTTP/2, such as TLS. Unix sockets stay as they are: there the kernel
/// says who is at the other end.
public protocol ServerSecurity: Sendable {
  /// Adds handlers to a new connection, on its loop, before anything was read.
  ///
  /// The future carries the URI names of the peer's verified certificate, which become `PeerAddress.identity`, and is
  /// completed on the loop within `timeout`. Until then nothing reaches handlers behind these; HTTP/2's is added in the
  /// future's callback. It fails with an `RPCError` that says what is wrong with the peer; the connection closes then.
  func secure(_ channel: any Channel, within timeout: TimeAmount) throws -> EventLoopFuture<[String]>
}

/// What stands between a client's TCP connections and HTTP/2. Unix sockets stay as they are.
public protocol ClientSecurity: Sendable {
  /// Adds handlers to a connection to `endpoint`, on its loop, before anything was read.
  ///
  /// The future is completed on the loop, within `timeout` from when the connection is there: when the server has shown
  /// that it is the right one, or with an `RPCError` that says why not. Until then nothing reaches handlers behind these.
  func secure(
    _ channel: any Channel, to endpoint: SocketEndpoint, within timeout: TimeAmount
  ) throws -> EventLoopFuture<Void>
}
