import NIOCore

/// Says when a peer pings too often.
///
/// Each PING wakes this side up, though nobody calls. A client that measures its bandwidth pings right after it was sent
/// something; that is its right.
struct PingPolicy {
  private static let strikesAllowed = 2

  let minimumInterval: TimeAmount
  private var last: NIODeadline?
  private var strikes = 0

  init(minimumInterval: TimeAmount) { self.minimumInterval = minimumInterval }

  enum Answer: Hashable {
    case fine
    case tooManyPings
  }

  mutating func pinged(at now: NIODeadline, sentSomethingSince: Bool) -> Answer {
    defer { last = now }
    if sentSomethingSince { strikes = 0 }
    guard let last, !sentSomethingSince, now < last + minimumInterval else { return .fine }
    strikes += 1
    return strikes > Self.strikesAllowed ? .tooManyPings : .fine
  }
}
