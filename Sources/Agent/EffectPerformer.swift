import LinuxDevices
import Logging
import Reconciliation
import Services

/// Does what the core decided: in order what must be ordered, side by side what takes time.
struct EffectPerformer: Sendable {
  let core: AgentCore
  let state: StateDirectory
  /// The state directory's disk.
  let storage: BlockingThread
  let journal: JournalKeeper
  let logger: Logger

  /// Until the task is cancelled.
  func run() async throws {
    var timer: Task<Void, Never>?
    defer { timer?.cancel() }
    try await withThrowingDiscardingTaskGroup { group in
      var outbox: Outbox?
      for try await work in core.work {
        switch work {
        case .openOutbox(let opened): outbox = opened
        case .closeOutbox: outbox = nil
        case .send(let inventory): outbox?.send(.inventory(inventory))
        case .rescan: for plugin in core.servingPlugins { group.addTask { await rescan(plugin) } }
        case .ask(let question):
          // In this session: the next one's coordinator has not asked.
          if let outbox { group.addTask { outbox.send(.statistics(await answer(question))) } }
        case .effect(.report(let report)): outbox?.send(.functions(report))
        case .effect(.persistEpoch(let epoch)):
          if let problem = await persist(epoch) {
            // Before the next effect is performed.
            core.handle(.writingFailed(.epoch, reason: problem))
            group.addTask { await persistLater(epoch, problem) }
          }
        case .effect(.remember(let entries)): await journal.note(wanted: entries)
        case .effect(.forget(let keys)): await journal.note(forgotten: keys)
        case .effect(.takeControl(let plugin, let request)): group.addTask { await takeControl(request, plugin) }
        case .effect(.step(let step)): group.addTask { await perform(step) }
        case .effect(.observe(let plugin)): group.addTask { await observe(plugin) }
        case .effect(.setTimer(let due)):
          timer?.cancel()
          timer = Task { await fire(at: due) }
        case .effect(.refuseCoordinator(let epoch, let highestEpoch)):
          logger.error(
            "the coordinator is of an older epoch than one that this host has obeyed; its words are refused",
            metadata: ["epoch": "\(epoch)", "highestEpoch": "\(highestEpoch)"])
          outbox?.finish()
        }
      }
      // Steps under way are left: a plugin carries a verb to its end, also when nobody waits for the answer.
      group.cancelAll()
    }
  }

  /// Answers why it did not work, or nil.
  private func persist(_ epoch: UInt64) async -> String? {
    let state = state
    do {
      try await storage.run { try state.save { $0.highestEpoch = max($0.highestEpoch, epoch) } }
      return nil
    } catch {
      return "\(error)"
    }
  }

  /// Nothing is set up by this leader's words until it has worked: an agent that ends before has done nothing that a
  /// leader of a lower epoch could contradict.
  private func persistLater(_ epoch: UInt64, _ problem: String) async {
    logger.error("whom this host obeys cannot be written down", metadata: ["epoch": "\(epoch)", "error": "\(problem)"])
    var delay = RetryDelay(from: .seconds(1), to: .seconds(10))
    repeat {
      guard (try? await Task.sleep(for: delay.next())) != nil else { return }
    } while await persist(epoch) != nil
    core.handle(.written(.epoch))
  }

  private func rescan(_ plugin: String) async {
    guard let link = core.link(to: plugin) else { return }
    do {
      let found = try await link.client.discover(
        DiscoverRequest { $0.rescan = true }, options: CallOptions(timeout: .seconds(60)))
      core.pluginFound(plugin, endNodes: found.endNodes)
    } catch {
      logger.warning("a plugin could not look anew", metadata: ["plugin": "\(plugin)", "error": "\(error)"])
    }
  }

  private func answer(_ question: StatisticsQuestion) async -> StatisticsAnswer {
    var answer = StatisticsAnswer { $0.number = question.number }
    guard let link = core.link(toClass: question.deviceClass) else {
      answer.problem = "no plugin on host '\(core.host)' serves the class '\(question.deviceClass)' just now"
      return answer
    }
    do {
      let request = StatisticsRequest { $0.function = question.function }
      answer.functions = try await link.client.statistics(request, options: CallOptions(timeout: .seconds(5))).functions
    } catch let error as RPCError where error.code == .unimplemented {
      answer.problem = "the plugin of class '\(question.deviceClass)' on host '\(core.host)' counts nothing"
    } catch {
      answer.problem =
        "the plugin of class '\(question.deviceClass)' on host '\(core.host)' could not be asked: "
        + ((error as? RPCError)?.message ?? "\(error)")
    }
    return answer
  }

  private func fire(at due: Instant) async {
    // The continuous clock counts suspend, as the instant does.
    try? await Task.sleep(for: max(Duration.zero, HostClock.now().duration(to: due)), clock: .continuous)
    if !Task.isCancelled { core.handle(.timerFired) }
  }

