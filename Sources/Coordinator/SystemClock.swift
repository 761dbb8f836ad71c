import Arbitration
import Glibc
import Messages

/// The clocks of this machine, as the arbiter wants them.
enum SystemClock {
  /// CLOCK_BOOTTIME runs on while the machine is suspended (clock_gettime(2)): a lease is as long for a coordinator that
  /// slept as for its agents that did not.
  @Sendable static func now() -> Instant {
    Instant(
      monotonicMilliseconds: UInt64(clamping: milliseconds(of: CLOCK_BOOTTIME)),
      wallMilliseconds: milliseconds(of: CLOCK_REALTIME))
  }

  /// The wall clock, for people.
  static func timestamp() -> Timestamp {
    let milliseconds = milliseconds(of: CLOCK_REALTIME)
    var timestamp = Timestamp()
    timestamp.seconds = milliseconds / 1000
    timestamp.nanoseconds = Int32(milliseconds % 1000) * 1_000_000
    return timestamp
  }

  private static func milliseconds(of clock: clockid_t) -> Int64 {
    var time = timespec()
    // Fails for a clock that the kernel does not have alone; both are older than what this program needs.
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}
