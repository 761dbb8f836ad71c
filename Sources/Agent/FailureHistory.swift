import Reconciliation

/// How often a plugin has failed lately.
struct FailureHistory {
  static let window = Duration.seconds(600)
  private var failures: [Instant] = []

  /// Answers what to say of it beside the failure itself: nothing of the first one.
  mutating func add(at now: Instant) -> String {
    failures.removeAll { $0.duration(to: now) > Self.window }
    failures.append(now)
    return failures.count > 1 ? " (\(failures.count) times in the last 10 minutes)" : ""
  }

  /// Some failure is so recent that an operator should hear of it, though the plugin serves again.
  func isRecent(at now: Instant) -> Bool {
    failures.last.map { $0.duration(to: now) <= Self.window } ?? false
  }
}
