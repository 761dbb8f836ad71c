import Messages

/// When an event happened, on both of the coordinator's clocks. The core has no clock of its own.
public struct Instant: Sendable, Hashable {
  /// Counted on a clock that never goes back and runs on while the machine is suspended: leases are counted on it.
  public var monotonicMilliseconds: UInt64
  /// Since 1970-01-01T00:00:00Z; shown to people, and never used to decide who holds what.
  public var wallMilliseconds: Int64

  public init(monotonicMilliseconds: UInt64, wallMilliseconds: Int64) {
    self.monotonicMilliseconds = monotonicMilliseconds
    self.wallMilliseconds = wallMilliseconds
  }

  /// The wall time as the messages carry it.
  var timestamp: Timestamp { Self.timestamp(wallMilliseconds: wallMilliseconds) }

  func timestamp(afterMilliseconds milliseconds: UInt32) -> Timestamp {
    Self.timestamp(wallMilliseconds: wallMilliseconds + Int64(milliseconds))
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
