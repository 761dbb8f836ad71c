import LinuxDevices
import Logging
import Reconciliation
import Services
import Synchronization

/// Starts a plugin, checks it, and starts it again when it ends.
struct PluginSupervisor: Sendable {
  let plugin: PluginConfiguration
  let agent: AgentConfiguration
  let peerSubject: String?
  let core: AgentCore
  let state: StateDirectory
  let storage: BlockingThread
  /// What calls the plugin.
  let executor: EventLoopExecutor
  let logger: Logger
  let restarts: RestartSwitch
  let probe: PluginProbe
  /// A host that has just booted has little time for each of its plugins; a program that is none waits for nothing, and is rare.
  var handshakeTimeout: Duration = .seconds(15)

  /// Of iov.v1.VirtualFunctions, as this agent speaks it.
  static let protocolVersions: [UInt32] = [1]

  func run() async throws {
    defer { restarts.settled(isOver: true) }
    var delay = RetryDelay(from: .milliseconds(200), to: .seconds(10))
    var history = FailureHistory()
    var lastFailure = ""
    while !Task.isCancelled {
      let startedAt = HostClock.now()
      let isRecent = history.isRecent(at: startedAt)
      let (failure, hasServed) = await serveOnce(after: isRecent ? lastFailure : "")
      guard !Task.isCancelled else { return }
      if failure is RestartRequested {
        logger.notice("plugin is started anew: its executable or its configuration has changed")
        core.pluginRestarts(plugin.name, "it is started anew: its executable or its configuration has changed")
        continue
      }
      let description = "\(failure)"
      let frequency = history.add(at: HostClock.now())
      core.pluginFailed(plugin.name, description + frequency)
      restarts.settled()
      // One line for one trouble, however often it is met.
      if description != lastFailure || hasServed {
        logger.error("plugin does not serve", metadata: ["error": "\(description)\(frequency)"])
      }
      lastFailure = description
      if startedAt.duration(to: HostClock.now()) > .seconds(30) { delay.reset() }
      try await Task.sleep(for: delay.next())
    }
  }

  /// Runs the plugin to its end; answers why it ended, and whether it had come into service. `formerFailure` is told
  /// beside a plugin that serves again.
  private func serveOnce(after formerFailure: String) async -> (failure: any Error, hasServed: Bool) {
    let requests = restarts.arm(PluginFiles(of: plugin))
    let process: PluginProcess
    do {
      process = try await start()
    } catch {
      return (error, false)
    }
    let channel = RPCChannel(process.endpoint, executor: executor)
    let progress = Progress(formerFailure: formerFailure)
    var failure = await firstFailure(process, channel, progress, requests)
    if failure is PluginStuck {
      failure = plugin.stuck(within: probe.deadline, complaints: process.complaints.lines)
      await process.abort()
    } else if !(failure is RestartRequested), let status = await exitStatus(of: process, after: failure) {
      failure = plugin.ended(status, hasServed: progress.hasServed, complaints: await process.complaints.lastWords())
    }
    await channel.close()
    await process.stop(patience: progress.hasServed ? .seconds(5) : .milliseconds(500))
    return (failure, progress.hasServed)
  }

  /// A connection breaks before its process has ended; how it ended says more.
  private func exitStatus(of process: PluginProcess, after failure: any Error) async -> ExitStatus? {
    await process.waitUntilExit(atMost: failure is CancellationError ? .zero : .milliseconds(300))
  }

  private func start() async throws -> PluginProcess {
    if let problem = plugin.problemWithExecutable() ?? plugin.problemWithConfiguration() {
      throw PluginFailure(problem)
    }
    return try await PluginProcess.start(plugin, of: agent, peerSubject: peerSubject, logger: logger)
  }

