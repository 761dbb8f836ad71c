import Messages

/// A function that is or was in use may be unhealthy: its plugin says so, or its host has lost it and cannot set it up again. People are
/// told, and it is kept, unless its claim says how long it puts up with that. Then it is evicted, as by a taint, and gets another
/// function where this one was not.
///
/// One that changes too often is told as unhealthy for a while, and for twice as long the next time, so that whoever watches hears of
/// a bounded number of changes, and that what never stays healthy for long counts as what it is. A coordinator that begins anew begins
/// anew with this, and with the time that a claim puts up with it.
extension Arbiter {
  /// - Parameters:
  ///   - server: what the host that has the function says of it; nil: nothing yet.
  ///   - consumer: the same of the consumer's host, on a mediated path.
  mutating func takeHealth(of state: inout ClaimState, _ server: FunctionStatus?, _ consumer: FunctionStatus?) {
    let (name, told) = (state.claim.name, state.claim.status?.health)
    let problem = problem(of: state.controlling, server, state) ?? problem(of: state.consumer, consumer, state)
    // Of most nothing is ever known against them.
    guard let now, problem != nil || told != nil else { return }
    let uses = state.assignment?.path == .mediated ? [server, consumer] : [server]
    // What was last heard of hosts that say nothing now does not make it well again.
    guard problem != nil || uses.allSatisfy({ $0?.phase == .inUse }) && silence(about: state) == nil else { return }
    let found = problem ?? FunctionHealth { $0.state = .healthy }
    if let known = ailments[name], known.found == found { return }
    if ailments[name] == nil, told?.state == .healthy, found.state == .healthy { return }
    var ailment = ailments[name] ?? Ailment(found: found)
    ailment.found = found
    if !ailment.flapping.isHeld, told.map({ !$0.says(found) }) ?? true {
      let isHeld = ailment.flapping.note(at: now, settings)
      tell(ailment, of: &state, isHeld: isHeld, at: now)
    }
    follow(&ailment, of: state, at: now)
    ailments[name] = ailment
  }

  /// Nil: nothing is known to be wrong. What has never been in use is not there yet.
  private func problem(
    of entry: WantedFunction?, _ status: FunctionStatus?, _ state: ClaimState
  ) -> FunctionHealth? {
    // Without its plugin nobody knows how it is, and it goes on as it is.
    guard let entry, let status, hosts[entry.host]?.servingPlugin(of: state.specification.deviceClass) != nil,
      let words = status.problem(wasInUse: state.assignment?.arrival != nil)
    else { return nil }
    return FunctionHealth {
      $0.state = .unhealthy
      $0.host = entry.host
      $0.message = words
    }
  }

  private func tell(_ ailment: Ailment, of state: inout ClaimState, isHeld: Bool, at now: Instant) {
    let told = state.claim.status?.health
    var health = ailment.found
    if isHeld {
      if health.state != .unhealthy, let told { (health.host, health.message) = (told.host, told.message) }
      health.state = .unhealthy
      health.damping = Damping {
        $0.flips = UInt32(clamping: ailment.flapping.flips.count)
        $0.until = ailment.flapping.until
      }
    }
    health.since = told?.state == health.state ? told?.since : now.timestamp
    state.withStatus { $0.health = health }
  }

  /// When it is looked at again.
  private func follow(_ ailment: inout Ailment, of state: ClaimState, at now: Instant) {
    let time = now.monotonicMilliseconds
    guard state.claim.status?.health?.state == .unhealthy else {
      ailment.unhealthySince = nil
      // So long ago that what comes then is a new beginning.
      ailment.due = time + settings.flapWindowMilliseconds + settings.longestHoldMilliseconds
      return
    }
    let since = ailment.unhealthySince ?? time
    ailment.unhealthySince = since
    let end = state.specification.unhealthySeconds.map { since + UInt64($0) * 1000 }
    ailment.due = [end, ailment.flapping.heldUntil].compactMap { $0 }.min()
  }

  // MARK: As time passes

  /// Of very many some at a time, so that nobody else has to wait.
  mutating func carryOnAilments(at now: Instant) {
    for _ in 0..<settings.mostExpiriesAtOnce {
      guard let name = ailments.nextDue(until: now.monotonicMilliseconds) else { return }
      carryOnAilment(of: name, at: now)
    }
  }

  private mutating func carryOnAilment(of name: String, at now: Instant) {
    guard var state = claims[name], state.isSetUp, var ailment = ailments[name] else { return ailments.remove(name) }
    let before = state.claim.status?.health
    let time = now.monotonicMilliseconds
    // Nor is it well again because a hold ends while they are silent.
    if before?.state == .unhealthy, ailment.found.state == .healthy, silence(about: state) != nil {
      ailment.due = time + 60_000
      ailments[name] = ailment
      return
    }
    if ailment.flapping.end(at: now, settings) { tell(ailment, of: &state, isHeld: false, at: now) }
    guard state.claim.status?.health != before || before?.state == .unhealthy else { return ailments.remove(name) }
    follow(&ailment, of: state, at: now)
    let isOver = state.isUnhealthyTooLong(ailment, at: time)
    // Where it cannot be taken away yet, that may change.
    if isOver { ailment.due = time + 60_000 }
    ailments[name] = ailment
    if state.claim.status?.health != before { put(&state) }
    if isOver, obstacleToLeaving(state) == nil { endIllness(of: state, at: now) }
  }

