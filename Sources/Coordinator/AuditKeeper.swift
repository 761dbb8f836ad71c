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
    while true {
      do {
        // In pieces, between which commits go on.
        while try await forget() > 0 {}
      } catch let error as StoreError {
        // A store that fails is found by the next commit, which ends the coordinator.
        logger.warning("what is too old could not be taken out of the audit", metadata: ["reason": "\(error)"])
      }
      try await Task.sleep(for: Self.interval)
    }
  }

  private func forget() async throws -> Int {
    try await BlockingThread.detached { [store, retention] in
      let now = SystemClock.now().wallMilliseconds
      return try store.forgetHoldings(retention, now: now)
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
