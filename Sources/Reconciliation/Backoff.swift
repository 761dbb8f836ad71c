/// How long to wait before the next attempt: from 100 ms, doubled with each failure, to 10 s.
struct Backoff {
  static let shortest = Duration.milliseconds(100)
  static let longest = Duration.seconds(10)

  /// `failures` counts the last one, too; `draw` in 0..<1 spreads the attempts of many functions over half the delay.
  static func delay(afterFailures failures: Int, isPermanent: Bool, draw: Double) -> Duration {
    let doublings = min(max(failures - 1, 0), 10)
    let delay = isPermanent ? longest : min(shortest * (1 << doublings), longest)
    return delay * (0.5 + min(max(draw, 0), 1) / 2)
  }
}
