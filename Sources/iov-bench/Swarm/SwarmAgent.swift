import Agent
import LinuxDevices
import Logging
import MeshTLS
import Reconciliation
import Services
import Synchronization

/// One host of a swarm.
///
/// Real, because it is the agent's own code: the connection and its TLS, the link with its jittered reconnects, hello and join,
/// heartbeats at the rate that the coordinator asks for, the lease's clock, the reconciler with its reports, and the identity on
/// a disk (in memory, since a thousand hosts share no disk). Not real: there are no plugins' processes and no devices, what
/// they would do works at once; no journal is written, and whom it obeys is not made durable again; all hosts share the
/// boot id, two event loops and one thread for their disks.
final class SwarmAgent: Sendable {
  private struct State {
    var devices: SwarmDevices
    /// All that is on the host was reported in the session that is open.
    var hasReported = false
    var outbox: Outbox?
    var timer: Task<Void, Never>?
  }

  let name: String
  private let core: AgentCore
  private let link: CoordinatorLink
  private let executor = EventLoopExecutor.next()
  private let plugin: AgentCore.PluginLink
  private let state: Mutex<State>

  /// - Parameter unused: what agents call plugins by; no call is made.
  init(
    _ devices: SwarmDevices, coordinator: SocketEndpoint, security: ClientTLS?, directory: String,
    storage: BlockingThread, unused: VirtualFunctionsClient, logger: Logger
  ) throws {
    name = "host-\(devices.host)"
    let directory = try StateDirectory(directory + "/" + name)
    let plugin = SwarmDevices.plugin
    core = AgentCore(
      host: name, bootID: "boot", plugins: [plugin.name], deviceClasses: [:], highestEpoch: 0, formerLeaseTerm: .zero,
      now: HostClock.now)
    link = CoordinatorLink(
      endpoint: coordinator, security: security, core: core,
      facts: HostFacts(name: name, instanceID: directory.instanceID, bootID: "boot"), state: directory,
      storage: storage, executor: executor, logger: logger)
    state = Mutex(State(devices: devices))
    _ = core.serve(plugin, endNodes: devices.endNodes, client: unused)
    guard let served = core.link(to: plugin.name) else { preconditionFailure("it was taken into service just now") }
    self.plugin = served
  }

  /// Its lease is one that this session's coordinator granted.
  var hasSession: Bool { state.withLock { $0.outbox != nil } }
  var hasReported: Bool { state.withLock { $0.hasReported } }
  /// Functions that were taken from those who used them.
  var cuts: Int { state.withLock { $0.devices.cuts } }

  /// Until the task is cancelled.
  func run() async throws {
    defer { state.withLock { $0.timer?.cancel() } }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [link] in try await link.run() }
      group.addTask(executorPreference: executor) { [self] in for try await work in core.work { perform(work) } }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func perform(_ work: AgentCore.Work) {
    switch work {
    case .openOutbox(let outbox): state.withLock { $0.outbox = outbox }
    case .closeOutbox:
      state.withLock { state in
        state.outbox = nil
        state.hasReported = false
      }
    case .send(let inventory): outbox?.send(.inventory(inventory))
    case .effect(let effect): perform(effect)
    // Nobody asks for these here.
    case .rescan, .ask: return
    }
  }

  private var outbox: Outbox? { state.withLock { $0.outbox } }

  private func perform(_ effect: Effect) {
    switch effect {
    case .report(let report):
      outbox?.send(.functions(report))
      if report.complete { state.withLock { $0.hasReported = true } }
    case .step(let step):
      guard core.mayBegin(step) else { return core.handle(.stepWithheld(step.key)) }
      core.handle(.stepSucceeded(step.key, state.withLock { $0.devices.answer(step) }))
    case .observe(let name):
      let found = state.withLock { $0.devices.found }
      core.observed(name, generation: plugin.generation, .observed(plugin: name, found))
    case .takeControl(let name, let request):
      let status = ControlStatus {
        $0.endNode = request.endNode
        $0.controlToken = request.controlToken
      }
      core.controlTaken(status, plugin: name)
    case .setTimer(let due): setTimer(due)
    case .refuseCoordinator: outbox?.finish()
    case .persistEpoch, .remember, .forget: return
    }
  }

  private func setTimer(_ due: Instant) {
    let timer = Task { [core] in
      try? await Task.sleep(for: max(Duration.zero, HostClock.now().duration(to: due)), clock: .continuous)
      if !Task.isCancelled { core.handle(.timerFired) }
    }
    let former = state.withLock { state in
      defer { state.timer = timer }
      return state.timer
    }
    former?.cancel()
  }
}
