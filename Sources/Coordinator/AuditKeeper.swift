import Arbitration
import ClaimStore
import LinuxDevices
import Logging
import Messages
import Services

/// Keeps the audit as long as it is to be kept.
struct AuditKeeper: Sendable {
  let store: any ClaimStore
  let retention: AuditRetention
  let logger: Logger

  private static let interval = Duration.seconds(600)

  /// Until the task is cancelled.
  func run() async throws {
    var clock = SettledClock()
    while true {
      do {
        // In pieces, between which commits go on.
        while try await forget(by: &clock, at: SystemClock.now()) > 0 {}
      } catch let error as StoreError {
        // A store that fails is found by the next commit, which ends the coordinator.
        logger.warning("what is too old could not be taken out of the audit", metadata: ["reason": "\(error)"])
      }
      try await Task.sleep(for: Self.interval)
    }
  }

  /// What is too much goes at once. What is too old by a clock that is ahead would be gone for good before the network has set it:
  /// that has time until the clock has been right for a while.
  func forget(by clock: inout SettledClock, at now: Instant) async throws -> Int {
    clock.watch(now)
    let time = clock.time(at: now, watchedForMilliseconds: SettledClock.patienceMilliseconds)
    return try await BlockingThread.detached { [store, retention] in
      // At the beginning of all time nothing is too old yet.
      try store.forgetHoldings(retention, now: time ?? 0)
    }
  }
}

extension HoldingQuery {
  static let largestPage = 1000
  private static let usualPage = 100

  init(_ request: ListHoldingsRequest) throws(RPCError) {
    let size = request.pageSize == 0 ? Self.usualPage : min(Int(request.pageSize), Self.largestPage)
    self.init(limit: size)
    claim = request.claim
    tenant = request.tenant
    function = request.function
    endNode = request.endNode
    host = request.host
    from = request.from?.milliseconds
    to = request.to?.milliseconds
    guard !request.pageToken.isEmpty else { return }
    guard let number = UInt64(request.pageToken) else {
      throw RPCError(.invalidArgument, "'\(request.pageToken)' is no page token: take the one of the answer before")
    }
    below = number
  }
}

extension Timestamp {
  fileprivate var milliseconds: Int64 { seconds &* 1000 &+ Int64(nanoseconds) / 1_000_000 }
}