  private func observe(_ plugin: String) async {
    guard let link = core.link(to: plugin) else { return }
    do {
      let answer = try await link.client.observe(ObserveRequest(), options: CallOptions(timeout: .seconds(30)))
      core.observed(plugin, generation: link.generation, .observed(plugin: plugin, answer.functions))
    } catch {
      logger.warning(
        "plugin could not be asked for its functions", metadata: ["plugin": "\(plugin)", "error": "\(error)"])
      let event = Event.observationFailed(plugin: plugin, draw: .random(in: 0..<1))
      core.observed(plugin, generation: link.generation, event)
    }
  }

  private func takeControl(_ request: ControlRequest, _ plugin: String) async {
    let token = request.controlToken?.value ?? 0
    do {
      guard let link = core.link(to: plugin) else {
        throw RPCError(.unavailable, "the plugin '\(plugin)' does not serve")
      }
      let status = try await link.client.takeControl(request, options: CallOptions(timeout: .seconds(30)))
      logger.info("control taken", metadata: ["endNode": "\(request.endNode)", "token": "\(token)"])
      core.controlTaken(status, plugin: plugin)
    } catch {
      let error = error as? RPCError ?? RPCError(.unknown, "\(error)")
      logger.warning(
        "control could not be taken",
        metadata: ["endNode": "\(request.endNode)", "token": "\(token)", "error": "\(error)"])
      let failure = StepFailure(code: UInt32(error.code.rawValue), message: error.message)
      core.handle(.controlFailed(endNode: request.endNode, token: token, failure, draw: .random(in: 0..<1)))
    }
  }

  private func perform(_ step: Step) async {
    let logger = logger(for: step)
    do {
      guard let link = core.link(to: step.plugin) else {
        throw RPCError(.unavailable, "the plugin '\(step.plugin)' does not serve")
      }
      await journal.note(.begun(step.key, verb: step.verb.rawValue))
      // By the clock once more: this process may have been stopped since the step was decided on.
      guard core.mayBegin(step) else {
        logger.notice("step withheld: nothing may be set up any more")
        await journal.note(.ended(step.key, verb: step.verb.rawValue, result: "withheld"))
        return core.handle(.stepWithheld(step.key))
      }
      let status = try await step.verb.call(link.client, step.request) { done, total in
        core.handle(.scrubProgressed(step.key, done: done, total: total))
      }
      let phase = status.phase.protobufName ?? "?"
      logger.info("step done", metadata: ["phase": "\(phase)"])
      await journal.note(.ended(step.key, verb: step.verb.rawValue, result: phase))
      core.handle(.stepSucceeded(step.key, status))
    } catch {
      let error = error as? RPCError ?? RPCError(.unknown, "\(error)")
      logger.warning("step failed", metadata: ["error": "\(error)"])
      await journal.note(.ended(step.key, verb: step.verb.rawValue, result: "\(error)"))
      let failure = StepFailure(
        code: UInt32(error.code.rawValue), message: error.message,
        highestToken: error.metadata["iov-highest-token"].flatMap { UInt64($0) })
      core.handle(.stepFailed(step.key, failure, draw: .random(in: 0..<1)))
    }
  }

  private func logger(for step: Step) -> Logger {
    var logger = logger
    logger[metadataKey: "function"] = "\(step.key.function)"
    logger[metadataKey: "token"] = "\(step.key.token)"
    logger[metadataKey: "claim"] = "\(step.request.assignment?.claim ?? "")"
    logger[metadataKey: "step"] = "\(step.verb.rawValue)"
    return logger
  }
}

extension Verb {
  /// Asks a plugin. A verb may wait for hardware and for other hosts; longer than this, something is wrong and it is asked
  /// again, which is the same as waiting, since verbs are idempotent and a plugin does one at a time for a function.
  ///
  /// - Parameter progress: is told of a cleaning, once a second at most.
  func call(
    _ client: VirtualFunctionsClient, _ request: FunctionRequest,
    progress: (_ done: UInt64, _ total: UInt64) -> Void
  ) async throws -> FunctionStatus {
    let options = CallOptions(timeout: .seconds(60))
    switch self {
    case .create: return try await client.create(request, options: options)
    case .attach: return try await client.attach(request, options: options)
    case .serve: return try await client.serve(request, options: options)
    case .connect: return try await client.connect(request, options: options)
    case .configure: return try await client.configure(request, options: options)
    case .detach: return try await client.detach(request, options: options)
    case .unserve: return try await client.unserve(request, options: options)
    case .disconnect: return try await client.disconnect(request, options: options)
    case .fence: return try await client.fence(request, options: options)
    case .destroy: return try await client.destroy(request, options: options)
    case .scrub: return try await scrub(client, request, progress)
    }
  }

  /// Takes as long as the device takes: a large disk is written for hours.
  private func scrub(
    _ client: VirtualFunctionsClient, _ request: FunctionRequest, _ report: (_ done: UInt64, _ total: UInt64) -> Void
  ) async throws -> FunctionStatus {
    var next = ContinuousClock.now
    for try await progress in try await client.scrub(request) {
      if let status = progress.status { return status }
      guard ContinuousClock.now >= next else { continue }
      report(progress.doneBytes, progress.totalBytes)
      next = ContinuousClock.now + .seconds(1)
    }
    throw RPCError(.internalError, "the plugin ended its scrub without a status")
  }
}
