import Logging
import Messages
import Synchronization

/// Writes for operators what became durable: each proof, and each claim's way.
struct DecisionLog: Sendable {
  private let logger: Logger
  /// By host: the run that is known to be dead, and was written down.
  private let deaths: Deaths

  private final class Deaths: Sendable {
    let byHost: Mutex<[String: String]>
    init(_ byHost: [String: String]) { self.byHost = Mutex(byHost) }
  }

  /// - Parameter hosts: as they were before the first event; their deaths were written down when they were proven.
  init(hosts: [Host], logger: Logger) {
    self.logger = logger
    let known = hosts.compactMap { host in host.death.map { (host.name, $0.bootId) } }
    deaths = Deaths(Dictionary(known, uniquingKeysWith: { first, _ in first }))
  }

  func note(_ host: Host) {
    let isNews = deaths.byHost.withLock { known in
      let former = known[host.name]
      known[host.name] = host.death?.bootId
      return former != host.death?.bootId
    }
    guard isNews else { return }
    guard let death = host.death else {
      logger.notice("host is back", metadata: ["host": "\(host.name)", "boot": "\(host.bootId)"])
      return
    }
    logger.notice(
      "host is dead", metadata: ["host": "\(host.name)", "boot": "\(death.bootId)", "reason": "\(death.reason)"])
  }

  func note(_ claim: Claim, before: Claim?) {
    guard before?.status?.phase != claim.status?.phase else { return }
    guard claim.status?.phase == .reclaiming else {
      return logger.info("claim changed", metadata: claim.metadata)
    }
    var metadata = claim.metadata
    metadata["reason"] = "\(claim.status?.pending.first?.message ?? "")"
    logger.notice("claim is reclaimed", metadata: metadata)
  }

  func noteGone(_ claim: Claim) { logger.info("claim gone", metadata: claim.metadata) }
}

extension Claim {
  /// What it is and holds, for logs.
  var metadata: Logger.Metadata {
    var metadata: Logger.Metadata = ["claim": "\(name)", "phase": "\(status?.phase ?? .unspecified)"]
    if let assignment = status?.assignment {
      metadata["function"] = "\(assignment.function)"
      metadata["host"] = "\(assignment.host)"
      metadata["token"] = "\(assignment.token?.value ?? 0)"
    }
    return metadata
  }
}
