import FunctionPluginKit
import LinuxDevices
import Services

/// The device class "ethernet": any network card. One that makes functions of its own (SR-IOV) gives those away; every card is
/// shared by macvlan, and carried to other hosts by VXLAN.
struct EthernetPlugin: FunctionPlugin {
  static let name = "ethernet"
  static let deviceClass = "ethernet"
  static let version = "0.1.0"
  static let configurationSchema = EthernetConfiguration.schema
  static let mediator = "vxlan"

  private let functions: EthernetFunctions
  private let context: PluginContext
  /// Verbs run here, one at a time: netlink calls block, and functions share qdiscs of their card.
  private let verbs = BlockingThread(name: "iov-ethernet")
  /// Looking for cards does not hold up verbs.
  private let discovery: BlockingThread
  private let watchers = Watchers()

  init(configuration: EthernetConfiguration, context: PluginContext) async throws {
    let discovery = BlockingThread(name: "iov-discovery")
    let hostName = context.hostName
    let table = try FunctionTable(path: context.stateDirectory + "/functions")
    let functions = try await discovery.run {
      try EthernetFunctions(
        hostName: hostName, configuration: configuration, namespace: .current(), table: table,
        orderedFunctions: context.functionCount)
    }
    try await self.init(functions: functions, context: context, discovery: discovery)
  }

  /// Of a kernel that is there already.
  init(
    functions: EthernetFunctions, context: PluginContext,
    discovery: BlockingThread = BlockingThread(name: "iov-discovery")
  ) async throws {
    self.functions = functions
    self.context = context
    self.discovery = discovery
    // Also after a reboot, which takes a card's functions away.
    try await verbs.run { try functions.settleCounts() }
  }

  func describe() -> PluginOffer {
    PluginOffer(
      mediatorsOffered: [Self.mediator], mediatorsAccepted: [Self.mediator], capabilities: Card.capabilities)
  }

  func discover() async throws -> [EndNode] {
    try await discovery.run { [functions] in
      do {
        return try functions.cards().map(functions.endNode)
      } catch {
        throw PluginError(error)
      }
    }
  }

  func rescan() async throws {
    try await perform { functions in
      functions.forgetFindings()
      try functions.settleCounts()
    }
  }

  func watch() -> AsyncStream<Void> {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let cards = watchCards(continuation)
    let namespaces = watchNamespaces(continuation)
    let devices = watchDevices(continuation)
    let troubles = watchTroubles(continuation)
    let counts = watchCounts(continuation)
    continuation.onTermination = { _ in
      cards.cancel()
      devices.cancel()
      troubles.cancel()
      namespaces.cancel()
      counts.cancel()
    }
    return stream
  }

  /// A card's count, and who holds it, change without any device that comes or goes.
  private func watchCounts(_ continuation: AsyncStream<Void>.Continuation) -> Task<Void, Never> {
    let changes = watchers.add().changes
    return Task { for await _ in changes { continuation.yield() } }
  }

  /// Consumers' namespaces end, and others come under their names.
  private func watchNamespaces(_ continuation: AsyncStream<Void>.Continuation) -> Task<Void, Never> {
    Task {
      do {
        let watch = try NamespaceWatch(in: functions.namespace)
        for await change in watch.changes where concernsFunctions(change) {
          // Who looks as soon as there is a name finds a file that is no namespace yet.
          if case .name = change { try await Task.sleep(for: .milliseconds(50)) }
          continuation.yield()
        }
      } catch {
        if error is CancellationError { return }
        context.logger.warning("network namespaces are not watched", metadata: ["error": "\(error)"])
      }
    }
  }

  private func concernsFunctions(_ change: NamespaceWatch.Change) -> Bool {
    let used = context.knownFunctions.compactMap { request -> String? in
      guard case .networkNamespace(let consumer) = request.assignment?.consumer?.kind, request.role != .server else {
        return nil
      }
      return consumer.name
    }
    switch change {
    case .ended: return !used.isEmpty
    case .name(let name): return used.contains(name)
    }
  }

