import Messages

/// A claim that has lost what it holds lets go of what is left of it, and then gets another function.
extension Arbiter {
  /// Why what a claim holds can never be used by it again; nil if it can.
  func loss(of state: ClaimState) -> String? {
    if let source = source(of: state.assignment), source.phase == .reclaiming {
      let causes = [PendingReason.reclaiming, PendingReason.evicted]
      let why = source.claim.status?.pending.first { causes.contains($0.filter) }?.message
      return "its source '\(source.claim.name)' has lost its function" + (why.map { ": \($0)" } ?? "")
    }
    // What is on a disk is its claim's, and comes back with its host; another function would be an empty one.
    if let assignment = state.assignment, assignment.path == .mediated, !assignment.holdsData,
      let death = hosts[assignment.controllingHost]?.record.death
    {
      return "\(assignment.controllingHost), which served \(assignment.function), is dead: \(death.reason)"
    }
    // What holds data is where the device is, and goes on when its consumer can use it again.
    let consumer = state.assignment?.holdsData ?? false ? nil : state.consumer
    for entry in [state.controlling, consumer].compactMap({ $0 }) {
      guard let token = entry.assignment?.token?.value, let error = refusal(of: entry) else { continue }
      return "token \(token) of \(entry.functionID) is spent on \(entry.host): \(error.message)"
    }
    return state.controlling.flatMap { overtaken($0) }
  }

  /// What a host says of an entry whose token it will never obey; nil if it may.
  private func refusal(of entry: WantedFunction) -> FunctionError? {
    guard !entry.released, let token = entry.assignment?.token?.value, let error = report(of: entry)?.error,
      let highest = error.highestToken, highest.value >= token, !isControl(highest, over: entry)
    else { return nil }
    return error
  }

  /// Whether a token is one of control over what a function lies on. Then it is refused because another root has the device, or is
  /// about to have it, and all that is on it is still there: parts are served by that one, and the whole is taken back.
  private func isControl(_ token: FencingToken, over entry: WantedFunction) -> Bool {
    guard entry.role != .consumer, let assignment = entry.assignment, let node = endNodes[assignment.endNode] else {
      return false
    }
    return node.controlTokens.contains(token) && (assignment.path != .direct || node.shares.count == 1)
  }

  /// A root that took control while nobody knew of the one that has the whole device keeps that one out, and has given nothing of it
  /// to anybody. It is taken back under a token of its own.
  mutating func attachAnew(_ state: inout ClaimState) {
    guard let former = state.controlling, var assignment = state.assignment, assignment.path == .direct,
      let highest = report(of: former)?.error?.highestToken, highest.value > former.assignment?.token?.value ?? 0,
      isControl(highest, over: former), let node = endNodes[assignment.endNode], node.record.controlTransfer == nil,
      silentRoot(of: node) == nil
    else { return }
    giveUp(former, of: state, isFenced: true)
    assignment.token = drawToken(of: assignment.endNode)
    assignment.arrival = nil
    takeShare(of: assignment)
    state.controlling = enter(assignment, of: state.claim.name)
    noteGranted(
      assignment, to: state, because: "it was taken back from the root that had taken control of its end node")
    state.withStatus { $0.assignment = assignment }
    claims[state.claim.name] = state
  }

  /// The device is registered for parts under a control token of a history that this store does not know, and whose host has forgotten
  /// it. That one is cut off under a higher one, unless somebody may have the whole device under it.
  mutating func outdoLostControl(over state: ClaimState) {
    guard let entry = state.controlling, let assignment = entry.assignment, assignment.holdsData,
      assignment.path != .direct,
      let highest = report(of: entry)?.error?.highestToken, var node = endNodes[assignment.endNode], node.isMultiRoot,
      node.controllingHost == entry.host, node.record.controlTransfer == nil, silentRoot(of: node) == nil,
      !node.shares.keys.contains(where: { $0.hasSuffix("/\(highest.value)") })
    else { return }
    let before = node.record.physicalFunction
    outdo(highest, on: &node)
    guard node.record.physicalFunction != before else { return }
    endNodes[assignment.endNode] = node
    changes.save(RecordKey(.endNode, assignment.endNode))
    changes.noteControl(assignment.endNode, of: entry.host)
  }

  /// A store that is an older copy may have lost that the consumer's side was told to let go, or was connected anew since, to another
  /// server. What holds data is still there, and its consumer connects again under a token of its own.
  mutating func connectAnew(_ state: inout ClaimState) {
    guard let former = state.consumer, state.assignment?.holdsData ?? false,
      refusal(of: former) != nil || hasLaterConnection(than: former),
      let token = drawToken(of: former.assignment?.endNode ?? "")
    else { return }
    giveUp(former, of: state)
    var told = former.assignment ?? Assignment()
    told.token = token
    state.consumer = connect(told, of: state.claim.name)
    claims[state.claim.name] = state
    // It may have been connected again before, in the history that was lost.
    for orphan in orphans(of: former.functionID, on: former.host) { _ = giveUpFormer(orphan, on: former.host) }
  }

  private func hasLaterConnection(than entry: WantedFunction) -> Bool {
    guard !entry.released, let told = entry.assignment else { return false }
    return orphans(of: told.function, on: entry.host).contains { orphan in
      guard orphan.role == .consumer, orphan.phase == .created || orphan.phase == .inUse else { return false }
      return orphan.assignment?.claimUid == told.claimUid
        && orphan.function?.token?.value ?? 0 > told.token?.value ?? .max && abandoned[orphan.recordName] == nil
    }
  }

  /// Lets go in the order of a release, and with the same proof: a refusal is none.
  mutating func reclaim(_ before: ClaimState, because loss: String) {
    var state = before
    state.withStatus {
      $0.phase = .reclaiming
      $0.pending = [.reclaiming(loss)]
      $0.assignment?.arrival = nil
    }
    releaseControlling(of: &state)
    put(&state)
    for part in claims(from: state.claim.name) { settle(part.claim.name) }
    evictMates(of: state, because: "has lost its function: \(loss)")
    settle(state.claim.name)
  }

  /// The first half of every release; the consumer follows once the controlling side is cut.
  mutating func releaseControlling(of state: inout ClaimState) {
    guard var entry = state.controlling, !entry.released else { return }
    entry.released = true
    note(&entry)
    state.controlling = entry
  }

  /// Nothing is left of what it held: it waits for another function under its name and uid.
  mutating func waitAgain(_ before: ClaimState) {
    var state = before
    if let assignment = state.assignment { free(assignment, of: state) }
    evicting.remove(state.claim.name)
    state.withStatus {
      $0.phase = .pending
      $0.assignment = nil
      $0.health = nil
      $0.decision = nil
      $0.error = nil
      $0.pending = before.eviction
    }
    wait(state)
    put(&state)
    changes.openings.claims.insert(state.claim.name)
    carryOnUpgrade(of: state.claim.name, on: before.host)
  }
}

extension PendingReason {
  /// Why the claim was reclaimed, kept while it lets go.
  static let reclaiming = "reclaiming"

  /// Why a claim lets go, said until it has.
  static let causes = [reclaiming, evicted, expired.filter]

  static func reclaiming(_ loss: String) -> PendingReason {
    PendingReason {
      $0.filter = reclaiming
      $0.message = loss
    }
  }
}
