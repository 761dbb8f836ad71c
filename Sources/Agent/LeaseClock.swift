import Reconciliation

/// Until when this host's word is good. The lease counts from the moment at which the heartbeat was sent that was answered:
/// the coordinator cannot have counted from earlier.
struct LeaseClock {
  let term: Duration
  private(set) var goodUntil: Instant
  private var sequence: UInt64 = 0
  private var unanswered: [(sequence: UInt64, sentAt: Instant)] = []

  /// The welcome answers the hello, which was sent at `helloAt`.
  init(term: Duration, helloAt: Instant) {
    self.term = term
    goodUntil = helloAt.advanced(by: term)
  }

  /// The sequence number of a heartbeat that is sent now.
  mutating func beat(at now: Instant) -> UInt64 {
    sequence += 1
    unanswered.append((sequence, now))
    return sequence
  }

  /// An answer to a heartbeat that was never sent, or that a later answer has overtaken, says nothing.
  mutating func acknowledge(_ answered: UInt64) {
    guard let beat = unanswered.first(where: { $0.sequence == answered }) else { return }
    unanswered.removeAll { $0.sequence <= answered }
    goodUntil = max(goodUntil, beat.sentAt.advanced(by: term))
  }

  func hasExpired(at now: Instant) -> Bool { now >= goodUntil }
}
