/// A machine's clock beside the coordinator's.
struct StormClock {
  /// Faster or slower.
  var driftPerMillion: Int64 = 0
  /// It only jumps ahead, as a clock does that counts the time for which its machine was suspended.
  var aheadMilliseconds: UInt64 = 0

  func time(at now: UInt64) -> UInt64 {
    guard driftPerMillion != 0 || aheadMilliseconds != 0 else { return now }
    return UInt64(Int64(now) + Int64(now) * driftPerMillion / 1_000_000) + aheadMilliseconds
  }
}
