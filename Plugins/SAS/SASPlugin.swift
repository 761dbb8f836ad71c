import BlockFunctions
import FunctionPluginKit
import LinuxDevices
import Services

/// The device class "sas": disks, by what is the same for all classes of disks, and adapters' virtual functions.
struct SASPlugin: FunctionPlugin {
  static let name = SASDisks.name
  static let deviceClass = SASDisks.name
  static let version = BlockPlugin<SASDisks>.version
  static let configurationSchema = SASConfiguration.schema

  private let context: PluginContext
  private let disks: BlockPlugin<SASDisks>
  private let adapters: AdapterFunctions
  /// One function after the other is given a virtual function.
  private let adapterVerbs = BlockingThread(name: "iov-adapters")

  init(configuration: SASConfiguration, context: PluginContext) async throws {
    let disks = try await BlockPlugin<SASDisks>(
      configuration: configuration.disks, context: context.knowing { !AdapterFunctions.owns($0) })
    let adapters = AdapterFunctions(
      configuration.adapters, hostName: context.hostName, stateDirectory: context.stateDirectory,
      orderedFunctions: context.functionCount)
    try await self.init(disks: disks, adapters: adapters, context: context)
  }

  init(disks: BlockPlugin<SASDisks>, adapters: AdapterFunctions, context: PluginContext) async throws {
    self.disks = disks
    self.adapters = adapters
    self.context = context
    // Also after a reboot, which takes an adapter's functions away.
    try await adapterVerbs.run { try adapters.settleCounts() }
  }

  func describe() -> PluginOffer { disks.describe() }

  func discover() async throws -> [EndNode] {
    try await disks.discover()
      + adapterVerbs.run { [adapters] in
        // One that has come, or come back, has none of the functions that it is to have.
        try adapters.settleCounts()
        return try adapters.endNodes()
      }
  }

  func rescan() async throws {
    try await disks.rescan()
    try await adapterVerbs.run { [adapters] in try adapters.rescan() }
  }

  /// What others change of adapters is seen with the next change of disks, or by a rescan.
  func watch() -> AsyncStream<Void> { disks.watch() }

  func validate(_ request: FunctionRequest) async throws -> [String] {
    guard AdapterFunctions.owns(request) else { return try await disks.validate(request) }
    return try await adapterVerbs.run { [adapters] in try adapters.problems(with: request) }
  }

  func create(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request, { try $0.create(request) }, { try await $0.create(request) })
  }

  func destroy(_ request: FunctionRequest) async throws -> FunctionStatus {
    let status = try await perform(request, { try $0.destroy(request) }, { try await $0.destroy(request) })
    // Its adapter may have another number of functions now.
    if AdapterFunctions.owns(request) { disks.changed() }
    return status
  }

  func attach(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request, { try $0.attach(request) }, { try await $0.attach(request) })
  }

  func detach(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request, { try $0.detach(request) }, { try await $0.detach(request) })
  }

  func fence(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request, { try $0.detach(request) }, { try await $0.fence(request) })
  }

  /// What can change of a function in use are its limits, and an adapter's has none.
  func configure(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request, { try $0.observe(request) }, { try await $0.configure(request) })
  }

  func adopt(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request, { try $0.observe(request) }, { try await $0.adopt(request) })
  }

  /// A virtual function holds no data: it is reset when it is taken back.
  func scrub(
    _ request: FunctionRequest, progress: @Sendable (_ done: UInt64, _ total: UInt64) async throws -> Void
  ) async throws -> FunctionStatus {
    guard AdapterFunctions.owns(request) else { return try await disks.scrub(request, progress: progress) }
    return try await adapterVerbs.run { [adapters] in try adapters.observe(request) }
  }

  func serve(_ request: FunctionRequest) async throws -> FunctionStatus { try await disks.serve(request) }
  func unserve(_ request: FunctionRequest) async throws -> FunctionStatus { try await disks.unserve(request) }
  func connect(_ request: FunctionRequest) async throws -> FunctionStatus { try await disks.connect(request) }
  func disconnect(_ request: FunctionRequest) async throws -> FunctionStatus { try await disks.disconnect(request) }
  func takeControl(_ request: ControlRequest) async throws {
    guard !request.endNode.hasPrefix(Adapter.prefix) else { return }
    try await disks.takeControl(request)
  }

  func settleFunctionCount(of endNode: String) async throws {
    guard endNode.hasPrefix(Adapter.prefix) else { return try await disks.settleFunctionCount(of: endNode) }
    try await adapterVerbs.run { [adapters] in try adapters.settleCounts() }
  }

  func observe() async throws -> [FunctionStatus] {
    let known = context.knownFunctions.filter(AdapterFunctions.owns)
    return try await disks.observe()
      + adapterVerbs.run { [adapters] in known.map { (try? adapters.observe($0)) ?? FunctionStatus($0, .unspecified) } }
  }

  func statistics(function: String?) async throws -> [FunctionStatistics] {
    try await disks.statistics(function: function)
  }

  private func perform(
    _ request: FunctionRequest, _ body: @escaping @Sendable (AdapterFunctions) throws -> FunctionStatus,
    _ others: (BlockPlugin<SASDisks>) async throws -> FunctionStatus
  ) async throws -> FunctionStatus {
    guard AdapterFunctions.owns(request) else { return try await others(disks) }
    return try await adapterVerbs.run { [adapters] in try body(adapters) }
  }
}
