import LinuxDevices
import Logging
import MeshTLS
import Reconciliation
import Services
import Synchronization

/// Keeps a session with the coordinator, and begins another one when it ends. While there is none, functions in use stay.
package struct CoordinatorLink: Sendable {
  let endpoint: SocketEndpoint
  /// nil: plain text.
  let security: ClientTLS?
  let core: AgentCore
  let facts: HostFacts
  let state: StateDirectory
  let storage: BlockingThread
  /// What reads and writes the session.
  let executor: EventLoopExecutor
  let logger: Logger

  package init(
    endpoint: SocketEndpoint, security: ClientTLS?, core: AgentCore, facts: HostFacts, state: StateDirectory,
    storage: BlockingThread, executor: EventLoopExecutor, logger: Logger
  ) {
    self.endpoint = endpoint
    self.security = security
    self.core = core
    self.facts = facts
    self.state = state
    self.storage = storage
    self.executor = executor
    self.logger = logger
  }

  /// Between two attempts while there is a lease to be kept: a coordinator that is started again has to renew it in time.
  private static let pauseWithLease = Duration.seconds(1)

  package func run() async throws {
    var delay = RetryDelay(from: .milliseconds(200), to: .seconds(10))
    var lastComplaint = ""
    while !Task.isCancelled {
      let channel = RPCChannel(endpoint, security: security, executor: executor)
      do {
        try await withTaskExecutorPreference(executor) {
          try await session(on: channel) {
            delay.reset()
            lastComplaint = ""
          }
        }
      } catch {
        let complaint = (error as? RPCError)?.message ?? "\(error)"
        // One line for one trouble, however often it is met.
        if complaint != lastComplaint, !Task.isCancelled {
          logger.warning(
            "no session with the coordinator; functions in use stay as they are",
            metadata: ["coordinator": "\(endpoint)", "error": "\(complaint)"])
        }
        lastComplaint = complaint
      }
      await channel.close()
      try await Task.sleep(for: delay.next(atMost: core.hasLease ? Self.pauseWithLease : nil))
    }
  }

  /// One session, to its end, which is always an error.
  private func session(on channel: RPCChannel, onWelcome: () -> Void) async throws {
    let call = try await AgentSessionsClient(channel).connect()
    defer { call.cancel() }
    let facts = facts
    let plugins = core.plugins
    // Asks the kernel for the mediation interface.
    let host = try await storage.run { facts.host(plugins: plugins) }
    if facts.mediationAddress != nil, host.mediationAddress.isEmpty {
      logger.warning(
        "no interface carries the mediation address: no mediated functions until one does",
        metadata: ["address": "\(facts.mediationAddress ?? "")"])
    }
    let helloAt = HostClock.now()
    let allegiance = state.current
    try await call.write(
      AgentMessage {
        $0.kind = .hello(
          AgentHello {
            $0.host = host
            $0.highestEpoch = allegiance.highestEpoch
            $0.clusterId = allegiance.clusterID
          })
      })
    let welcome = try await welcome(from: call)
    try await join(welcome)

    onWelcome()
    logger.info(
      "session with the coordinator",
      metadata: ["coordinator": "\(endpoint)", "cluster": "\(welcome.clusterId)", "epoch": "\(welcome.epoch)"])
    let outbox = Outbox()
    let lease = LeaseClock(term: welcome.leaseTerm, helloAt: helloAt)
    core.openSession(epoch: welcome.epoch, leaseUntil: lease.goodUntil, outbox: outbox)
    defer { core.closeSession() }
    try await CoordinatorSession(call: call, welcome: welcome, outbox: outbox, core: core).run(lease)
  }

  /// The coordinator's first message. One that never says anything is given up.
  private func welcome(
    from call: BidirectionalCall<AgentMessage, CoordinatorMessage>
  ) async throws -> Welcome {
    try await withThrowingTaskGroup(of: Welcome.self) { group in
      group.addTask {
        for try await message in call.responses {
          guard case .welcome(let welcome) = message.kind else { break }
          return welcome
        }
        throw RPCError(.internalError, "\(endpoint) did not begin with a welcome: is it a coordinator?")
      }
      group.addTask {
        try await Task.sleep(for: .seconds(10))
        throw RPCError(.deadlineExceeded, "\(endpoint) did not answer the hello within 10 s")
      }
      defer { group.cancelAll() }
      guard let welcome = try await group.next() else { throw CancellationError() }
      return welcome
    }
  }

  /// A host belongs to the cluster that it joined first: obeying two would give its devices away twice.
  private func join(_ welcome: Welcome) async throws {
    let (joined, clusterID) = (state.current.clusterID, welcome.clusterId)
    guard joined.isEmpty || joined == clusterID else {
      throw RPCError(
        .failedPrecondition,
        "the coordinator at \(endpoint) leads cluster \(clusterID), and this host has joined cluster \(joined): correct "
          + "`coordinator`, or remove \(state.path)/coordinator once nothing of the former cluster is in use here")
    }
    let state = state
    try await storage.run {
      try state.save {
        $0.clusterID = clusterID
        $0.leaseTermMilliseconds = welcome.leaseTermMilliseconds
      }
    }
  }
}
