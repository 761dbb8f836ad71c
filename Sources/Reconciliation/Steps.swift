import Messages

extension Reconciler {
  mutating func startSteps() {
    for key in touched.sorted() { startStep(key) }
  }

  private mutating func startStep(_ key: FunctionKey) {
    // A step whose answer was lost may have been done: what was observed since then is what is wanted.
    if let function = functions[key], function.isAsWanted { clearFailures(of: key) }
    guard var function = functions[key], function.activity == .idle,
      let verb = function.nextVerb, let assignment = function.wanted?.assignment,
      let plugin = pluginOfClass[function.deviceClass], plugins[plugin]?.isObserved ?? false,
      !isAnotherStepping(than: key), rival(of: key) == nil, !isBeingTakenOver(key),
      !key.role.needsWord(for: verb) || (reasonNotToSetUp(at: now) ?? lackOfControl(for: function)) == nil
    else { return }
    counter += 1
    function.activity = .stepping(verb)
    function.touched = counter
    function.sent = assignment
    functions[key] = function

    var request = FunctionRequest()
    request.assignment = assignment
    request.role = key.role
    request.fenced = function.wanted?.fenced ?? false
    request.keepOthersOut = function.wanted?.keepOthersOut ?? false
    effects.append(.step(Step(plugin: plugin, verb: verb, key: key, request: request)))
  }

  /// One step at a time for a function, whatever the role.
  private func isAnotherStepping(than key: FunctionKey) -> Bool {
    (keysOfFunction[key.function] ?? []).contains { $0 != key && functions[$0]?.isStepping ?? false }
  }

  /// The same function under another token, in the same role or as what it was here before. A function is never given on: the
  /// former grant has to be released first, while the plugin still obeys its token. A host that used what another one served
  /// lets go of that before it serves in its place. A release itself waits for nobody; the plugin compares the tokens.
  private func rival(of key: FunctionKey) -> FunctionKey? {
    guard functions[key]?.wanted?.released == false else { return nil }
    return (keysOfFunction[key.function] ?? []).sorted().first {
      guard $0.token != key.token, functions[$0]?.isPresent ?? false else { return false }
      return $0.role == key.role || ($0.token < key.token && key.role != .fencer)
    }
  }

  /// What comes in its place has the first turn, once: by that its consumer keeps what it sees. Whether that works or not, this one
  /// is released then.
  private func isBeingTakenOver(_ key: FunctionKey) -> Bool {
    guard let function = functions[key], function.wanted?.released == true, function.release == .notBegun,
      function.isPresent, reasonNotToSetUp(at: now) == nil
    else { return false }
    return functions.values.contains {
      $0.wanted?.assignment?.takesOver == key.function && $0.key.role == key.role && $0.wanted?.released == false
        && $0.failures == 0 && $0.selfFence == .notBegun && !$0.isAsWanted
    }
  }

  mutating func stepSucceeded(_ key: FunctionKey, _ status: FunctionStatus, at now: Instant) {
    guard var function = functions[key], case .stepping(let verb) = function.activity else { return }
    let sent = function.endStep(at: nextCount())
    touchAll(of: key.function)

    let refusal = function.take(status, after: verb, sent: sent)
    functions[key] = function
    if let refusal {
      fail(key, verb, StepFailure(code: StepFailure.internalError, message: refusal), draw: 1, at: now)
      observe(pluginOfClass[function.deviceClass] ?? "")
    }
  }

  mutating func scrubProgressed(_ key: FunctionKey, done: UInt64, total: UInt64) {
    guard functions[key]?.activity == .stepping(.scrub) else { return }
    var state = functions[key]?.scrub ?? ScrubState()
    (state.doneBytes, state.totalBytes, state.failure) = (done, total, "")
    functions[key]?.scrub = state
    touched.insert(key)
  }

  mutating func stepFailed(_ key: FunctionKey, _ failure: StepFailure, draw: Double, at now: Instant) {
    guard var function = functions[key], case .stepping(let verb) = function.activity else { return }
    _ = function.endStep(at: nextCount())
    functions[key] = function
    touchAll(of: key.function)

    let plugin = pluginOfClass[function.deviceClass] ?? ""
    // A plugin that is gone has not failed the function; it goes on once it is back and has been asked what there is.
    guard plugins[plugin]?.isServing ?? false else { return }
    fail(key, verb, failure, draw: draw, at: now)
    // The step may have been done in part, and something may have been lost that an earlier step made.
    observe(plugin)
  }

  private mutating func nextCount() -> UInt64 {
    counter += 1
    return counter
  }

  private mutating func fail(
    _ key: FunctionKey, _ verb: Verb, _ failure: StepFailure, draw: Double, at now: Instant
  ) {
    guard var function = functions[key] else { return }
    var error = FunctionError()
    error.host = host
    error.step = verb.rawValue
    error.code = failure.code
    error.message = failure.message
    error.permanent = failure.isPermanent
    error.highestToken = failure.highestToken.map { highest in FencingToken { $0.value = highest } }
    function.error = error
    // What is wanted has changed since the step began: no reason to wait with what is wanted now.
    if function.sent == function.wanted?.assignment, function.nextVerb == verb {
      function.failures += 1
      let delay = Backoff.delay(
        afterFailures: function.failures, isPermanent: failure.isPermanent, draw: draw)
      let until = now.advanced(by: delay)
      function.activity = .waiting(until: until)
      retries[key] = until
    }
    functions[key] = function
  }

