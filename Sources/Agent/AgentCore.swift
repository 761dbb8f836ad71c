import Reconciliation
import Services
import Synchronization

/// The lock round the agent's state. What it decides is queued under the lock and done outside of it, in that order, by
/// the `EffectPerformer`.
package final class AgentCore: Sendable {
  /// What is to be done, in order.
  package enum Work: Sendable {
    case effect(Effect)
    case openOutbox(Outbox)
    case closeOutbox
    case send(InventoryReport)
    case rescan
    case ask(StatisticsQuestion)
  }

  /// A plugin's present process, as far as it can be called.
  package struct PluginLink: Sendable {
    package let client: VirtualFunctionsClient
    /// Of the process: what a former one said of its functions is not taken for the word of the present one.
    package let generation: UInt64
  }

  private struct PluginView {
    var plugin: Plugin
    var endNodes: [EndNode] = []
    var link: PluginLink?
  }

  private struct State {
    var reconciler: Reconciler
    var plugins: [String: PluginView]
    var hasSession = false
    var generation: UInt64 = 0
  }

  let host: String
  package let work = Mailbox<Work>()
  private let state: Mutex<State>
  private let now: @Sendable () -> Instant

  /// `deviceClasses` are those that the plugins had when they served last, by name; `formerLeaseTerm` is the one that the
  /// coordinator granted last.
  package init(
    host: String, bootID: String, plugins: [String], deviceClasses: [String: String], highestEpoch: UInt64,
    formerLeaseTerm: Duration, now: @escaping @Sendable () -> Instant
  ) {
    self.host = host
    self.now = now
    let views = plugins.map { name in
      let plugin = Plugin {
        $0.name = name
        $0.deviceClass = deviceClasses[name] ?? ""
        $0.state = .starting
      }
      return (name, PluginView(plugin: plugin))
    }
    state = Mutex(
      State(
        reconciler: Reconciler(
          host: host, bootID: bootID, plugins: plugins, highestEpoch: highestEpoch,
          formerLeaseUntil: now().advanced(by: formerLeaseTerm)),
        plugins: Dictionary(views, uniquingKeysWith: { first, _ in first })))
  }

  var plugins: [Plugin] { state.withLock { Self.report($0).plugins } }
  /// Whether the coordinator's word is still good.
  var hasLease: Bool { state.withLock { $0.reconciler.hasLease(at: now()) } }
  var statuses: [FunctionStatus] { state.withLock { $0.reconciler.statuses } }

  /// Whether a step may be begun at this moment.
  package func mayBegin(_ step: Step) -> Bool { state.withLock { $0.reconciler.mayBegin(step, at: now()) } }

  package func handle(_ event: Event) { state.withLock { handle(event, &$0) } }

  private func handle(_ event: Event, _ state: inout State) {
    for effect in state.reconciler.handle(event, at: now()) { work.put(.effect(effect)) }
  }

  // MARK: The coordinator

  func openSession(epoch: UInt64, leaseUntil: Instant, outbox: Outbox) {
    state.withLock { state in
      state.hasSession = true
      work.put(.openOutbox(outbox))
      handle(.sessionOpened(epoch: epoch, leaseUntil: leaseUntil), &state)
      work.put(.send(Self.report(state)))
    }
  }

  func closeSession() {
    state.withLock { state in
      state.hasSession = false
      work.put(.closeOutbox)
      handle(.sessionClosed, &state)
    }
  }

  /// Has every plugin look for devices anew.
  func rescan() { work.put(.rescan) }

  /// Has the question answered, in the session that it came by.
  func ask(_ question: StatisticsQuestion) { work.put(.ask(question)) }

  // MARK: Plugins

  var servingPlugins: [String] {
    state.withLock { state in state.plugins.keys.sorted().filter { state.plugins[$0]?.link != nil } }
  }

  package func link(to plugin: String) -> PluginLink? { state.withLock { $0.plugins[plugin]?.link } }

  func link(toClass deviceClass: String) -> PluginLink? {
    state.withLock { state in
      state.plugins.values.first { $0.link != nil && $0.plugin.deviceClass == deviceClass }?.link
    }
  }

  /// Takes a plugin into service, unless another one serves its class already; then it answers that one's name.
  package func serve(_ plugin: Plugin, endNodes: [EndNode], client: VirtualFunctionsClient) -> String? {
    state.withLock { state in
      let rival = state.plugins.keys.sorted().first { name in
        name != plugin.name && state.plugins[name]?.link != nil
          && state.plugins[name]?.plugin.deviceClass == plugin.deviceClass
      }
      if let rival { return rival }
      state.generation += 1
      let link = PluginLink(client: client, generation: state.generation)
      let endNodes = endNodes.map { $0.filled(host: host, deviceClass: plugin.deviceClass) }
      state.plugins[plugin.name] = PluginView(plugin: plugin, endNodes: endNodes, link: link)
      reportInventory(state)
      handle(.pluginServing(plugin: plugin.name, deviceClass: plugin.deviceClass), &state)
      return nil
    }
  }

  func pluginFailed(_ name: String, _ message: String) { pluginIsGone(name, .failed, message) }
  func pluginRestarts(_ name: String, _ message: String) { pluginIsGone(name, .starting, message) }

  /// What was found of its devices before is not said any more, which tells nobody that they are gone.
  private func pluginIsGone(_ name: String, _ pluginState: PluginState, _ message: String) {
    state.withLock { state in
      guard var view = state.plugins[name] else { return }
      view.plugin.state = pluginState
      view.plugin.message = message
      view.endNodes = []
      view.link = nil
      let isNews = view.plugin != state.plugins[name]?.plugin
      state.plugins[name] = view
      if isNews { reportInventory(state) }
      handle(.pluginGone(plugin: name, reason: message), &state)
    }
  }

  func pluginFound(_ name: String, endNodes: [EndNode]) {
    state.withLock { state in
      guard let view = state.plugins[name], view.link != nil else { return }
      let found = endNodes.map { $0.filled(host: host, deviceClass: view.plugin.deviceClass) }
      let endNodes = withControl(of: view.endNodes, found)
      if view.endNodes != endNodes {
        state.plugins[name]?.endNodes = endNodes
        reportInventory(state)
      }
      // What changed may be a function, too.
      handle(.pluginChanged(plugin: name), &state)
    }
  }

  /// What was found, under the highest tokens that are known: a discovery that began before control was taken may be told
  /// after it.
  private func withControl(of known: [EndNode], _ found: [EndNode]) -> [EndNode] {
    found.map { endNode in
      var endNode = endNode
      let token = known.first { $0.id == endNode.id }?.physicalFunction?.controlToken
      if let token, token.value > endNode.physicalFunction?.controlToken?.value ?? 0 {
        endNode.takeControl(under: token)
      }
      return endNode
    }
  }

  /// What is in force now, as the plugin read it back.
  package func controlTaken(_ status: ControlStatus, plugin name: String) {
    state.withLock { state in
      if let index = state.plugins[name]?.endNodes.firstIndex(where: { $0.id == status.endNode }) {
        state.plugins[name]?.endNodes[index].takeControl(under: status.controlToken)
        reportInventory(state)
      }
      handle(.controlTaken(endNode: status.endNode, token: status.controlToken?.value ?? 0), &state)
    }
  }

  /// Takes an observation, unless another process has taken the plugin's place since it was asked for.
  package func observed(_ plugin: String, generation: UInt64, _ event: Event) {
    state.withLock { state in
      guard state.plugins[plugin]?.link?.generation == generation else { return }
      handle(event, &state)
    }
  }

  // MARK: Inventory

  private func reportInventory(_ state: State) {
    if state.hasSession { work.put(.send(Self.report(state))) }
  }

  private static func report(_ state: State) -> InventoryReport {
    let views = state.plugins.keys.sorted().compactMap { state.plugins[$0] }
    return InventoryReport {
      $0.plugins = views.map(\.plugin)
      $0.endNodes = views.flatMap(\.endNodes)
    }
  }
}

extension EndNode {
  fileprivate mutating func takeControl(under token: FencingToken?) {
    var physical = physicalFunction ?? PhysicalFunction()
    physical.controlToken = token
    physicalFunction = physical
  }
}