  private func watchTroubles(_ continuation: AsyncStream<Void>.Continuation) -> Task<Void, Never> {
    Task {
      let watch = TroubleWatch(
        functions: functions, known: { [context] in context.knownFunctions }, thread: discovery)
      await watch.run { error in
        context.logger.warning("functions in use were not watched for a moment", metadata: ["error": "\(error)"])
      } tell: {
        continuation.yield()
      }
    }
  }

  /// Functions come and go as interfaces too; only a change of the cards is passed on.
  private func watchCards(_ continuation: AsyncStream<Void>.Continuation) -> Task<Void, Never> {
    Task {
      defer { continuation.finish() }
      do {
        let watch = try LinkWatch(in: functions.namespace)
        var last: [EndNode]?
        for await _ in watch.changes { try await lookForChanges(since: &last, continuation) }
      } catch {
        if !(error is CancellationError) {
          context.logger.warning("interfaces are not watched", metadata: ["error": "\(error)"])
        }
      }
    }
  }

  /// What has no interface: functions of cards that come or go, and those that are bound to another driver.
  private func watchDevices(_ continuation: AsyncStream<Void>.Continuation) -> Task<Void, Never> {
    Task {
      do {
        let watch = try DeviceWatch(in: functions.namespace, subsystems: ["pci"])
        // Making functions is a thousand events, of which the last one matters.
        let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let forwarding = Task { for await _ in watch.changes { signal.yield() } }
        defer { forwarding.cancel() }
        var last: [EndNode]?
        for await _ in signals { try await lookForChanges(since: &last, continuation) }
      } catch {
        if error is CancellationError { return }
        context.logger.warning("devices are not watched", metadata: ["error": "\(error)"])
      }
    }
  }

  private func lookForChanges(
    since last: inout [EndNode]?, _ continuation: AsyncStream<Void>.Continuation
  ) async throws {
    // A change seldom comes alone, and nobody waits for it.
    try await Task.sleep(for: .milliseconds(50))
    // A card that has come back has none of its functions.
    try? await verbs.run { [functions] in try functions.settleCounts() }
    guard let found = try? await discover(), found != last else { return }
    last = found
    continuation.yield()
  }

  func validate(_ request: FunctionRequest) async throws -> [String] {
    try await verbs.run { [functions] in functions.validate(request) }
  }

  func create(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.create(request) }
  }

  func destroy(_ request: FunctionRequest) async throws -> FunctionStatus {
    let isOwn = request.assignment?.path == .direct
    let status = try await perform { functions in
      let status = try functions.destroy(request)
      // The last one may have kept its card from the count that is wanted.
      if isOwn { try? functions.settleCounts() }
      return status
    }
    if isOwn { watchers.changed() }
    return status
  }

  func attach(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.attach(request) }
  }

  func detach(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.detach(request) }
  }

  func serve(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.serve(request) }
  }

  func unserve(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.unserve(request) }
  }

  func connect(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.connect(request) }
  }

  func disconnect(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.disconnect(request) }
  }

  func configure(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.configure(request) }
  }

  func fence(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.fence(request) }
  }

  func adopt(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform { try $0.adopt(request) }
  }

  func scrub(
    _ request: FunctionRequest, progress: @Sendable (UInt64, UInt64) async throws -> Void
  ) async throws -> FunctionStatus {
    try await perform { try $0.scrub(request) }
  }

  func settleFunctionCount(of endNode: String) async throws {
    try await perform { try $0.settleCount(of: endNode) }
  }

  func observe() async throws -> [FunctionStatus] {
    let context = context
    return try await perform { try $0.observe(known: context.knownFunction) }
  }

  func statistics(function: String?) async throws -> [FunctionStatistics] {
    try await perform { try $0.statistics(function: function) }
  }

  private func perform<Value: Sendable>(
    _ verb: @escaping @Sendable (EthernetFunctions) throws -> Value
  ) async throws -> Value {
    try await verbs.run { [functions] in
      do {
        return try verb(functions)
      } catch {
        throw PluginError(error)
      }
    }
  }
}
