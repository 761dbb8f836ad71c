import Arbitration
import ClaimStore
import Messages
import Testing

@testable import Coordinator

@Suite struct AuditKeeping {
  private static let day: Int64 = 86_400_000

  @Test func takesNothingOutByAClockThatIsAhead() async throws {
    let directory = try TemporaryDirectory()
    let store = try SQLiteStore(path: directory.file("claims.sqlite"))
    try store.commit([
      .audit(
        Holding {
          $0.function = "sata/disk/1"
          $0.token = FencingToken { $0.value = 1 }
          $0.claim = "web"
          $0.ended = Timestamp(seconds: 1000)
        })
    ])
    let retention = AuditRetention(milliseconds: 2 * Self.day, holdings: 10)
    let keeper = AuditKeeper(store: store, retention: retention, logger: quiet)
    var clock = SettledClock()
    // Until the network has set it after 50 minutes, and again by mistake for as long.
    let ahead: [(minutes: Int64, days: Int64)] = [
      (0, 900), (40, 900), (50, 0), (110, 0), (120, 900), (170, 900), (180, 0),
    ]
    for (minutes, days) in ahead {
      let now = Instant(
        monotonicMilliseconds: UInt64(minutes * 60_000), wallMilliseconds: minutes * 60_000 + days * Self.day)
      #expect(try await keeper.forget(by: &clock, at: now) == 0)
    }
    let later = Instant(monotonicMilliseconds: UInt64(3 * Self.day), wallMilliseconds: 3 * Self.day)
    #expect(try await keeper.forget(by: &clock, at: later) == 1)
    store.close()
  }
}