  private func firstFailure(
    _ process: PluginProcess, _ channel: RPCChannel, _ progress: Progress, _ requests: AsyncStream<Void>
  ) async -> any Error {
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { _ = try await process.waitUntilExit() }
        group.addTask {
          for await _ in requests { throw RestartRequested() }
          try await Task.sleep(for: .seconds(1_000_000_000))
        }
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
    let description = try await describe(client, process, after: progress.formerFailure)
    let discovered: DiscoverResponse
    do {
      discovered = try await client.discover(DiscoverRequest(), options: CallOptions(timeout: .seconds(30)))
    } catch let error as RPCError {
      throw PluginFailure(
        "\(plugin.executable) could not say what devices there are: \(error.message)",
        complaints: process.complaints.lines)
    }
    if let rival = core.serve(description, endNodes: discovered.endNodes, client: client) {
      throw PluginFailure(
        "\(plugin.executable) is of class '\(description.deviceClass)', which plugin '\(rival)' serves already: "
          + "remove one of them")
    }
    progress.serves()
    restarts.settled()
    logger.info(
      "plugin serves",
      metadata: ["class": "\(description.deviceClass)", "version": "\(description.version)"])
    let (state, name) = (state, plugin.name)
    // Only for the first moments of the agent's next run.
    try? await storage.run { try state.save(deviceClass: description.deviceClass, ofPlugin: name) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await watch(client) }
      group.addTask { try await lookRegularly() }
      group.addTask { try await probe(client) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  // MARK: The handshake

  private func describe(
    _ client: VirtualFunctionsClient, _ process: PluginProcess, after formerFailure: String
  ) async throws -> Plugin {
    let said: PluginDescription
    do {
      said = try await client.describe(handshake, options: CallOptions(timeout: handshakeTimeout))
    } catch let error as RPCError {
      throw plugin.handshakeFailed(error, within: handshakeTimeout, complaints: process.complaints.lines)
    }
    var serving = try check(said)
    serving.message = formerFailure
    return serving
  }

  private var handshake: DescribeRequest {
    DescribeRequest {
      $0.protocolVersions = Self.protocolVersions
      $0.host = agent.host
      $0.mediationAddress = agent.mediationAddress ?? ""
    }
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

  /// Who does not say who it is does nothing else either: it is stopped, or waits for something that never comes.
  private func probe(_ client: VirtualFunctionsClient) async throws {
    while true {
      try await Task.sleep(for: probe.interval)
      let askedAt = HostClock.now()
      do {
        _ = try await client.describe(handshake, options: CallOptions(timeout: probe.deadline))
      } catch let error as RPCError where error.code == .deadlineExceeded {
        // If it was this process that was stopped, the plugin may have answered in time.
        if askedAt.duration(to: HostClock.now()) < probe.deadline * 2 { throw PluginStuck() }
      } catch let error as RPCError {
        // A connection that was lost is made again by the next call, unless the process has ended, which is seen elsewhere.
        logger.debug("the plugin did not say who it is", metadata: ["error": "\(error)"])
      }
    }
  }

  // MARK: Devices

  /// Until the task is cancelled. A plugin that lost its watch for another reason is asked again.
  private func watch(_ client: VirtualFunctionsClient) async throws {
    var delay = RetryDelay(from: .milliseconds(200), to: .seconds(10))
    while true {
      do {
        for try await found in try await client.watch(WatchRequest()) {
          delay.reset()
          core.pluginFound(plugin.name, endNodes: found.endNodes)
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
}

/// How a plugin that has come into service is known to be alive.
struct PluginProbe: Sendable {
  var interval: Duration = .seconds(5)
  var deadline: Duration = .seconds(10)
}

/// A plugin that runs and does not answer.
private struct PluginStuck: Error {}

/// Not a failure: the plugin's files are others now.
private struct RestartRequested: Error {}

/// How far a plugin's process has come.
private final class Progress: Sendable {
  let formerFailure: String
  private let served = Mutex(false)

  init(formerFailure: String) { self.formerFailure = formerFailure }

  var hasServed: Bool { served.withLock { $0 } }
  func serves() { served.withLock { $0 = true } }
}
