import Glibc
import LinuxDevices
import Logging
import Services
import Synchronization

/// Serves one plugin: checks who asks and under which token, then lets the plugin act.
final class PluginService<Plugin: FunctionPlugin>: VirtualFunctionsService {
  private let configuration: Plugin.PluginConfiguration
  private let stateDirectory: String
  private let runtimeDirectory: String?
  private let tls: PluginTLS?
  private let logger: Logger
  private let ledger: DurableLedger
  private let order = FunctionOrder()
  private let session = Mutex<Session?>(nil)
  /// Told what the kit has changed by itself, and no plugin tells.
  private let watchers = Watchers()
  /// The end nodes whose number of functions is being settled, with the number that was ordered before: until it is settled nobody is
  /// told that it was taken up.
  private let settling = Mutex<[String: UInt32?]>([:])

  /// What the handshake settles.
  private struct Session: Sendable {
    let plugin: Plugin
    let context: PluginContext
  }

  init(
    configuration: Plugin.PluginConfiguration, stateDirectory: String, runtimeDirectory: String?, tls: PluginTLS? = nil,
    ledger: DurableLedger, logger: Logger
  ) {
    self.configuration = configuration
    self.stateDirectory = stateDirectory
    self.runtimeDirectory = runtimeDirectory
    self.tls = tls
    self.ledger = ledger
    self.logger = logger
  }

  static var protocolVersion: UInt32 { 1 }

  func describe(_ request: DescribeRequest, call: ServerCall) async throws -> PluginDescription {
    try checkPeer(call)
    guard request.protocolVersions.contains(Self.protocolVersion) else {
      throw RPCError(
        .failedPrecondition,
        "Plugin \(Plugin.name) \(Plugin.version) speaks version \(Self.protocolVersion) of iov.v1.VirtualFunctions, the agent "
          + "speaks \(request.protocolVersions): install matching versions.")
    }
    guard !request.host.isEmpty else { throw RPCError(.invalidArgument, "Describe lacks the host's name.") }
    let session = try await order.inTurn("") { try await self.session(for: request) }
    let offer = session.plugin.describe()
    return PluginDescription {
      $0.name = Plugin.name
      $0.deviceClass = Plugin.deviceClass
      $0.version = Plugin.version
      $0.protocolVersions = [Self.protocolVersion]
      $0.mediatorsOffered = offer.mediatorsOffered
      $0.mediatorsAccepted = offer.mediatorsAccepted
      $0.capabilities = offer.capabilities
      $0.configurationSchema = Plugin.configurationSchema
    }
  }

  private func session(for request: DescribeRequest) async throws -> Session {
    if let session = session.withLock({ $0 }) {
      guard session.context.hostName == request.host, session.context.mediationAddress == request.mediationAddress
      else {
        throw RPCError(
          .failedPrecondition,
          "This plugin process serves host \(session.context.hostName) with mediation address "
            + "'\(session.context.mediationAddress)': start it anew for another.")
      }
      return session
    }
    let runtime = runtimeDirectory ?? "/run/iov/\(request.host)/\(Plugin.name)"
    let ledger = ledger
    let context = PluginContext(
      hostName: request.host, mediationAddress: request.mediationAddress, stateDirectory: stateDirectory,
      runtimeDirectory: runtime, tls: tls, logger: logger, lookUp: { ledger.knownFunction($0) },
      list: { ledger.knownFunctions }, control: { ledger.controlToken(of: $0) },
      count: { ledger.functionCount(of: $0) })
    do {
      try SmallFile.makeDirectory(runtime)
      let plugin = try await Plugin(configuration: configuration, context: context)
      let made = Session(plugin: plugin, context: context)
      session.withLock { $0 = made }
      return made
    } catch {
      throw RPCError(verbFailure: error)
    }
  }

  func discover(_ request: DiscoverRequest, call: ServerCall) async throws -> DiscoverResponse {
    let plugin = try plugin(for: call)
    if request.rescan {
      do { try await plugin.rescan() } catch { throw RPCError(verbFailure: error) }
    }
    return try await discover(plugin)
  }

  func watch(_ request: WatchRequest, responses: ResponseWriter<DiscoverResponse>, call: ServerCall) async throws {
    call.endWhenDraining()
    let plugin = try plugin(for: call)
    // The stream first: what changes during the first discovery is seen by a second one.
    let changes = changes(of: plugin)
    try await responses.write(try await discover(plugin))
    // Also what `discover` answers as before: what changed may be a function, which the agent then looks for.
    for await _ in changes { try await responses.write(try await discover(plugin)) }
  }

  /// Ends when the plugin's own stream does, or when nobody reads it any more.
  private func changes(of plugin: Plugin) -> AsyncStream<Void> {
    let (changes, key) = watchers.add()
    let seen = plugin.watch()
    let forwarding = Task { [watchers] in
      for await _ in seen { watchers.changed(for: key) }
      watchers.end(key)
    }
    watchers.onEnd(of: key) { forwarding.cancel() }
    return changes
  }

