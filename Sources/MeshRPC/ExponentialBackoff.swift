/// Delays that grow with every failure, spread so that many clients do not come back in one instant.
public struct ExponentialBackoff: Sendable, Hashable {
  /// After the first failure.
  public var initial: Duration
  /// What each further failure multiplies it by.
  public var multiplier: Double
  public var maximum: Duration
  /// The part by which a delay may be longer or shorter, 0 to 1.
  public var jitter: Double

  public init(initial: Duration, multiplier: Double, maximum: Duration, jitter: Double = 0.2) {
    self.initial = initial
    self.multiplier = multiplier
    self.maximum = maximum
    self.jitter = jitter
  }

  /// What gRPC's connection-backoff document asks for.
  public static let connection = ExponentialBackoff(initial: .seconds(1), multiplier: 1.6, maximum: .seconds(120))

  /// - Parameters:
  ///   - failures: in a row, one or more.
  ///   - draw: from 0 to 1, a different one each time.
  func delay(after failures: Int, draw: Double) -> Duration {
    var delay = initial
    // Beyond so many the maximum is reached, or the multiplier is one.
    for _ in 1..<max(2, min(failures, 64)) where failures > 1 && delay < maximum { delay = delay * multiplier }
    return min(delay, maximum) * (1 + jitter * (2 * draw - 1))
  }
}