  // MARK: Time

  mutating func retryWhatIsDue(at now: Instant) {
    timer = nil
    retryControls(dueAt: now)
    for (key, until) in retries where until <= now {
      retries[key] = nil
      functions[key]?.activity = .idle
      touched.insert(key)
    }
    for plugin in plugins.keys.sorted() {
      guard let due = plugins[plugin]?.askAgainAt, due <= now else { continue }
      observe(plugin)
    }
  }

  mutating func setTimer() {
    let retries = retries.values + plugins.values.compactMap(\.askAgainAt) + controlRetries
    let due = (retries + [fenceDue].compactMap(\.self)).min()
    // A timer that fires early finds nothing due, and is set again.
    guard let due, timer.map({ due < $0 }) ?? true else { return }
    timer = due
    effects.append(.setTimer(due))
  }

  // MARK: Reports

  mutating func report() {
    // Changed where it is: a copy would cost as much as the host has functions.
    guard session?.hasWantedState == true else { return }
    let isComplete = session?.hasReportedAll == false && plugins.values.allSatisfy(\.isSettled)
    var report = FunctionReport()
    for key in (isComplete ? Set(functions.keys) : touched).sorted() {
      guard let status = status(of: key), isComplete || session?.reported[key] != status else { continue }
      guard isWorthReporting(key) else { continue }
      session?.reported[key] = status
      report.functions.append(status)
    }
    if isComplete { session?.hasReportedAll = true }
    guard isComplete || !report.functions.isEmpty else { return }
    report.epoch = epoch
    report.revision = revision
    report.bootId = bootID
    report.complete = isComplete
    effects.append(.report(report))
  }

  /// That an orphan is gone is news to whoever was told of it, unless the function is there in another role or under
  /// another token: then only that counts.
  private func isWorthReporting(_ key: FunctionKey) -> Bool {
    guard let function = functions[key], function.wanted == nil, !function.isPresent, !function.isStepping else {
      return true
    }
    return session?.reported[key] != nil && keysOfFunction[key.function]?.count == 1
  }

  func status(of key: FunctionKey) -> FunctionStatus? {
    functions[key]?.status(blockedBy: obstacle(to: key))
  }

  /// Why a function that has a way to go is not on it.
  private func obstacle(to key: FunctionKey) -> FunctionError? {
    guard let function = functions[key], let wanted = function.wanted, !function.isStepping else { return nil }
    if !wanted.released, case .present(let status) = function.observation, status.phase == .inUse { return nil }
    if !wanted.released, function.selfFence == .done { return selfFenceError(of: key) }
    var error = FunctionError()
    error.host = host
    error.step = (function.nextVerb ?? (wanted.released ? key.role.cutVerb : key.role.firstVerb))?.rawValue ?? ""
    if let rival = rival(of: key) {
      error.code = StepFailure.failedPrecondition
      error.message = "\(key.function) is still there under token \(rival.token), which has to be released first"
      error.permanent = true
      return error
    }
    let needsWord = function.nextVerb.map(key.role.needsWord) ?? false
    let reasonToWait = needsWord ? reasonNotToSetUp(at: now) ?? lackOfControl(for: function) : nil
    guard let message = absenceOfPlugin(for: function.deviceClass) ?? reasonToWait else { return nil }
    error.code = StepFailure.unavailable
    error.message = message
    return error
  }

  private func absenceOfPlugin(for deviceClass: String) -> String? {
    if let plugin = pluginOfClass[deviceClass], let record = plugins[plugin] {
      guard case .gone(let reason) = record.state else { return nil }
      return "the plugin '\(plugin)' does not serve: \(reason)"
    }
    guard plugins.values.allSatisfy(\.isSettled) else { return nil }
    let failures = plugins.keys.sorted().compactMap { name -> String? in
      guard case .gone(let reason) = plugins[name]?.state else { return nil }
      return "'\(name)' does not serve: \(reason)"
    }
    let detail = failures.isEmpty ? "" : " (\(failures.joined(separator: "; ")))"
    return "no plugin of class '\(deviceClass)' serves on this host\(detail)"
  }

  /// What is neither there nor wanted needs no memory. A release that was done is forgotten once it was reported: if the
  /// report was lost, the coordinator sends the entry again, and the plugin confirms it again.
  mutating func forgetWhatIsGone() {
    var wantedAgain: [FunctionKey: WantedFunction] = [:]
    for key in touched {
      guard let function = functions[key], !function.isStepping else { continue }
      let isOver = function.release == .done || (function.wanted == nil && !function.isPresent)
      guard isOver else { continue }
      if function.wanted != nil { dismissed.insert(key) }
      wantedAgain[key] = function.wantedAgain
      functions[key] = nil
      retries[key] = nil
      session?.reported[key] = nil
      selfFencing.remove(key)
      keysOfFunction[key.function]?.remove(key)
      if keysOfFunction[key.function]?.isEmpty ?? false { keysOfFunction[key.function] = nil }
    }
    touched = []
    for (key, entry) in wantedAgain { take(entry, key, isOfSameLeader: false) }
    if !wantedAgain.isEmpty { startSteps() }
    touched = []
  }
}
