/// The wall clock as far as something may be ended for good by it. It is taken for wrong as long as it is ahead of what has passed on
/// the monotonic clock, until that has lasted: a clock that was behind when it was first seen, as a machine's is before the
/// network has set it, is followed then, and one that is ahead for a while ends nothing. One that is behind is followed at once.
package struct SettledClock: Sendable {
  /// For how long a step has to last.
  package static let patienceMilliseconds: UInt64 = 3_600_000

  private var watchedSince: UInt64?
  /// How far the wall clock is ahead of the monotonic one, as it is known.
  private var known: Int64 = 0
  /// What it was by at least since some time, on one side of that.
  private var step: (since: UInt64, ahead: Int64)?

  package init() {}

  /// To be told of the time now and then; what lies between is not known.
  package mutating func watch(_ now: Instant) {
    let (time, ahead) = (now.monotonicMilliseconds, now.aheadMilliseconds)
    guard watchedSince != nil else { return (watchedSince, known) = (time, ahead) }
    guard ahead != known else { return step = nil }
    guard let begun = step, (begun.ahead > known) == (ahead > known) else { return step = (time, ahead) }
    let nearest = ahead > known ? min(ahead, begun.ahead) : max(ahead, begun.ahead)
    step = (begun.since, nearest)
    // Of a clock that was ahead by mistake nothing is left either: it may be so another time.
    if time - min(begun.since, time) >= Self.patienceMilliseconds { (known, step) = (nearest, nil) }
  }

  /// In milliseconds since 1970; nil: it has not been watched for so long.
  package func time(at now: Instant, watchedForMilliseconds least: UInt64 = 0) -> Int64? {
    let time = now.monotonicMilliseconds
    guard let watchedSince, time - min(watchedSince, time) >= least else { return nil }
    return min(now.wallMilliseconds, countedTime(at: now))
  }

  /// Without a look at what the wall clock shows now.
  func countedTime(at now: Instant) -> Int64 {
    watchedSince == nil ? now.wallMilliseconds : Int64(clamping: now.monotonicMilliseconds) &+ known
  }
}

extension Instant {
  fileprivate var aheadMilliseconds: Int64 { wallMilliseconds &- Int64(clamping: monotonicMilliseconds) }
}
