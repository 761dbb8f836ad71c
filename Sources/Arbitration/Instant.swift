import Messages

/// When an event happened, on both of the coordinator's clocks. The core has no clock of its own.
public struct Instant: Sendable, Hashable {
  /// Counted on a clock that never goes back and runs on while the machine is suspended: leases are counted on it.
  public var monotonicMilliseconds: UInt64
  /// Since 1970-01-01T00:00:00Z; shown to people. It never decides who holds what; only where it is not known which tokens of a
  /// disk of several hosts were drawn, the next one is drawn above it.
  public var wallMilliseconds: Int64

  public init(monotonicMilliseconds: UInt64, wallMilliseconds: Int64) {
    self.monotonicMilliseconds = monotonicMilliseconds
    self.wallMilliseconds = wallMilliseconds
  }

  /// The wall time as the messages carry it.
  var timestamp: Timestamp { Self.timestamp(wallMilliseconds: wallMilliseconds) }

  /// The wall time without its seconds.
  var minute: Timestamp {
    var timestamp = timestamp
    timestamp.seconds -= ((timestamp.seconds % 60) + 60) % 60
    timestamp.nanoseconds = 0
    return timestamp
  }

  func timestamp(afterMilliseconds milliseconds: UInt64) -> Timestamp {
    Self.timestamp(wallMilliseconds: wallMilliseconds &+ Int64(clamping: milliseconds))
  }

  private static func timestamp(wallMilliseconds: Int64) -> Timestamp {
    let (seconds, rest) = wallMilliseconds.quotientAndRemainder(dividingBy: 1000)
    // A time before 1970 has a negative remainder, which protobuf does not allow in the nanoseconds.
    let borrow: Int64 = rest < 0 ? 1 : 0
    var timestamp = Timestamp()
    timestamp.seconds = seconds - borrow
    timestamp.nanoseconds = Int32((rest + borrow * 1000) * 1_000_000)
    return timestamp
  }
}

extension Timestamp {
  /// "2026-11-23T12:55Z". The date from the days since 1970 as in "chrono-Compatible Low-Level Date Algorithms" (Howard
  /// Hinnant), civil_from_days: years begin in March, so that the leap day is the last one.
  var minute: String {
    let days = Int64((Double(seconds) / 86_400).rounded(.down))
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let minuteOfDay = (seconds - days * 86_400) / 60
    return "\(year)-\(Self.twoDigits(month))-\(Self.twoDigits(day))"
      + "T\(Self.twoDigits(minuteOfDay / 60)):\(Self.twoDigits(minuteOfDay % 60))Z"
  }

  private static func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
