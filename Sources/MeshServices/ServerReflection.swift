/// Says what a server offers and how its messages look, to clients that have no .proto files: grpc.reflection.v1 and,
/// for older ones, v1alpha.
///
///     let services: [any RPCService] = [ClaimsFrontend(), HealthFrontend(board)]
///     RPCServer(services: services + [ServerReflection(of: services, files: FileDescriptor.all)])
public struct ServerReflection: ServerReflectionService {
  /// v1alpha is v1 under another name: the messages are the same on the wire.
  private static let alphaMethod = MethodDescriptor<ServerReflectionRequest, ServerReflectionResponse>(
    service: "grpc.reflection.v1alpha.ServerReflection",
    method: ServerReflectionMethods.serverReflectionInfo.method)

  private let index: ReflectionIndex

  /// - Parameter files: those that declare the services and all that they import; more do not matter.
  public init(of services: [any RPCService], files: [FileDescriptor]) {
    var router = Router()
    for service in services { service.register(in: &router) }
    let own = [ServerReflectionMethods.serverReflectionInfo.service, Self.alphaMethod.service]
    index = ReflectionIndex(services: router.serviceNames + own, files: files)
  }

  public func register(in router: inout Router) {
    router.bidirectional(ServerReflectionMethods.serverReflectionInfo) {
      try await serverReflectionInfo($0, responses: $1, call: $2)
    }
    router.bidirectional(Self.alphaMethod) { try await serverReflectionInfo($0, responses: $1, call: $2) }
  }

  public func serverReflectionInfo(
    _ requests: RequestStream<ServerReflectionRequest>, responses: ResponseWriter<ServerReflectionResponse>,
    call: ServerCall
  ) async throws {
    // Clients keep it open for their next question.
    call.endWhenDraining()
    for try await request in requests {
      try await responses.write(
        ServerReflectionResponse {
          $0.validHost = request.host
          $0.originalRequest = request
          $0.messageResponse = index.answer(request.messageRequest)
        })
    }
  }
}