  private func discover(_ plugin: Plugin) async throws -> DiscoverResponse {
    do {
      let endNodes = try await plugin.discover().map(completed).sorted { $0.id < $1.id }
      return DiscoverResponse { $0.endNodes = endNodes }
    } catch {
      throw RPCError(verbFailure: error)
    }
  }

  private func completed(_ endNode: EndNode) -> EndNode {
    var endNode = endNode
    endNode.highestToken = FencingToken { $0.value = ledger.highestToken(of: endNode.id) }
    let control = ledger.controlToken(of: endNode.id)
    if control > 0 {
      var physical = endNode.physicalFunction ?? PhysicalFunction()
      physical.controlToken = FencingToken { $0.value = control }
      endNode.physicalFunction = physical
    }
    if let former = settling.withLock({ $0[endNode.id] }) { endNode.physicalFunction?.functionCount?.ordered = former }
    return endNode
  }

  func validate(_ request: FunctionRequest, call: ServerCall) async throws -> ValidateResponse {
    let plugin = try plugin(for: call)
    do {
      let problems = try await plugin.validate(request)
      return ValidateResponse { $0.problems = problems }
    } catch {
      throw RPCError(verbFailure: error)
    }
  }

  func create(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await setUp(request, call, "Create") { try await $0.create(request) }
  }

  func attach(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await setUp(request, call, "Attach") { try await $0.attach(request) }
  }

  func serve(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await setUp(request, call, "Serve") { try await $0.serve(request) }
  }

  func connect(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await setUp(request, call, "Connect") { try await $0.connect(request) }
  }

  func configure(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await setUp(request, call, "Configure") { try await $0.configure(request) }
  }

  func adopt(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await setUp(request, call, "Adopt") { try await $0.adopt(request) }
  }

  func detach(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await takeDown(request, call, "Detach") { try await $0.detach(request) }
  }

  func unserve(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await takeDown(request, call, "Unserve") { try await $0.unserve(request) }
  }

  func fence(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await takeDown(request, call, "Fence") { try await $0.fence(request) }
  }

  func destroy(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await takeDown(request, call, "Destroy", isLast: true) { try await $0.destroy(request) }
  }

  func disconnect(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await takeDown(request, call, "Disconnect", isLast: true) { try await $0.disconnect(request) }
  }

  func scrub(_ request: FunctionRequest, responses: ResponseWriter<ScrubProgress>, call: ServerCall) async throws {
    let plugin = try plugin(for: call)
    let status = try await order.inTurn(request.functionID) {
      do {
        try await ledger.release(request, verb: "Scrub")
        return try await plugin.scrub(request) { done, total in
          try Task.checkCancellation()
          let progress = ScrubProgress {
            $0.doneBytes = done
            $0.totalBytes = total
          }
          try await responses.write(progress)
        }
      } catch {
        throw RPCError(verbFailure: error)
      }
    }
    try await responses.write(ScrubProgress { $0.status = status.completed(from: request) })
  }

  func takeControl(_ request: ControlRequest, call: ServerCall) async throws -> ControlStatus {
    let plugin = try plugin(for: call)
    return try await control(request, call, isHeld: true) { ledger, endNode, token in
      try ledger.checkControl(endNode, token: token)
      try await plugin.takeControl(request)
      try await ledger.takeControl(endNode, token: token)
      let former = ledger.functionCount(of: endNode)
      guard former != request.functionCount else { return }
      settling.withLock { if !$0.keys.contains(endNode) { $0.updateValue(former, forKey: endNode) } }
      try await ledger.setFunctionCount(endNode, request.functionCount, token: token)
      await settleFunctionCount(of: endNode, plugin)
    }
  }

  /// What comes of it is shown with the end node. A failure is no reason for the host to be without control of it, and is tried
  /// again until it is none, or another number is ordered.
  private func settleFunctionCount(of endNode: String, _ plugin: Plugin, after seconds: UInt32 = 0) async {
    let ordered = ledger.functionCount(of: endNode)
    do {
      try await plugin.settleFunctionCount(of: endNode)
      _ = settling.withLock { $0.removeValue(forKey: endNode) }
    } catch {
      logger.warning(
        "an end node's number of functions could not be settled",
        metadata: ["endNode": "\(endNode)", "error": "\(error)"])
      let pause = min(60, max(2, 2 * seconds))
      Task {
        try await Task.sleep(for: .seconds(pause))
        await order.inTurn(endNode) {
          guard ledger.functionCount(of: endNode) == ordered, settling.withLock({ $0.keys.contains(endNode) }) else {
            return
          }
          await settleFunctionCount(of: endNode, plugin, after: pause)
        }
      }
    }
    watchers.changed()
  }

  func yieldControl(_ request: ControlRequest, call: ServerCall) async throws -> ControlStatus {
    try await control(request, call, isHeld: false) { try await $0.yieldControl($1, token: $2) }
  }

  func observe(_ request: ObserveRequest, call: ServerCall) async throws -> ObserveResponse {
    let plugin = try plugin(for: call)
    do {
      let functions = try await plugin.observe().map(withAssignment)
      return ObserveResponse { $0.functions = functions }
    } catch {
      throw RPCError(verbFailure: error)
    }
  }

