import HTTP2Session
import NIOCore
import ProtobufRuntime
import Synchronization

/// A call as its server sees it.
final class ServerStream: CallStream, @unchecked Sendable {
  let headers: HeaderList
  let path: String
  let peer: PeerAddress
  private unowned let server: ServerConnection
  private let metadata = Mutex(ResponseMetadata())

  /// The caller has said all it will.
  var hasWholeRequest = false
  /// The caller reads compressed messages.
  var callerAcceptsGzip = false
  /// The answer says which encodings are known here.
  var namesEncodings = false
  /// A draining server does not wait for it.
  var endsWhenDraining = false
  /// `deadline` is for the request to be whole; the caller's own comes back then.
  private var awaitsRequest = false
  private var callersDeadline: NIODeadline?
  private var headersAreSent = false
  /// What runs when the request is whole.
  private var handler: (@Sendable (ServerStream) async throws -> Void)?
  private var task: Task<Void, Never>?

  init(
    headers: HeaderList, path: String, peer: PeerAddress, maximumMessageByteCount: Int, server: ServerConnection
  ) {
    self.headers = headers
    self.path = path
    self.peer = peer
    self.server = server
    super.init(eventLoop: server.eventLoop, maximumMessageByteCount: maximumMessageByteCount)
  }

  // MARK: The handler

  /// Begins now, or when the request is whole.
  func start(_ route: Router.Route) {
    if route.takesWholeRequest { handler = route.handler } else { run(route.handler) }
  }

  /// Until then nothing waits for a slow request but its caller.
  func requestMustBeWhole(by limit: NIODeadline) {
    if let deadline, deadline <= limit { return }
    callersDeadline = deadline
    deadline = limit
    awaitsRequest = true
  }

  /// What has not been in time.
  var lateError: RPCError {
    guard awaitsRequest else { return .deadlineExceeded }
    return RPCError(.deadlineExceeded, "the request was not whole in the time that the server gives it")
  }

  func requestIsWhole() {
    hasWholeRequest = true
    if awaitsRequest {
      awaitsRequest = false
      deadline = callersDeadline
      server.armDeadline(deadline)
    }
    endIncoming(.success(()))
    guard let handler else { return }
    self.handler = nil
    if outgoingIsOpen { run(handler) }
  }

  /// Runs a handler as one task on the loop.
  private func run(_ handler: @escaping @Sendable (ServerStream) async throws -> Void) {
    server.handlerBegan()
    task = Task(executorPreference: server.executor) {
      do {
        try await handler(self)
        self.onLoop { self.handlerEnded(nil) }
      } catch {
        let error = RPCError(wrapping: error)
        self.onLoop { self.handlerEnded(error) }
      }
    }
  }

  private func handlerEnded(_ error: RPCError?) {
    server.handlerEnded()
    finish(error)
  }

  override func end(_ error: RPCError) {
    super.end(error)
    handler = nil
    task?.cancel()
    task = nil
  }

  // MARK: The answer

  private static let responseHeaders = HeaderList([(":status", "200"), ("content-type", "application/grpc")])

  override func sendHeaders() {
    guard !headersAreSent, let connection else { return }
    headersAreSent = true
    let metadata = metadata.withLock { $0.initial }
    var headers = responseHeaders()
    if !metadata.isEmpty { headers.append(metadata) }
    // Only a lack of memory can refuse it; then the connection fails with the next bytes.
    try? connection.session.submitResponse(id, headers)
  }

  private func responseHeaders() -> HeaderList {
    var headers = Self.responseHeaders
    if decideCompression() { headers.append("grpc-encoding", MessageEncoding.gzip.name) }
    if namesEncodings { headers.append("grpc-accept-encoding", MessageEncoding.accepted) }
    return headers
  }

  /// Has the answer's messages compressed, if the caller reads that.
  func compressResponses() {
    if callerAcceptsGzip { compressMessages() }
  }

  private static let wellEnded = HeaderList([("grpc-status", "0")])

  /// Sends the status; what the handler still does with the stream after that fails.
  func finish(_ error: RPCError?) {
    guard closeOutgoing(), let connection else { return }
    deadline = nil
    var (initial, trailing) = metadata.withLock { ($0.initial, $0.trailing) }
    for (name, value) in error?.metadata.entries ?? [] { trailing.add(name, value) }
    var trailers = Self.wellEnded
    if error != nil || !trailing.isEmpty {
      trailers = .status(error?.code ?? .ok, error?.message ?? "", trailing)
    }
    // Headers and trailers stay two lists where there is something to tell apart.
    if !initial.isEmpty { sendHeaders() }
    if headersAreSent {
      connection.session.finish(id, trailers: trailers)
    } else {
      var headers = responseHeaders()
      headers.append(trailers)
      try? connection.session.submitWholeResponse(id, headers)
    }
    connection.flushSoon()
  }

  func endWhenDraining() {
    onLoop { if self.outgoingIsOpen { self.server.endWhenDraining(self) } }
  }

  func setInitialMetadata(_ metadata: Metadata) {
    self.metadata.withLock { $0.initial = metadata }
  }

  func setTrailingMetadata(_ metadata: Metadata) {
    self.metadata.withLock { $0.trailing = metadata }
  }
}

/// What a handler adds to its answer; set from any thread.
private struct ResponseMetadata {
  var initial = Metadata()
  var trailing = Metadata()
}
