import Messages

/// A claim that has lost what it holds lets go of what is left of it, and then gets another function.
extension Arbiter {
  /// Why what a claim holds can never be used by it again; nil if it can.
  func loss(of state: ClaimState) -> String? {
    // What is on a disk is its claim's, and comes back with its host; another function would be an empty one.
    if let assignment = state.assignment, assignment.path == .mediated, !assignment.holdsData,
      let death = hosts[assignment.controllingHost]?.record.death
    {
      return "\(assignment.controllingHost), which served \(assignment.function), is dead: \(death.reason)"
    }
    // What holds data is where the device is, and goes on when its consumer can use it again.
    let consumer = state.assignment?.holdsData ?? false ? nil : state.consumer
    for entry in [state.controlling, consumer].compactMap({ $0 }) where !entry.released {
      guard let token = entry.assignment?.token?.value, let error = report(of: entry)?.error,
        let highest = error.highestToken?.value, highest >= token
      else { continue }
      return "token \(token) of \(entry.functionID) is spent on \(entry.host): \(error.message)"
    }
    return nil
  }

  /// Lets go in the order of a release, and with the same proof: a refusal is none.
  mutating func reclaim(_ before: ClaimState, because loss: String) {
    var state = before
    var reason = PendingReason()
    reason.filter = PendingReason.reclaiming
    reason.message = loss
    state.withStatus {
      $0.phase = .reclaiming
      $0.pending = [reason]
      $0.assignment?.arrival = nil
    }
    releaseControlling(of: &state)
    put(state)
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
    state.withStatus {
      $0.phase = .pending
      $0.assignment = nil
      $0.error = nil
      $0.pending = []
    }
    wait(state)
    put(state)
    changes.openings.claims.insert(state.claim.name)
  }
}

extension PendingReason {
  /// Why the claim was reclaimed, kept while it lets go.
  static let reclaiming = "reclaiming"
}
