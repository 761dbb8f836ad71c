import Services
import Testing

/// A service whose answers say what arrived.
struct EchoClaims: ClaimsService {
  func createClaim(_ request: CreateClaimRequest, call: ServerCall) async throws -> Claim {
    switch request.name {
    case "refused": throw RPCError(.invalidArgument, "nein, danke: ä %")
    case "slow": try await Task.sleep(for: .seconds(60))
    default: break
    }
    return Claim {
      $0.name = request.name
      $0.uid = call.metadata["x-test"] ?? ""
    }
  }

  func getClaim(_ request: GetClaimRequest, call: ServerCall) async throws -> Claim {
    Claim { $0.name = String(repeating: "x", count: Int(request.name) ?? 0) }
  }

  func listClaims(_ request: ListClaimsRequest, call: ServerCall) async throws -> ListClaimsResponse { .init() }
  func deleteClaim(_ request: DeleteClaimRequest, call: ServerCall) async throws -> Claim { .init() }
  func updateClaimRates(_ request: UpdateClaimRatesRequest, call: ServerCall) async throws -> Claim { .init() }
  func extendClaim(_ request: ExtendClaimRequest, call: ServerCall) async throws -> Claim { .init() }
  func explainClaim(_ request: ExplainClaimRequest, call: ServerCall) async throws -> ClaimExplanation { .init() }
  func planClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan { .init() }
  func applyClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan { .init() }
  func listHoldings(_ request: ListHoldingsRequest, call: ServerCall) async throws -> ListHoldingsResponse { .init() }

  func watchClaims(
    _ request: WatchClaimsRequest, responses: ResponseWriter<ClaimEvent>, call: ServerCall
  ) async throws {
    for revision in 0..<UInt64(request.name).orZero {
      try await responses.write(ClaimEvent { $0.revision = revision })
    }
  }
}

extension Optional where Wrapped == UInt64 {
  var orZero: UInt64 { self ?? 0 }
}

struct EchoSessions: AgentSessionsService {
  func connect(
    _ requests: RequestStream<AgentMessage>, responses: ResponseWriter<CoordinatorMessage>, call: ServerCall
  ) async throws {
    for try await message in requests {
      guard case .heartbeat(let heartbeat)? = message.kind else { continue }
      let answer = HeartbeatAcknowledgement { $0.sequence = heartbeat.sequence }
      try await responses.write(CoordinatorMessage { $0.kind = .heartbeat(answer) })
    }
  }
}

/// Runs `body` with a channel to a server of its own.
func withClaimsServer(_ body: (RPCChannel) async throws -> Void) async throws {
  let server = RPCServer(services: [EchoClaims(), EchoSessions()])
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

@Test func aCallIsAnsweredWithItsMetadataSeen() async throws {
  try await withClaimsServer { channel in
    let claim = try await ClaimsClient(channel).createClaim(
      CreateClaimRequest { $0.name = "a" }, options: CallOptions(metadata: ["x-test": "seen"]))
    #expect(claim.name == "a")
    #expect(claim.uid == "seen")
  }
}

@Test func manyMessagesArriveInOrder() async throws {
  try await withClaimsServer { channel in
    var next: UInt64 = 0
    for try await event in try await ClaimsClient(channel).watchClaims(WatchClaimsRequest { $0.name = "20000" }) {
      guard event.revision == next else { break }
      next += 1
    }
    #expect(next == 20_000)
  }
}

@Test func messagesPassBothWaysAtATime() async throws {
  try await withClaimsServer { channel in
    let call = try await AgentSessionsClient(channel).connect()
    var iterator = call.responses.makeAsyncIterator()
    for sequence in 0..<1000 as Range<UInt64> {
      try await call.write(AgentMessage { $0.kind = .heartbeat(Heartbeat { $0.sequence = sequence }) })
      guard case .heartbeat(let answer)? = try await iterator.next()?.kind else {
        Issue.record("no answer")
        return
      }
      #expect(answer.sequence == sequence)
    }
    call.finishWriting()
    #expect(try await iterator.next() == nil)
  }
}
