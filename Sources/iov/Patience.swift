import Services

/// How long a coordinator that cannot be reached is asked again: one that restarts is back soon.
struct Patience: Sendable {
  let seconds: UInt32

  /// One time without the coordinator, from the first call that failed to the first that does not.
  struct Outage {
    private let patience: Patience
    private var end: ContinuousClock.Instant?
    private var delay = Duration.milliseconds(50)

    init(_ patience: Patience) { self.patience = patience }

    /// Returns when it is time to ask again; throws the error when the time is over. Says so once.
    mutating func wait(after error: RPCError) async throws {
      let now = ContinuousClock.now
      let end = end ?? now + .seconds(Int64(patience.seconds))
      guard now < end else { throw error }
      if self.end == nil {
        self.end = end
        printToStandardError("iov: \(error.message); trying again for \(patience.seconds) s")
      }
      try await Task.sleep(for: min(delay, end - now))
      delay = min(delay * 2, .seconds(1))
    }
  }
}
