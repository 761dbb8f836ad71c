import ProtobufRuntime

/// A call's name and the types of its messages.
public struct MethodDescriptor<Request: Message, Response: Message>: Sendable {
  /// The service's full protobuf name, `iov.v1.Claims`.
  public let service: String
  public let method: String
  /// What stands in `:path`.
  public let path: String

  public init(service: String, method: String) {
    self.service = service
    self.method = method
    path = "/\(service)/\(method)"
  }
}

/// What a caller may say of one call.
public struct CallOptions: Sendable {
  /// From now; when it has passed, the call fails with DEADLINE_EXCEEDED on both sides. nil: no limit.
  public var timeout: Duration?
  public var metadata: Metadata

  public init(timeout: Duration? = nil, metadata: Metadata = [:]) {
    self.timeout = timeout
    self.metadata = metadata
  }
}
