import Configuration
import LinuxDevices
import Logging
import MeshTLS
import Services

/// The daemon of one host: it supervises the plugins, keeps a session with the coordinator and brings the host's functions
/// to what is wanted.
public final class Agent: Sendable {
  private let configuration: AgentConfiguration
  private let state: StateDirectory
  private let core: AgentCore
  private let journal: Journal
  private let restarts: [String: RestartSwitch]
  private let probe: PluginProbe
  private let security: ClientTLS?
  /// Of hosts' certificates; read once, so that files which are of no use for a while keep no plugin from starting.
  private let peerSubject: String?
  private let logger: Logger

  /// Takes the state directory. Blocks on the disk.
  ///
  /// - Throws: `AgentError` if another agent has it or it is damaged; `SystemCallError` if it cannot be made;
  ///   `CertificateError` and `IdentityError` if the certificate is of no use.
  public convenience init(configuration: AgentConfiguration, logger: Logger) throws {
    try self.init(configuration: configuration, probe: PluginProbe(), logger: logger)
  }

  init(configuration: AgentConfiguration, probe: PluginProbe, logger: Logger) throws {
    self.configuration = configuration
    self.probe = probe
    restarts = Dictionary(
      configuration.plugins.map { ($0.name, RestartSwitch()) }, uniquingKeysWith: { first, _ in first })
    var logger = logger
    logger[metadataKey: "host"] = "\(configuration.host)"
    self.logger = logger
    if let problem = configuration.securityProblem { throw ConfigurationError(problem) }
    let client = try configuration.tls?.client { [logger] event in
      switch event {
      case .reloaded: logger.notice("the changed certificate files are in use")
      case .keptFormer(let error):
        logger.error(
          "the changed certificate files cannot be used; the former ones stay", metadata: ["error": "\(error)"])
      // The link tells of coordinators that were refused.
      case .refused: break
      }
    }
    security = client?.security
    peerSubject = client.map { configuration.peerSubject(in: $0.identity.cluster) }
    state = try StateDirectory(configuration.stateDirectory)
    try SmallFile.makeDirectory(configuration.runtimeDirectory)
    core = AgentCore(
      host: configuration.host, bootID: ProcessIdentity.currentBootID, plugins: configuration.plugins.map(\.name),
      deviceClasses: state.deviceClasses, highestEpoch: state.current.highestEpoch,
      formerLeaseTerm: .milliseconds(state.current.leaseTermMilliseconds), now: HostClock.now)
    journal = Journal(state.journalPath, bootID: ProcessIdentity.currentBootID)
    let remembered = journal.remembered
    core.handle(.restored(remembered.wanted, selfFenced: remembered.selfFenced))
  }

  /// The plugins as they are now.
  public var plugins: [Plugin] { core.plugins }

  /// Every function of this host as it is now.
  public var functions: [FunctionStatus] { core.statuses }

  /// Runs until the task is cancelled; then it ends the plugins' processes and leaves functions as they are. Throws if
  /// the state directory cannot be written.
  public func run() async throws {
    logger.info("agent starts", metadata: ["version": "\(iovmeshVersion)", "instance": "\(state.instanceID)"])
    if journal.damagedLines > 0 {
      logger.warning(
        "the journal is damaged; its good lines are used",
        metadata: ["journal": "\(journal.path)", "damagedLines": "\(journal.damagedLines)"])
    }
    let storage = BlockingThread(name: "iov-state")
    // One for all that is said to and by the coordinator and the plugins.
    let executor = EventLoopExecutor.next()
    try await withThrowingTaskGroup(of: Void.self) { group in
      let journal = JournalKeeper(journal, storage: storage, core: core, logger: logger)
      group.addTask { try await journal.run() }
      let performer = EffectPerformer(core: core, state: state, storage: storage, journal: journal, logger: logger)
      group.addTask(executorPreference: executor) { try await performer.run() }
      for plugin in configuration.plugins {
        let supervisor = supervisor(of: plugin, storage, executor)
        group.addTask { try await supervisor.run() }
      }
      let link = link(storage, executor)
      group.addTask { try await link.run() }
      defer { group.cancelAll() }
      do {
        try await group.next()
      } catch is CancellationError where Task.isCancelled {
        // The stop button.
      }
    }
    logger.info("agent stopped; functions stay as they are")
  }

  /// Ends those plugins, one after the other, whose executable or configuration file has changed since they were started,
  /// and starts them again. Functions in use stay as they are.
  public func restartChangedPlugins() async {
    for plugin in configuration.plugins {
      await restarts[plugin.name]?.restart(unlessStartedWith: PluginFiles(of: plugin))
    }
  }

  /// The journal of the agent that is configured so, for people, also while it runs. Blocks on the disk.
  public static func printJournal(of configuration: AgentConfiguration, _ line: (String) -> Void) throws {
    try Journal.print(StateDirectory.journalPath(in: configuration.stateDirectory), line)
  }

  private func supervisor(
    of plugin: PluginConfiguration, _ storage: BlockingThread, _ executor: EventLoopExecutor
  ) -> PluginSupervisor {
    var logger = logger
    logger[metadataKey: "plugin"] = "\(plugin.name)"
    return PluginSupervisor(
      plugin: plugin, agent: configuration, peerSubject: peerSubject, core: core, state: state, storage: storage,
      executor: executor, logger: logger,
      restarts: restarts[plugin.name] ?? RestartSwitch(), probe: probe)
  }

  private func link(_ storage: BlockingThread, _ executor: EventLoopExecutor) -> CoordinatorLink {
    let facts = HostFacts(
      name: configuration.host, instanceID: state.instanceID, bootID: ProcessIdentity.currentBootID,
      labels: configuration.labels, mediationAddress: configuration.mediationAddress)
    return CoordinatorLink(
      endpoint: configuration.coordinator, security: security, core: core, facts: facts, state: state, storage: storage,
      executor: executor, logger: logger)
  }
}
