/// Runs around the handlers of a server's calls: who may call, how long calls take, what a trace is told.
///
/// ```swift
/// struct AdmitLocalUsers: ServerInterceptor {
///   func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
///     guard call.peer.unixCredentials != nil else { throw RPCError(.unauthenticated, "use the Unix socket") }
///     try await next()
///   }
/// }
/// ```
///
/// It runs in the call's own task, so that task-local values which it sets around `next` reach the handler. Where a method
/// takes one message, that message has come before the interceptor runs; it is not decoded yet.
public protocol ServerInterceptor: Sendable {
  /// Calls `next` at most once; to refuse the call it throws instead, and what it throws is the call's status, as it is for
  /// a handler. What `next` throws is the status of whatever is further inside.
  func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws
}

extension Router.Route {
  func intercepted(by interceptor: any ServerInterceptor) -> Self {
    var route = self
    let handler = handler
    route.handler = { stream in
      try await interceptor.intercept(ServerCall(stream)) { try await handler(stream) }
    }
    return route
  }
}
