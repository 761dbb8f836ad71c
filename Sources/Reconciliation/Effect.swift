import Messages

/// What is to be done, in this order.
public enum Effect: Sendable, Hashable {
  /// To be durable before the next effect is performed: a leader of a lower epoch is not obeyed after a restart either. If
  /// it cannot be, `Event.writingFailed`.
  case persistEpoch(UInt64)
  /// Write down for the agent's next run, before the steps that follow.
  case remember([WantedFunction])
  case forget([FunctionKey])
  /// Before the steps that follow it. Answer with `Event.controlTaken` or `.controlFailed`.
  case takeControl(plugin: String, ControlRequest)
  case step(Step)
  /// Ask the plugin what functions there are, and answer with `Event.observed` or `.observationFailed`.
  case observe(plugin: String)
  /// Send to the coordinator.
  case report(FunctionReport)
  /// Answer with `Event.timerFired` at that time; replaces the former timer.
  case setTimer(Instant)
  /// The coordinator speaks for a deposed leader: end the session.
  case refuseCoordinator(epoch: UInt64, highestEpoch: UInt64)
}

/// One verb for one function.
public struct Step: Sendable, Hashable {
  public var plugin: String
  public var verb: Verb
  public var key: FunctionKey
  public var request: FunctionRequest

  /// Whether it may be begun only while the coordinator's word is good.
  public var needsWord: Bool { key.role.needsWord(for: verb) }

  public init(plugin: String, verb: Verb, key: FunctionKey, request: FunctionRequest) {
    self.plugin = plugin
    self.verb = verb
    self.key = key
    self.request = request
  }
}