  /// With what this host was told when it set the function up: an orphan is adopted by that, unless it was to go already.
  private func withAssignment(_ status: FunctionStatus) -> FunctionStatus {
    guard let function = status.function, let known = ledger.knownFunction(function.id),
      known.role == status.role, known.assignment?.token == function.token
    else { return status }
    var status = status
    status.assignment = known.assignment
    if let token = function.token, let highest = ledger.released(function.id), highest >= token.value {
      status.error =
        status.error
        ?? FunctionError {
          $0.step = "observe"
          $0.code = UInt32(StatusCode.failedPrecondition.rawValue)
          $0.message = "token \(token.value) of \(function.id) is spent: this host was told to let go of it"
          $0.highestToken = FencingToken { $0.value = highest }
        }
    }
    return status
  }

  func statistics(_ request: StatisticsRequest, call: ServerCall) async throws -> StatisticsResponse {
    let plugin = try plugin(for: call)
    do {
      let functions = try await plugin.statistics(function: request.function.isEmpty ? nil : request.function)
      return StatisticsResponse { $0.functions = functions }
    } catch {
      throw RPCError(verbFailure: error)
    }
  }

  private func setUp(
    _ request: FunctionRequest, _ call: ServerCall, _ verb: String,
    _ act: @escaping @Sendable (Plugin) async throws -> FunctionStatus
  ) async throws -> FunctionStatus {
    let plugin = try plugin(for: call)
    return try await toItsEnd(request, verb) { [ledger] in
      try await ledger.admit(request, verb: verb)
      return try await act(plugin)
    }
  }

  private func takeDown(
    _ request: FunctionRequest, _ call: ServerCall, _ verb: String, isLast: Bool = false,
    _ act: @escaping @Sendable (Plugin) async throws -> FunctionStatus
  ) async throws -> FunctionStatus {
    let plugin = try plugin(for: call)
    return try await toItsEnd(request, verb) { [ledger] in
      // Refused from now on, before anything is touched: a setup that arrives late must not find the token still good.
      try await ledger.release(request, verb: verb)
      let status = try await act(plugin)
      if isLast { try await ledger.forget(request.functionID) }
      return status
    }
  }

  /// Runs a verb in its turn. A task of its own, so that an agent that stops waiting does not cut it in the middle.
  private func toItsEnd(
    _ request: FunctionRequest, _ verb: String, _ body: @escaping @Sendable () async throws -> FunctionStatus
  ) async throws -> FunctionStatus {
    let task = Task { [order, logger] in
      try await order.inTurn(request.functionID) {
        do {
          return try await body().completed(from: request)
        } catch {
          let failure = RPCError(verbFailure: error)
          logger.warning(
            "\(verb) failed",
            metadata: [
              "function": "\(request.functionID)", "claim": "\(request.assignment?.claim ?? "")",
              "token": "\(request.assignment?.token?.value ?? 0)", "error": "\(failure)",
            ])
          throw failure
        }
      }
    }
    return try await task.value
  }

  private func control(
    _ request: ControlRequest, _ call: ServerCall, isHeld: Bool,
    _ record: (DurableLedger, String, UInt64) async throws -> Void
  ) async throws -> ControlStatus {
    try checkPeer(call)
    do {
      // An end node's id is no function's, which have a token behind it.
      try await order.inTurn(request.endNode) {
        try await record(ledger, request.endNode, request.controlToken?.value ?? 0)
      }
    } catch {
      throw RPCError(verbFailure: error)
    }
    let token = ledger.controlToken(of: request.endNode)
    return ControlStatus {
      $0.endNode = request.endNode
      $0.controlToken = FencingToken { $0.value = token }
      $0.held = isHeld
    }
  }

  private func plugin(for call: ServerCall) throws -> Plugin {
    try checkPeer(call)
    guard let session = session.withLock({ $0 }) else {
      throw RPCError(.failedPrecondition, "Describe comes first: it tells the plugin which host it works for.")
    }
    return session.plugin
  }

  /// Only this user's processes and root's may speak to a plugin.
  private func checkPeer(_ call: ServerCall) throws {
    guard let credentials = call.peer.unixCredentials else {
      throw RPCError(.permissionDenied, "Plugins are asked over a Unix socket only.")
    }
    guard credentials.userID == 0 || credentials.userID == geteuid() else {
      throw RPCError(
        .permissionDenied, "User \(credentials.userID) may not ask this plugin; root and user \(geteuid()) may.")
    }
  }
}

extension FunctionRequest {
  /// The function meant; empty when the request names none, which the ledger refuses.
  var functionID: String { assignment?.function ?? "" }
}

extension FunctionStatus {
  /// With the identity of the request's function where the plugin left it out.
  func completed(from request: FunctionRequest) -> FunctionStatus {
    var status = self
    if status.function == nil, let assignment = request.assignment { status.function = VirtualFunction(assignment) }
    if status.role == .unspecified { status.role = request.role }
    return status
  }
}
