import LinuxDevices
import Logging
import Reconciliation
import Services
import Synchronization

/// Starts a plugin, checks it, and starts it again when it ends.
struct PluginSupervisor: Sendable {
  let plugin: PluginConfiguration
  let agent: AgentConfiguration
  let core: AgentCore
  let state: StateDirectory
  let storage: BlockingThread
  let logger: Logger
  var handshakeTimeout: Duration = .seconds(5)

  /// Of iov.v1.VirtualFunctions, as this agent speaks it.
  static let protocolVersions: [UInt32] = [1]

  func run() async throws {
    var delay = RetryDelay(from: .milliseconds(200), to: .seconds(10))
    var lastFailure = ""
    while !Task.isCancelled {
      let startedAt = HostClock.now()
      let (failure, hasServed) = await serveOnce()
      guard !Task.isCancelled else { return }
      core.pluginFailed(plugin.name, failure)
      // One line for one trouble, however often it is met.
      if failure != lastFailure || hasServed {
        logger.error("plugin does not serve", metadata: ["error": "\(failure)"])
      }
      lastFailure = failure
      if startedAt.duration(to: HostClock.now()) > .seconds(30) { delay.reset() }
      try await Task.sleep(for: delay.next())
    }
  }

  /// Runs the plugin to its end; answers why it ended, and whether it had come into service.
  private func serveOnce() async -> (failure: String, hasServed: Bool) {
    let process: PluginProcess
    do {
      process = try await start()
    } catch {
      return ("\(error)", false)
    }
    let channel = RPCChannel(process.endpoint)
    let progress = Progress()
    var failure = await firstFailure(process, channel, progress)
    // A connection breaks before its process has ended; how it ended says more.
    if let status = await process.waitUntilExit(atMost: failure is CancellationError ? .zero : .milliseconds(300)) {
      failure = plugin.ended(status, hasServed: progress.hasServed, complaints: await process.complaints.lastWords())
    }
    await channel.close()
    await process.stop(patience: progress.hasServed ? .seconds(5) : .milliseconds(500))
    return ("\(failure)", progress.hasServed)
  }

  private func start() async throws -> PluginProcess {
    if let problem = plugin.problemWithExecutable() ?? plugin.problemWithConfiguration() {
      throw PluginFailure(problem)
    }
    return try await PluginProcess.start(plugin, of: agent, logger: logger)
  }

