import Messages

extension TrackedFunction {
  /// What is reported of the function; nil while there is nothing to say.
  ///
  /// ABSENT is a proof to the coordinator, so it is said only when the plugin has confirmed the release under its token.
  /// A function that is merely not there (not made yet, or lost) is reported without a phase.
  func status(blockedBy reason: FunctionError?) -> FunctionStatus? {
    let error = error ?? reason
    var status = FunctionStatus()
    switch observation {
    case .unknown:
      guard error != nil || release != .notBegun else { return nil }
    case .absent: break
    case .present(let observed): status = observed
    }
    status.function = function(of: status)
    status.role = key.role
    status.phase = phase(observed: status.phase)
    if status.phase != .inUse {
      status.arrival = nil
      status.serverPort = 0
      status.health = nil
    }
    // A fencer has no function that could be observed.
    status.scrub = scrub ?? status.scrub
    // By this an orphan is adopted. What is wanted is known to whoever wants it, but for who has it: under one token it may have
    // been set up for another claim. What became an orphan just now was set up by this agent, and has not been observed since.
    status.assignment = wanted == nil ? status.assignment ?? applied : status.assignment.flatMap(ofAnother)
    // What keeps the plugin from knowing the function, if nothing else is wrong. That its token is spent is news of what nobody wants.
    let isNews = wanted == nil || status.error?.highestToken == nil
    status.error = error ?? (isNews ? status.error : nil)
    status.revision = answeredRevision(in: status.phase, error)
    return status
  }

  private func ofAnother(_ made: Assignment) -> Assignment? {
    made.claimUid.isEmpty || made.claimUid == wanted?.assignment?.claimUid ? nil : made
  }

  /// A function that is in use answers a change of its entry once it is made, or has failed.
  private func answeredRevision(in phase: FunctionPhase, _ error: FunctionError?) -> UInt64 {
    guard let wanted else { return 0 }
    let isToChange = phase == .inUse && !wanted.released && error == nil && nextVerb != nil
    return isToChange ? fulfilled : wanted.revision
  }

  private func phase(observed: FunctionPhase) -> FunctionPhase {
    switch release {
    case .notBegun: observed == .absent ? .unspecified : observed
    case .cut, .scrubbed: .scrubbing
    case .done: .absent
    }
  }

  /// The function's identity, also where the plugin left something out or there is nothing to observe.
  private func function(of status: FunctionStatus) -> VirtualFunction {
    var function = status.function ?? VirtualFunction()
    function.id = key.function
    var token = FencingToken()
    token.value = key.token
    function.token = token
    function.deviceClass = deviceClass
    guard let assignment = wanted?.assignment else { return function }
    function.endNode = assignment.endNode
    function.claimUid = assignment.claimUid
    function.fenceDomain = assignment.fenceDomain
    return function
  }
}
