import Arbitration
import ClaimStore
import LinuxDevices
import Messages
import Services

/// `iov.v1.Claims`: what tenants ask.
struct ClaimsFrontend: ClaimsService {
  let arbiter: DurableArbiter
  let store: any ClaimStore
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
    arbiter.board.list(request, endNodeNames: arbiter.names(ofEndNode: request.endNode))
  }

  func deleteClaim(_ request: DeleteClaimRequest, call: ServerCall) async throws -> Claim {
    try await arbiter.askForClaim { .claimDeleted($0, request) }
  }

  func updateClaimRates(_ request: UpdateClaimRatesRequest, call: ServerCall) async throws -> Claim {
    try await arbiter.askForClaim { .claimRatesUpdated($0, request) }
  }

  func extendClaim(_ request: ExtendClaimRequest, call: ServerCall) async throws -> Claim {
    try await arbiter.askForClaim { .claimExtended($0, request) }
  }

  func explainClaim(_ request: ExplainClaimRequest, call: ServerCall) async throws -> ClaimExplanation {
    let result = arbiter.read { arbiter in
      Result { () throws(Refusal) in try arbiter.explanation(of: request.name) }
    }
    do {
      return try result.get()
    } catch {
      throw RPCError(error)
    }
  }

  func planClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan {
    do {
      return try arbiter.plan(request)
    } catch {
      throw RPCError(error)
    }
  }

  func applyClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan {
    let uids = request.claims.map { _ in makeUID() }
    return try await arbiter.askForPlan { .claimsApplied($0, request, uids: uids) }
  }

  func listHoldings(_ request: ListHoldingsRequest, call: ServerCall) async throws -> ListHoldingsResponse {
    var query = try HoldingQuery(request)
    // One that is no more is known by its id alone.
    let id = request.endNode.isEmpty ? nil : arbiter.read { $0.idOfEndNode(named: request.endNode) }
    if let id { query.endNode = id }
    let size = query.limit
    // One more tells whether there are more.
    query.limit += 1
    do {
      let found = try await BlockingThread.detached { [store, query] in try store.holdings(query) }
      return ListHoldingsResponse {
        $0.holdings = Array(found.prefix(size))
        if found.count > size { $0.nextPageToken = "\(found[size - 1].number)" }
      }
    } catch let error as StoreError {
      throw RPCError(error)
    }
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
