import Arbitration
import Logging
import Messages
import Services

/// `iov.v1.AgentSessions`: one stream for each host.
struct AgentSessionsFrontend: AgentSessionsService {
  let arbiter: DurableArbiter
  let reports: ReportQueue
  let questions: HostQuestions
  let access: CallAccess
  let logger: Logger

  func connect(
    _ requests: RequestStream<AgentMessage>, responses: ResponseWriter<CoordinatorMessage>, call: ServerCall
  ) async throws {
    // It lasts as long as the agent runs; a stop does not wait for that.
    call.endWhenDraining()
    let (session, messages) = arbiter.openSession()
    defer {
      arbiter.closeSession(session)
      questions.end(session)
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      // Whichever ends first ends the session: the agent hangs up, or the coordinator does.
      group.addTask { try await read(requests, session, call.peer) }
      group.addTask { for try await message in messages { try await responses.write(message) } }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func read(_ requests: RequestStream<AgentMessage>, _ session: SessionID, _ peer: PeerAddress) async throws {
    var host: String?
    defer { if let host { logger.info("host disconnected", metadata: ["host": "\(host)"]) } }
    for try await message in requests {
      switch message.kind {
      case .hello(let hello) where host == nil:
        let name = hello.host?.name ?? ""
        try access.checkHost(name, peer.identity)
        host = name
        logger.info("host connected", metadata: ["host": "\(name)"])
        arbiter.begin(session, hello)
      case .hello: throw RPCError(.invalidArgument, "a session has one hello")
      case .heartbeat, .inventory, .functions, .statistics, nil:
        guard host != nil else { throw RPCError(.invalidArgument, "the first message of a session is a hello") }
        try submit(message, session)
      }
    }
  }

  private func submit(_ message: AgentMessage, _ session: SessionID) throws {
    switch message.kind {
    case .heartbeat(let heartbeat): arbiter.heartbeat(session, heartbeat)
    case .inventory(let report): try reports.submit(.inventoryReported(session, report), of: session)
    case .functions(let report): try reports.submit(.functionsReported(session, report), of: session)
    case .statistics(let answer): questions.take(answer, from: session)
    // A kind that this version does not know says nothing to it (rules of evolution, model.proto).
    case .hello, nil: return
    }
  }
}