  private mutating func endIllness(of state: ClaimState, at now: Instant) {
    guard let health = state.claim.status?.health, let assignment = state.assignment else { return }
    let isConsumers = state.consumer?.host == health.host && state.controlling?.host != health.host
    noteUnhealthyPlace(
      of: state.specification, endNode: assignment.endNode, host: isConsumers ? assignment.host : nil,
      "the function of '\(state.claim.name)' was unhealthy there (\(health.words))", at: now)
    let seconds = state.specification.unhealthySeconds ?? 0
    evict(state.claim.name, because: "its function was unhealthy for \(seconds) s: \(health.words)")
  }

  /// Why a claim's function stays although it has been unhealthy for too long; nil: nothing keeps it.
  private func obstacleToLeaving(_ state: ClaimState) -> String? {
    guard policy(of: state) != .never else {
      return "what it holds, or what would go with it, is never to be taken away"
    }
    // What was so when it was last heard of may be otherwise by now, and without them nobody could let go.
    if let silence = silence(about: state) { return silence }
    // One that changes too often is not healthy between two changes.
    let isUnhealthy = ailments[state.claim.name].map { $0.found.state == .unhealthy || $0.flapping.isHeld } ?? false
    guard isUnhealthy, isSaidNow(of: state) else { return "its hosts say nothing of the kind now" }
    return nil
  }

  /// Why nobody knows how a claim's function is now; nil: its hosts say so.
  private func silence(about state: ClaimState) -> String? {
    let deviceClass = state.specification.deviceClass
    for name in [state.controlling, state.consumer].compactMap({ $0?.host }) {
      guard let host = hosts[name], host.isConnected else { return "\(name) is disconnected" }
      guard host.hasReportedFunctionsInSession else { return "\(name) has yet to say what it has" }
      guard host.servingPlugin(of: deviceClass) != nil else {
        return "no plugin of class \(deviceClass) serves on \(name)"
      }
    }
    return nil
  }

  private func isSaidNow(of state: ClaimState) -> Bool {
    if ailments[state.claim.name]?.flapping.isHeld == true { return true }
    return [state.controlling, state.consumer].contains { entry in
      problem(of: entry, entry.flatMap { report(of: $0) }, state) != nil
    }
  }

  // MARK: In words

  /// Empty: there is nothing to say.
  func healthWords(of state: ClaimState) -> String {
    guard state.isSetUp, let health = state.claim.status?.health else { return "" }
    let since = health.since.map { " since \($0.minute)" } ?? ""
    guard health.state == .unhealthy else { return "its function is healthy again\(since)" }
    let damping =
      health.damping.map { damping in
        "; that has changed \(damping.flips) times of late, so that no change is told until "
          + (damping.until?.minute ?? "?")
      } ?? ""
    return "its function is unhealthy\(since): \(health.words)\(damping); \(whatFollows(for: state))"
  }

  private func whatFollows(for state: ClaimState) -> String {
    guard let seconds = state.specification.unhealthySeconds else {
      return "it is kept, because its claim does not say how long it puts up with that"
    }
    if let obstacle = obstacleToLeaving(state) { return "it is kept: \(obstacle)" }
    let since = ailments[state.claim.name]?.unhealthySince ?? now?.monotonicMilliseconds ?? 0
    let passed = (now?.monotonicMilliseconds ?? since) - since
    let left = UInt64(seconds) * 1000 - min(passed, UInt64(seconds) * 1000)
    return "it is taken away in \((left + 999) / 1000) seconds if it stays so"
  }

  func validateUnhealthySeconds(_ specification: ClaimSpecification) throws(Refusal) {
    guard specification.unhealthySeconds != nil, specification.evictionPolicy == .never else { return }
    throw Refusal(
      .invalidArgument,
      "an unhealthy function is to be taken away, and the claim says that it is never to be taken away: leave one of both out"
    )
  }
}

extension ClaimState {
  fileprivate func isUnhealthyTooLong(_ ailment: Ailment, at time: UInt64) -> Bool {
    guard let seconds = specification.unhealthySeconds, let since = ailment.unhealthySince else { return false }
    return time >= since + UInt64(seconds) * 1000
  }
}

extension FunctionHealth {
  /// "c: eth1 has no carrier"
  fileprivate var words: String { message.isEmpty ? host : "\(host): \(message)" }

  /// Whether it is told already.
  fileprivate func says(_ found: FunctionHealth) -> Bool {
    damping == nil && state == found.state && host == found.host && message == found.message
  }
}

extension FunctionStatus {
  fileprivate func problem(wasInUse: Bool) -> String? {
    guard phase != .inUse else { return health?.state == .unhealthy ? health?.message ?? "" : nil }
    guard wasInUse, let error else { return nil }
    return "\(error.step) fails: \(error.message)"
  }
}
