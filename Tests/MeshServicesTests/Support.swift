import Descriptors
import Services
import Testing

/// Runs a server of these services, and reflection of them, on a Unix socket or port of its own until `body` returns.
func withServer(_ services: [any RPCService], _ body: (RPCChannel) async throws -> Void) async throws {
  let server = RPCServer(services: services + [ServerReflection(of: services, files: FileDescriptor.all)])
  let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
  let running = Task { try await server.run() }
  let channel = RPCChannel(endpoint)
  do {
    try await body(channel)
  } catch {
    Issue.record(error)
  }
  await channel.close()
  running.cancel()
  try await running.value
}

/// Services that are listed and described, and never called here.
struct SilentClaims: ClaimsService {
  func createClaim(_ request: CreateClaimRequest, call: ServerCall) async throws -> Claim { Claim() }
  func getClaim(_ request: GetClaimRequest, call: ServerCall) async throws -> Claim { Claim() }
  func listClaims(_ request: ListClaimsRequest, call: ServerCall) async throws -> ListClaimsResponse { .init() }
  func deleteClaim(_ request: DeleteClaimRequest, call: ServerCall) async throws -> Claim { Claim() }
  func updateClaimRates(_ request: UpdateClaimRatesRequest, call: ServerCall) async throws -> Claim { Claim() }
  func extendClaim(_ request: ExtendClaimRequest, call: ServerCall) async throws -> Claim { Claim() }
  func explainClaim(_ request: ExplainClaimRequest, call: ServerCall) async throws -> ClaimExplanation { .init() }
  func planClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan { .init() }
  func applyClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan { .init() }
  func listHoldings(_ request: ListHoldingsRequest, call: ServerCall) async throws -> ListHoldingsResponse { .init() }
  func watchClaims(
    _ request: WatchClaimsRequest, responses: ResponseWriter<ClaimEvent>, call: ServerCall
  ) async throws {}
}

extension HealthCheckRequest {
  init(_ service: String) {
    self.init()
    self.service = service
  }
}
