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
