import Glibc
import Services

extension Timestamp {
  /// The wall clock of this machine.
  static func now() -> Timestamp {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: Int32(time.tv_nsec))
  }

  var secondsSince1970: Double { Double(seconds) + Double(nanoseconds) / 1e9 }

  /// `2026-11-23T10:25:00Z, 5 min ago`; of a time to come, `in 5 min`.
  func told(at now: Timestamp) -> String {
    let whole = Timestamp(seconds: seconds)
    let age = now.seconds - seconds
    return age >= 0 ? "\(whole), \(formatAge(age)) ago" : "\(whole), in \(formatAge(-age))"
  }
}

/// `3 s`, `5 min`, `2 h 5 min`, `3 d 4 h`: two units, the second one where it still tells something.
func formatAge(_ seconds: Int64) -> String {
  switch seconds {
  case ..<60: "\(max(0, seconds)) s"
  case ..<3600: "\(seconds / 60) min"
  case ..<86_400: seconds / 60 % 60 == 0 ? "\(seconds / 3600) h" : "\(seconds / 3600) h \(seconds / 60 % 60) min"
  default: seconds / 3600 % 24 == 0 ? "\(seconds / 86_400) d" : "\(seconds / 86_400) d \(seconds / 3600 % 24) h"
  }
}
