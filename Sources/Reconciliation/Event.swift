import Messages

/// What happened. Times and random draws come in with it: the same events always have the same effects.
public enum Event: Sendable, Hashable {
  /// What an earlier run of the agent had written down: the first event, if there is any. `selfFenced` are functions that
  /// it had begun to let go of by itself.
  case restored([WantedFunction], selfFenced: [FunctionKey])
  /// What is to be remembered cannot be written down: a step that is taken now would be lost with the agent.
  case writingFailed(AgentRecord, reason: String)
  case written(AgentRecord)

  /// A coordinator leads under this epoch and has welcomed the agent. Reports go to it from now on.
  case sessionOpened(epoch: UInt64, leaseUntil: Instant)
  /// The coordinator has answered a heartbeat.
  case leaseRenewed(until: Instant)
  case sessionClosed
  case wanted(WantedState)

  /// A plugin has passed its handshake.
  case pluginServing(plugin: String, deviceClass: String)
  /// A plugin could not be started or is no more; `reason` is for people.
  case pluginGone(plugin: String, reason: String)
  /// A plugin's devices or functions may be others than before.
  case pluginChanged(plugin: String)
  /// The answer to `Effect.observe`: every function that the plugin finds.
  case observed(plugin: String, [FunctionStatus])
  /// `draw` is in 0..<1.
  case observationFailed(plugin: String, draw: Double)

  /// The answers to `Effect.takeControl`.
  case controlTaken(endNode: String, token: UInt64)
  /// `draw` is in 0..<1.
  case controlFailed(endNode: String, token: UInt64, StepFailure, draw: Double)

  /// The answers to `Effect.step`: exactly one for each.
  case stepSucceeded(FunctionKey, FunctionStatus)
  /// `draw` is in 0..<1.
  case stepFailed(FunctionKey, StepFailure, draw: Double)
  /// A step that cleans has come further, and goes on.
  case scrubProgressed(FunctionKey, done: UInt64, total: UInt64)
  /// `mayBegin` had changed its mind before the plugin was asked.
  case stepWithheld(FunctionKey)

  /// The time of `Effect.setTimer` has come.
  case timerFired
}

/// What an agent keeps on its disk.
public enum AgentRecord: Sendable, Hashable {
  case journal
  /// Which leader it has obeyed.
  case epoch
}

/// Why a plugin did not do a step.
public struct StepFailure: Sendable, Hashable {
  /// A gRPC status code.
  public var code: UInt32
  public var message: String
  /// The step's token is stale, and this is the highest one that the plugin has seen.
  public var highestToken: UInt64?

  public init(code: UInt32, message: String, highestToken: UInt64? = nil) {
    self.code = code
    self.message = message
    self.highestToken = highestToken
  }

  /// Trying again without a change elsewhere cannot help: INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED,
  /// FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED.
  var isPermanent: Bool { [3, 5, 7, 9, 11, 12].contains(code) }

  static let failedPrecondition: UInt32 = 9
  static let internalError: UInt32 = 13
  static let unavailable: UInt32 = 14
}
