/// How long to wait before the next attempt of something that the agent does over and over: doubled each time, spread over
/// half of it so that a rack's agents do not come back in one instant.
struct RetryDelay {
  let shortest: Duration
  let longest: Duration
  private var failures = 0

  init(from shortest: Duration, to longest: Duration) {
    self.shortest = shortest
    self.longest = longest
  }

  /// - Parameter limit: not longer than that, however often it has failed; nil: `longest`.
  mutating func next(atMost limit: Duration? = nil, draw: Double = .random(in: 0..<1)) -> Duration {
    let delay = min(shortest * (1 << min(failures, 16)), limit ?? longest)
    failures += 1
    return delay * (0.5 + draw / 2)
  }

  mutating func reset() { failures = 0 }
}