  private func firstFailure(
    _ process: PluginProcess, _ channel: RPCChannel, _ progress: Progress
  ) async -> any Error {
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { _ = try await process.waitUntilExit() }
        group.addTask { try await converse(VirtualFunctionsClient(channel), process, progress) }
        defer { group.cancelAll() }
        try await group.next()
      }
      return PluginFailure("\(plugin.executable) ended")
    } catch {
      return error
    }
  }

  private func converse(
    _ client: VirtualFunctionsClient, _ process: PluginProcess, _ progress: Progress
  ) async throws {
    let description = try await describe(client, process)
    let discovered: DiscoverResponse
    do {
      discovered = try await client.discover(DiscoverRequest(), options: CallOptions(timeout: .seconds(30)))
    } catch let error as RPCError {
      throw PluginFailure(
        "\(plugin.executable) could not say what devices there are: \(error.message)",
        complaints: process.complaints.lines)
    }
    let endNodes = filled(discovered.endNodes, of: description)
    if let rival = core.serve(description, endNodes: endNodes, client: client) {
      throw PluginFailure(
        "\(plugin.executable) is of class '\(description.deviceClass)', which plugin '\(rival)' serves already: "
          + "remove one of them")
    }
    progress.serves()
    logger.info(
      "plugin serves",
      metadata: ["class": "\(description.deviceClass)", "version": "\(description.version)"])
    let (state, name) = (state, plugin.name)
    // Only for the first moments of the agent's next run.
    try? await storage.run { try state.save(deviceClass: description.deviceClass, ofPlugin: name) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await watch(client, description) }
      group.addTask { try await lookRegularly() }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  // MARK: The handshake

  private func describe(_ client: VirtualFunctionsClient, _ process: PluginProcess) async throws -> Plugin {
    let request = DescribeRequest {
      $0.protocolVersions = Self.protocolVersions
      $0.host = agent.host
      $0.mediationAddress = agent.mediationAddress ?? ""
    }
    let said: PluginDescription
    do {
      said = try await client.describe(request, options: CallOptions(timeout: handshakeTimeout))
    } catch let error as RPCError {
      throw plugin.handshakeFailed(error, within: handshakeTimeout, complaints: process.complaints.lines)
    }
    return try check(said)
  }

  private func check(_ said: PluginDescription) throws(PluginFailure) -> Plugin {
    guard let version = said.protocolVersions.filter(Self.protocolVersions.contains).max() else {
      throw PluginFailure(
        "\(plugin.executable) (\(said.name) \(said.version)) speaks versions \(said.protocolVersions) of "
          + "iov.v1.VirtualFunctions, and this agent speaks \(Self.protocolVersions): install versions that belong together"
      )
    }
    guard !said.deviceClass.isEmpty else {
      throw PluginFailure("\(plugin.executable) (\(said.name) \(said.version)) says no device class")
    }
    if let expected = plugin.deviceClass, expected != said.deviceClass {
      throw PluginFailure(
        "\(plugin.executable) is of class '\(said.deviceClass)', and its configuration says deviceClass: '\(expected)': "
          + "correct one of `executable` and `deviceClass`")
    }
    return Plugin {
      $0.name = plugin.name
      $0.deviceClass = said.deviceClass
      $0.version = said.version
      $0.protocolVersion = version
      $0.state = .serving
      $0.mediatorsOffered = said.mediatorsOffered
      $0.mediatorsAccepted = said.mediatorsAccepted
    }
  }

  // MARK: Devices

  /// Until the task is cancelled. A plugin that lost its watch for another reason is asked again.
  private func watch(_ client: VirtualFunctionsClient, _ description: Plugin) async throws {
    var delay = RetryDelay(from: .milliseconds(200), to: .seconds(10))
    while true {
      do {
        for try await found in try await client.watch(WatchRequest()) {
          delay.reset()
          core.pluginFound(plugin.name, endNodes: filled(found.endNodes, of: description))
        }
      } catch let error as RPCError where error.code == .unimplemented {
        // Nothing will change, then.
        try await Task.sleep(for: .seconds(1_000_000_000))
      } catch let error as RPCError {
        logger.debug("the watch on the plugin's devices ended", metadata: ["error": "\(error)"])
      }
      try await Task.sleep(for: delay.next())
    }
  }

  /// A function can be lost without its device changing, and nobody says so: with its network namespace, for example.
  private func lookRegularly() async throws {
    while true {
      try await Task.sleep(for: .seconds(30), tolerance: .seconds(5))
      core.handle(.pluginChanged(plugin: plugin.name))
    }
  }

  /// The end nodes with what only the agent knows: which host this is.
  private func filled(_ endNodes: [EndNode], of description: Plugin) -> [EndNode] {
    endNodes.map { said in
      var node = said
      node.deviceClass = description.deviceClass
      if node.roots.isEmpty { node.roots = [Root()] }
      for index in node.roots.indices where node.roots[index].host.isEmpty { node.roots[index].host = agent.host }
      var physicalFunction = node.physicalFunction ?? PhysicalFunction()
      if physicalFunction.controllingHost.isEmpty { physicalFunction.controllingHost = agent.host }
      node.physicalFunction = physicalFunction
      let localName = node.roots.first { $0.host == agent.host }?.localName ?? ""
      node.name = "\(agent.host)/\(localName.isEmpty ? node.id : localName)"
      return node
    }
  }
}

/// How far a plugin's process has come.
private final class Progress: Sendable {
  private let served = Mutex(false)

  var hasServed: Bool { served.withLock { $0 } }
  func serves() { served.withLock { $0 = true } }
}
