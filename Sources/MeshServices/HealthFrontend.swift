/// Serves grpc.health.v1.Health from a board.
public struct HealthFrontend: HealthService {
  private let board: HealthBoard

  public init(_ board: HealthBoard) { self.board = board }

  public func check(_ request: HealthCheckRequest, call: ServerCall) async throws -> HealthCheckResponse {
    guard let status = board.status(of: request.service) else {
      throw RPCError(.notFound, "nothing is known of a service '\(request.service)'")
    }
    return HealthCheckResponse { $0.status = status }
  }

  public func watch(
    _ request: HealthCheckRequest, responses: ResponseWriter<HealthCheckResponse>, call: ServerCall
  ) async throws {
    call.endWhenDraining()
    var told: HealthBoard.Status?
    for await _ in board.changes() {
      // Read before the status, which does not change any more once this is true.
      let isDraining = board.isDraining
      let status = board.status(of: request.service) ?? .serviceUnknown
      if status != told { try await responses.write(HealthCheckResponse { $0.status = status }) }
      told = status
      if isDraining { throw RPCError(.unavailable, "the server is going") }
    }
  }

  public func list(_ request: HealthListRequest, call: ServerCall) async throws -> HealthListResponse {
    HealthListResponse {
      $0.statuses = board.statuses.mapValues { status in HealthCheckResponse { $0.status = status } }
    }
  }
}
