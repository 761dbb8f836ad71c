import Arbitration
import LinuxDevices
import Logging
import Services

/// Has fence agents switch hosts off, and tells the arbiter what is proven by it.
struct Fencer: Sendable {
  let agents: [String: FenceAgent]
  let arbiter: DurableArbiter
  let logger: Logger

  init(agents: [FenceAgent], arbiter: DurableArbiter, logger: Logger) {
    self.agents = Dictionary(agents.map { ($0.host, $0) }, uniquingKeysWith: { first, _ in first })
    self.arbiter = arbiter
    self.logger = logger
  }

  /// As an operator asks: switches the host off, connected or not, and has it taken for dead.
  func fence(_ host: Host, by caller: String) async throws -> Host {
    guard let agent = agents[host.name] else {
      throw RPCError(
        .failedPrecondition,
        "the coordinator's configuration names no fence agent for \(host.name); switch it off by hand, then: "
          + "iov host confirm-dead \(host.name)")
    }
    do {
      try await run(agent, bootID: host.bootId, by: caller)
    } catch {
      throw RPCError(.aborted, "\(host.name) is not known to be off: \(error)")
    }
    // The stream of a machine without power stays open for long.
    arbiter.endSessions(ofHost: host.name, bootID: host.bootId)
    return try await arbiter.askForHost { .hostConfirmedDead($0, host.confirmation, reason: agent.reason) }
  }

  /// As the arbiter asks, because something waits for proof from a silent host; nobody waits for the end of it.
  func fenceUnasked(_ host: String, bootID: String) {
    Task { await fenceSilent(host, bootID: bootID) }
  }

  func fenceSilent(_ host: String, bootID: String) async {
    do {
      guard let agent = agents[host] else { throw FenceAgent.Failure(description: "no fence agent is configured") }
      try await run(agent, bootID: bootID, by: "the coordinator")
      try await confirm(host, bootID: bootID, reason: agent.reason)
    } catch {
      arbiter.submit(.fenceFailed(host: host, bootID: bootID, message: "\(error)"))
    }
  }

  /// The host may have come back just before it was switched off. What it had sent by then can still arrive and begin a
  /// session; after a lease's time nothing does, and what refuses then has another reason.
  private func confirm(_ host: String, bootID: String, reason: String) async throws {
    let request = ConfirmHostDeadRequest {
      $0.host = host
      $0.bootId = bootID
    }
    let end = ContinuousClock.now + .milliseconds(arbiter.read { $0.settings.leaseTermMilliseconds })
    while true {
      arbiter.endSessions(ofHost: host, bootID: bootID)
      do {
        _ = try await arbiter.askForHost { .hostConfirmedDead($0, request, reason: reason) }
        return
      } catch let error as RPCError where error.code == .failedPrecondition && ContinuousClock.now < end {
        try await Task.sleep(for: .milliseconds(250))
      } catch {
        logger.error(
          "host fenced and not taken for dead",
          metadata: ["host": "\(host)", "boot": "\(bootID)", "reason": "\(error)"])
        throw error
      }
    }
  }

  private func run(_ agent: FenceAgent, bootID: String, by caller: String) async throws {
    let metadata: Logger.Metadata = [
      "host": "\(agent.host)", "boot": "\(bootID)", "agent": "\(agent.path)", "by": "\(caller)",
    ]
    logger.notice("fencing host", metadata: metadata)
    do {
      try await BlockingThread.detached { try agent.fence() }
    } catch {
      logger.error("host not fenced", metadata: metadata.merging(["reason": "\(error)"]) { $1 })
      throw error
    }
    logger.notice("host fenced", metadata: metadata)
  }
}

extension FenceAgent {
  /// Why a host that it switched off is dead.
  var reason: String { "fenced by \(path)" }
}

extension Host {
  /// That this very run of it is dead.
  fileprivate var confirmation: ConfirmHostDeadRequest {
    ConfirmHostDeadRequest {
      $0.host = name
      $0.bootId = bootId
    }
  }
}
