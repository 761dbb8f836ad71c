import Messages

/// The function is taken away from a claim that stays. It goes the way of every release: under its token, cut at the server first,
/// with proof. Then the claim waits for another function, which it gets under another token, and says why it has none.
extension Arbiter {
  /// Takes its function from a claim. One that holds nothing, or is letting go already, stays as it is. What the function holds goes
  /// with it: whether that may be is for the caller to know.
  ///
  /// Claims that have it as their source are evicted as well, and let go first.
  ///
  /// - Parameter why: what follows "was evicted: ". It is shown until the claim has another function.
  /// - Returns: whether it lets go because of this.
  @discardableResult
  mutating func evict(_ name: String, because why: String) -> Bool {
    guard let before = claims[name], before.phase == .preparing || before.phase == .ready else { return false }
    for part in claims(from: name) { evict(part.claim.name, because: "its source '\(name)' was evicted: \(why)") }
    var state = claims[name] ?? before
    stoppedByGeometry.remove(name)
    evicting.insert(state)
    state.withStatus {
      $0.phase = .reclaiming
      $0.pending = [.evicted(why)]
      $0.error = nil
      $0.assignment?.arrival = nil
    }
    put(&state)
    // Parts that are not its claims' any more, and yet its own, see that it is going.
    for part in claims(from: name) { settle(part.claim.name) }
    evictMates(of: state, because: "was evicted: \(why)")
    settle(name)
    return true
  }

  /// Evicts a claim because somebody asks for it.
  mutating func evictClaim(_ request: EvictClaimRequest) throws(Refusal) -> Claim {
    let name = request.name
    try checkReason(request.reason)
    guard let state = claims[name] else { throw unknownClaim(name) }
    guard state.phase != .pending else {
      throw Refusal(.failedPrecondition, "claim '\(name)' is pending: there is nothing to take away from it")
    }
    guard state.phase == .preparing || state.phase == .ready else { return state.claim }
    let mates = mates(of: state)
    let losing = ([state] + mates).flatMap { dataLost(with: $0) }
    guard request.discardData || losing.isEmpty else {
      throw Refusal(
        .failedPrecondition,
        "what \(Names.list(losing)) \(losing.count == 1 ? "has" : "have") on a disk would be lost: a claim of a disk gets an "
          + "empty function in the place of the one that is taken away; if that is meant: --discard-data")
    }
    let why = request.reason.isEmpty ? "an operator asked for it" : request.reason
    evict(name, because: why)
    // Those that were left for their data.
    for mate in mates { evict(mate.claim.name, because: wordsOfMate(state, "was evicted: \(why)")) }
    return claims[name]?.claim ?? state.claim
  }

  /// The claims, in quotes, whose data goes when a claim's function does.
  func dataLost(with state: ClaimState) -> [String] {
    guard let assignment = state.assignment, assignment.holdsData else { return [] }
    let parts = claims(from: state.claim.name).filter { $0.assignment?.endNode == assignment.function }
    // What a file server holds is its parts.
    let own = state.specification.isForFileServer ? [] : ["'\(state.claim.name)'"]
    return own + parts.flatMap { dataLost(with: $0) }
  }
}

extension ClaimState {
  /// Why its function was taken away, until it has another one.
  var eviction: [PendingReason] { claim.status?.pending.filter { $0.filter == PendingReason.evicted } ?? [] }

  /// Whether it lets go of what it could have kept, so that it does so in order, as if it were deleted.
  var isBeingEvicted: Bool { phase == .reclaiming && !eviction.isEmpty }
}

extension PendingReason {
  static let evicted = "evicted"

  fileprivate static func evicted(_ why: String) -> PendingReason {
    PendingReason {
      $0.filter = evicted
      $0.message = "was evicted: \(why)"
    }
  }
}
