import Messages

/// When a claim ends by itself.
struct Expiry: Comparable, Sendable {
  var seconds: Int64
  var nanoseconds: Int32
  var name: String

  static func < (one: Expiry, other: Expiry) -> Bool {
    (one.seconds, one.nanoseconds, one.name) < (other.seconds, other.nanoseconds, other.name)
  }
}

/// The claims that end by themselves, the next one first.
struct Expiries: Sendable, Triable {
  private var ordered = OrderedSet<Expiry>()
  private var ofClaim = Table<String, Expiry>()

  mutating func note(_ claim: Claim) {
    // What is being released has ended.
    let time = claim.status?.phase == .releasing ? nil : claim.expires
    let expiry = time.map { Expiry(seconds: $0.seconds, nanoseconds: $0.nanoseconds, name: claim.name) }
    guard expiry != nil || !ofClaim.isEmpty, expiry != ofClaim[claim.name] else { return }
    forget(claim.name)
    guard let expiry else { return }
    ofClaim[claim.name] = expiry
    ordered.insert(expiry)
  }

  mutating func forget(_ name: String) {
    guard let expiry = ofClaim[name] else { return }
    ordered.remove(expiry)
    ofClaim[name] = nil
  }

  /// The next one that is due at a time.
  func first(after expiry: Expiry?, until time: Timestamp) -> Expiry? {
    guard let next = ordered.first(after: expiry) else { return nil }
    return (next.seconds, next.nanoseconds) <= (time.seconds, time.nanoseconds) ? next : nil
  }

  mutating func beginTrial() { ofClaim.beginTrial() }

  mutating func endTrial(keeping: Bool) {
    if !keeping {
      for name in Array(ofClaim.tried) {
        if let expiry = ofClaim[name] { ordered.remove(expiry) }
        if let expiry = ofClaim.former(name) { ordered.insert(expiry) }
      }
    }
    ofClaim.endTrial(keeping: keeping)
  }
}

extension PendingReason {
  /// Nobody has deleted it.
  static let expired = PendingReason {
    $0.filter = "expired"
    $0.message = "its time to live was over"
  }
}

extension Arbiter {
  /// A machine's clock may be wrong until the network has set it: for so long nothing ends.
  package static var secondsBeforeAnythingEnds: UInt64 { 60 }

  /// What the wall clock would show if it had not been set of late.
  package func countedTime(at now: Instant) -> Instant {
    Instant(monotonicMilliseconds: now.monotonicMilliseconds, wallMilliseconds: clock.countedTime(at: now))
  }

  func expiry(of specification: ClaimSpecification, from now: Instant) -> Timestamp? {
    guard specification.timeToLiveSeconds > 0 else { return nil }
    var time = now.timestamp
    time.seconds += Int64(specification.timeToLiveSeconds)
    return time
  }

  mutating func extendClaim(_ request: ExtendClaimRequest, at now: Instant) throws(Refusal) -> Claim {
    guard let state = claims[request.name] else { throw unknownClaim(request.name) }
    guard state.phase != .releasing else {
      throw Refusal(.failedPrecondition, "claim '\(request.name)' is being released: it cannot be extended any more")
    }
    // A group ends as soon as one of its members does.
    for mate in mates(of: state) where mate.phase != .releasing { extend(mate, request.timeToLiveSeconds, at: now) }
    extend(state, request.timeToLiveSeconds, at: now)
    return claims[request.name]?.claim ?? state.claim
  }

  private mutating func extend(_ before: ClaimState, _ timeToLiveSeconds: UInt32, at now: Instant) {
    var state = before
    state.claim.specification?.timeToLiveSeconds = timeToLiveSeconds
    state.claim.expires = expiry(of: state.specification, from: now)
    put(&state)
  }

  /// Deletes the claims whose time is over, in that order; of very many some at a time, so that nobody else has to wait until all are
  /// gone. What others have parts of ends after them. A clock that is set forward, while this runs or by mistake before it began and
  /// right again since, ends nothing, unless it stays so. Until its turn a claim is as it was, and may be extended.
  mutating func endExpired(at now: Instant) {
    let least = Self.secondsBeforeAnythingEnds * 1000
    guard let time = clock.time(at: now, watchedForMilliseconds: least) else { return }
    let end = Instant(monotonicMilliseconds: now.monotonicMilliseconds, wallMilliseconds: time).timestamp
    var last: Expiry?
    var left = settings.mostExpiriesAtOnce
    while left > 0, let expiry = expiries.first(after: last, until: end) {
      last = expiry
      guard claimsOfSource[expiry.name] == nil, let state = claims[expiry.name] else { continue }
      let count = 1 + mates(of: state).count
      let request = DeleteClaimRequest {
        $0.name = expiry.name
        $0.wholeGroup = true
      }
      if (try? deleteClaim(request, .expired)) != nil { left -= count }
    }
  }
}
