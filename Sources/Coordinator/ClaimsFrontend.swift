import Arbitration
import Messages
import Services

/// `iov.v1.Claims`: what tenants ask.
struct ClaimsFrontend: ClaimsService {
  let arbiter: DurableArbiter
  /// Draws the uid of a new claim.
  let makeUID: @Sendable () -> String

  func createClaim(_ request: CreateClaimRequest, call: ServerCall) async throws -> Claim {
    let uid = makeUID()
    return try await arbiter.askForClaim { .claimCreated($0, request, uid: uid) }
  }

  func getClaim(_ request: GetClaimRequest, call: ServerCall) async throws -> Claim {
    guard let claim = arbiter.board.claim(named: request.name) else {
      throw RPCError(arbiter.read { $0.unknownClaim(request.name) })
    }
    return claim
  }

  func listClaims(_ request: ListClaimsRequest, call: ServerCall) async throws -> ListClaimsResponse {
    let (claims, revision) = arbiter.board.list()
    return ListClaimsResponse {
      $0.claims = claims
      $0.revision = revision
    }
  }

  func deleteClaim(_ request: DeleteClaimRequest, call: ServerCall) async throws -> Claim {
    try await arbiter.askForClaim { .claimDeleted($0, request) }
  }

  func updateClaimRates(_ request: UpdateClaimRatesRequest, call: ServerCall) async throws -> Claim {
    try await arbiter.askForClaim { .claimRatesUpdated($0, request) }
  }

  func watchClaims(
    _ request: WatchClaimsRequest, responses: ResponseWriter<ClaimEvent>, call: ServerCall
  ) async throws {
    call.endWhenDraining()
    let watch = try arbiter.board.watch(request)
    for event in watch.beginning { try await responses.write(event) }
    for try await event in watch.events { try await responses.write(event) }
  }
}
