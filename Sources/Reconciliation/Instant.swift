/// A moment on the host's clock that counts suspend (CLOCK_BOOTTIME). The core has no clock of its own.
public struct Instant: Sendable, Hashable, Comparable {
  /// Since the host started.
  public var nanoseconds: Int64

  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

  public func advanced(by duration: Duration) -> Instant {
    let (seconds, attoseconds) = duration.components
    return Instant(nanoseconds: nanoseconds + seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
  }

  public func duration(to other: Instant) -> Duration { .nanoseconds(other.nanoseconds - nanoseconds) }
}
