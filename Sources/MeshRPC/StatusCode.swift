/// gRPC's status codes; the raw values are the ones on the wire.
public enum StatusCode: Int, Sendable, Hashable, CaseIterable {
  case ok = 0
  case cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied
  case resourceExhausted, failedPrecondition, aborted, outOfRange, unimplemented, internalError, unavailable, dataLoss
  case unauthenticated
}

/// How a call ended if not well. Handlers throw it; callers catch it.
public struct RPCError: Error, Hashable, CustomStringConvertible {
  public var code: StatusCode
  /// For the one who must act: what was asked, what was found, what to do.
  public var message: String
  /// Trailers that came or go with the status.
  public var metadata: Metadata

  public init(_ code: StatusCode, _ message: String, metadata: Metadata = [:]) {
    self.code = code
    self.message = message
    self.metadata = metadata
  }

  public var description: String { "\(code): \(message)" }
}

extension RPCError {
  /// What a handler's or caller's own error becomes on the wire.
  init(wrapping error: any Error) {
    switch error {
    case let error as RPCError: self = error
    case is CancellationError: self.init(.cancelled, "the call was cancelled")
    default: self.init(.unknown, "\(error)")
    }
  }

  static let cancelled = RPCError(.cancelled, "the call was cancelled")
  static let deadlineExceeded = RPCError(.deadlineExceeded, "the deadline passed before the call was done")
}
