import Arbitration
import ClaimStore
import ClusterSecurity
import Configuration
import Descriptors
import LinuxDevices
import Logging
import MeshTLS
import Services

/// One run of the coordinator: the arbiter, its store and its services, on sockets.
public final class CoordinatorDaemon: Sendable {
  private let arbiter: DurableArbiter
  private let server: RPCServer
  private let health: HealthBoard
  private let store: any ClaimStore
  private let restorer: Restorer
  private let fencer: Fencer
  private let audit: AuditKeeper
  private let endpoints: [SocketEndpoint]
  /// For TCP; nil: plain text.
  private let security: ServerTLS?
  private let logger: Logger

  /// Takes the store over and reads it; it is closed when `run` returns. Blocks on the disk.
  ///
  /// - Throws: `StoreError`, also where the store contradicts itself; `CertificateError` and `IdentityError` where TLS is
  ///   configured with files that are of no use.
  /// - Parameter formerStorePath: where the store is kept in the place of which a backup was put before; empty: none was.
  public init(
    configuration: CoordinatorConfiguration, store: any ClaimStore, formerStorePath: String = "", logger: Logger
  ) throws {
    if let problem = configuration.securityProblem { throw ConfigurationError(problem) }
    let tls = try configuration.tls?.server { event in logger.report(event) }
    security = tls?.security
    let access = CallAccess(cluster: tls?.identity.cluster)
    let arbiter = try DurableArbiter(
      store: store, settings: configuration.arbiterSettings, now: SystemClock.now, logger: logger)
    restorer = Restorer(store: store, currentEpoch: { arbiter.read { $0.cluster.epoch } })
    fencer = Fencer(agents: configuration.fence, arbiter: arbiter, logger: logger)
    audit = AuditKeeper(store: store, retention: configuration.audit.retention, logger: logger)
    let questions = HostQuestions(arbiter: arbiter)
    let arrivals = Arrivals()
    // Half of a lease: heartbeats are not held up, and a host whose reports wait is no worse off than one that came later.
    let reports = ReportQueue(
      arbiter: arbiter, arrivals: arrivals,
      patience: .milliseconds(configuration.arbiterSettings.leaseTermMilliseconds / 2))
    let services: [any RPCService] = [
      ClaimsFrontend(arbiter: arbiter, store: store, makeUID: randomUUID),
      InventoryFrontend(arbiter: arbiter, questions: questions),
      AgentSessionsFrontend(
        arbiter: arbiter, reports: reports, questions: questions, access: access, logger: logger),
      OperationsFrontend(
        arbiter: arbiter, store: store, restorer: restorer, fencer: fencer, started: SystemClock.timestamp(),
        formerStorePath: formerStorePath, logger: logger),
    ]
    health = HealthBoard(of: services)
    let offered = services + [HealthFrontend(health)]
    server = RPCServer(
      services: offered + [ServerReflection(of: offered, files: FileDescriptor.all)], interceptors: [access],
      arrivals: arrivals)
    self.arbiter = arbiter
    self.store = store
    endpoints = configuration.listen
    self.logger = logger
  }

  /// Listens on the configured endpoints; answers them with their ports.
  public func bind() async throws -> [SocketEndpoint] {
    var bound: [SocketEndpoint] = []
    for endpoint in endpoints {
      let actual = try await server.bind(endpoint, security: security)
      logger.notice("listening", metadata: ["endpoint": "\(actual)"])
      bound.append(actual)
    }
    return bound
  }

  /// How a run ends well.
  public enum End: Sendable {
    /// Its task was cancelled.
    case stopped
    /// Another run is to begin: with a backup, where there is a path under which the former store is kept.
    case restored(formerStorePath: String)
  }

  /// Serves until the task is cancelled, a backup takes the store's place, or the store fails; the store is closed then, and
  /// holds all that was answered.
  public func run() async throws -> End {
    let result: Result<StoreReplacement?, any Error>
    do {
      result = .success(try await serve())
    } catch {
      result = .failure(error)
    }
    await arbiter.stop()
    if case .success(let replacement?) = result {
      return .restored(formerStorePath: await replaceStore(replacement) ? replacement.formerPath : "")
    }
    store.close()
    logger.notice("stopped")
    _ = try result.get()
    return .stopped
  }

  /// Answers the backup that is to take effect, if there is one.
  private func serve() async throws -> StoreReplacement? {
    try await withThrowingTaskGroup(of: StoreReplacement?.self) { group in
      group.addTask { [server, health] in
        try await withTaskCancellationHandler {
          try await server.run()
        } onCancel: {
          health.drain()
        }
        return nil
      }
      group.addTask { [arbiter] in
        while true {
          // A lease that ran out is noticed this much later.
          try await Task.sleep(for: .milliseconds(250))
          arbiter.submit(.timePassed)
        }
      }
      group.addTask { [arbiter] in throw try await arbiter.storeFailure() }
      group.addTask { [restorer] in await restorer.next() }
      group.addTask { [audit] in
        try await audit.run()
        return nil
      }
      arbiter.whenFenceIsWanted { [fencer] host, bootID in fencer.fenceUnasked(host, bootID: bootID) }
      defer { group.cancelAll() }
      // The store is open, and whoever holds it leads.
      health.setAll(.serving)
      do {
        return try await group.next() ?? nil
      } catch is CancellationError where Task.isCancelled {
        // The stop button.
        return nil
      }
    }
  }

  /// Where it fails the former store is in its place, or the error says what is; the next run begins with that.
  /// Answers whether the backup is in place.
  private func replaceStore(_ replacement: StoreReplacement) async -> Bool {
    do {
      try await BlockingThread.detached { [store] in
        try store.replace(with: replacement.backup.path, keepingAs: replacement.formerPath)
      }
      logger.notice("backup restored", metadata: replacement.metadata(by: "the coordinator"))
      return true
    } catch {
      store.close()
      SQLiteStore.removeCandidate(replacement.backup.path)
      logger.error("backup not restored", metadata: ["reason": "\(error)"])
      return false
    }
  }
}

extension Logger {
  fileprivate func report(_ event: CertificateEvent) {
    switch event {
    case .reloaded: notice("the changed certificate files are in use")
    case .keptFormer(let error):
      self.error("the changed certificate files cannot be used; the former ones stay", metadata: ["error": "\(error)"])
    case .refused(let peer, let reason):
      warning("a connection was refused", metadata: ["peer": "\(peer)", "reason": "\(reason)"])
    }
  }
}
