import Messages

// The coordinator's words are good for as long as its lease: what it wanted may be another's by now.
extension Reconciler {
  mutating func openSession(epoch: UInt64, leaseUntil: Instant) {
    guard obey(epoch) else { return }
    session = Session()
    self.leaseUntil = leaseUntil
    hasOldWords = true
  }

  mutating func renewLease(until: Instant) {
    let hadRunOut = hasRunOutOfLease
    leaseUntil = max(leaseUntil ?? until, until)
    if hadRunOut { touched.formUnion(functions.keys) }
  }

  /// Of this run of the agent, or of the one before it, which nobody knows of more exactly.
  var leaseEnd: Instant { leaseUntil ?? formerLeaseUntil }

  var hasRunOutOfLease: Bool { now >= leaseEnd }

  /// Of this run of the agent.
  public func hasLease(at now: Instant) -> Bool { leaseUntil.map { now < $0 } ?? false }

  /// Why nothing may be set up just now; nil if it may. Tearing down may always go on: a release is good for ever.
  func reasonNotToSetUp(at now: Instant) -> String? {
    guard let leaseUntil else { return "the coordinator has not spoken to this agent since it started" }
    guard now < leaseUntil else {
      return "the lease has run out, and with it the coordinator's word: this waits until it answers again"
    }
    // A new session's lease does not make words of the last one good: they may be as old as the silence between the two.
    // Nor does the end of that session, if it came before any.
    guard !hasOldWords else { return "the coordinator has yet to say what it wants" }
    return (unwritten[.epoch] ?? unwritten[.journal]).map {
      "the agent cannot write down what it does, so that it sets nothing up: \($0)"
    }
  }

  /// Whether a step that was decided on may be begun at this moment. To be asked right before the plugin is: the process
  /// may have been stopped since, for longer than the lease.
  public func mayBegin(_ step: Step, at now: Instant) -> Bool {
    !step.needsWord || reasonNotToSetUp(at: now) == nil
  }

  mutating func stepWithheld(_ key: FunctionKey) {
    guard functions[key]?.isStepping ?? false else { return }
    functions[key]?.activity = .idle
    touchAll(of: key.function)
  }

  // MARK: Self-fence

  /// Lets go of what its claim wants let go of when the coordinator is lost for longer than the lease. Not of what is
  /// served to others: their hosts have leases of their own.
  mutating func fenceWithoutLease() {
    guard hasRunOutOfLease else { return }
    for key in selfFencing {
      guard var function = functions[key], function.selfFence == .notBegun,
        function.isPresent || function.isStepping
      else { continue }
      // Once begun it is brought to its end, lease or not: the plugin may have written the token off already.
      function.selfFence = .begun
      functions[key] = function
      clearFailures(of: key)
      touched.insert(key)
    }
  }

  /// When the lease ends, if something hangs on it.
  var fenceDue: Instant? {
    hasRunOutOfLease || selfFencing.isEmpty ? nil : leaseEnd
  }

  mutating func noteLossPolicy(of key: FunctionKey) {
    guard let wanted = functions[key]?.wanted, !wanted.released, key.role == .direct || key.role == .consumer,
      wanted.assignment?.lossPolicy == .selfFence
    else {
      selfFencing.remove(key)
      return
    }
    selfFencing.insert(key)
  }

  /// What the coordinator has to hear of a function that was let go of: its token is spent.
  func selfFenceError(of key: FunctionKey) -> FunctionError {
    var error = FunctionError()
    error.host = host
    error.step = "self-fence"
    error.code = StepFailure.failedPrecondition
    error.message =
      "the host was without its coordinator for longer than its lease, and let go of \(key.function) as the claim asks for"
    error.permanent = true
    var token = FencingToken()
    token.value = key.token
    error.highestToken = token
    return error
  }
}
