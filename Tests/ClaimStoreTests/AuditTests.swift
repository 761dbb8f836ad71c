import GRDB
import Messages
import Testing

@testable import ClaimStore

@Suite struct AuditTests {
  private func news(_ number: Int, _ change: (inout Holding) -> Void = { _ in }) -> StoreChange {
    .audit(
      Holding {
        $0.function = "sata/disk-\(number % 2)/\(number)"
        $0.token = FencingToken { $0.value = UInt64(number) }
        $0.claim = "claim-\(number % 3)"
        $0.tenant = number < 5 ? "lab" : "default"
        $0.host = "host-\(number % 2)"
        $0.controllingHost = "server"
        change(&$0)
      })
  }

  private func granted(_ number: Int) -> StoreChange { news(number) { $0.granted = Timestamp(seconds: Int64(number)) } }

  private func ended(_ number: Int, _ seconds: Int) -> StoreChange {
    news(number) {
      $0.ended = Timestamp(seconds: Int64(seconds))
      $0.whyEnded = "it was deleted"
    }
  }

  private func numbers(_ store: any ClaimStore, _ change: (inout HoldingQuery) -> Void = { _ in }) throws -> [UInt64] {
    var query = HoldingQuery(limit: 1000)
    change(&query)
    return try store.holdings(query).compactMap { $0.token?.value }
  }

  @Test(arguments: StoreUnderTest.all) func aHoldingIsOneEntryFromItsBeginningToItsEnd(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    try store.commit([granted(1), news(1) { $0.inUse = Timestamp(seconds: 5) }])
    try store.commit([news(1) { $0.inUse = Timestamp(seconds: 9) }, ended(1, 20)])
    // What was granted before there was an audit, and one under the same token, anew.
    try store.commit([ended(7, 21), granted(1)])
    store.close()
    let again = try kind.open(directory)
    let holdings = try again.holdings(HoldingQuery(limit: 10))
    #expect(holdings.map { $0.token?.value } == [1, 7, 1] && holdings.map(\.number) == [3, 2, 1])
    #expect(holdings[2].granted?.seconds == 1 && holdings[2].inUse?.seconds == 5 && holdings[2].ended?.seconds == 20)
    #expect(holdings[2].whyEnded == "it was deleted")
    #expect(holdings[1].granted == nil && holdings[0].ended == nil)
    again.close()
  }

  @Test(arguments: StoreUnderTest.all) func itIsFilteredAndReadInPages(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    try store.commit((1...6).map(granted) + [ended(1, 3), ended(2, 10)])
    #expect(try numbers(store) == [6, 5, 4, 3, 2, 1])
    #expect(try numbers(store) { $0.claim = "claim-0" } == [6, 3])
    #expect(try numbers(store) { $0.tenant = "default" } == [6, 5])
    #expect(try numbers(store) { $0.endNode = "sata/disk-1" } == [5, 3, 1])
    #expect(try numbers(store) { $0.endNode = "sata/disk" } == [])
    #expect(try numbers(store) { $0.function = "sata/disk-0/4" } == [4])
    #expect(try numbers(store) { $0.host = "host-0" } == [6, 4, 2])
    #expect(try numbers(store) { $0.host = "server" }.count == 6)
    #expect(try numbers(store) { $0.to = 3000 } == [2, 1])
    #expect(try numbers(store) { $0.from = 4000 } == [6, 5, 4, 3, 2])
    #expect(
      try numbers(store) {
        $0.limit = 2
        $0.below = 4
      } == [3, 2])
    store.close()
  }

  @Test(arguments: StoreUnderTest.all) func whatEndedLongAgoOrIsTooMuchIsForgotten(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    try store.commit((1...6).map(granted) + (1...5).map { ended($0, 10 * $0) })
    #expect(try store.forgetHoldings(AuditRetention(milliseconds: 30_000, holdings: 100), now: 55_000) == 2)
    #expect(try numbers(store) == [6, 5, 4, 3])
    #expect(try store.forgetHoldings(AuditRetention(milliseconds: 30_000, holdings: 1), now: 55_000) == 2)
    #expect(try store.forgetHoldings(AuditRetention(milliseconds: 0, holdings: 0), now: 55_000) == 1)
    // What is held is never forgotten.
    #expect(try store.forgetHoldings(AuditRetention(milliseconds: 0, holdings: 0), now: 55_000) == 0)
    #expect(try numbers(store) == [6])
    store.close()
  }

  @Test func theAuditOfTheSecondLayoutIsTakenOver() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let store = try SQLiteStore(path: path)
    try store.commit([granted(1)])
    store.close()
    let queue = try DatabaseQueue(path: path)
    try queue.write { try $0.execute(sql: "ALTER TABLE holding DROP COLUMN tenant; PRAGMA user_version = 2") }
    try queue.close()

    let again = try SQLiteStore(path: path)
    try again.commit([ended(1, 20), granted(2)])
    #expect(try numbers(again) == [2, 1])
    // Whoever ended it knew whose it was.
    #expect(try numbers(again) { $0.tenant = "lab" } == [2, 1])
    again.close()
  }

  @Test func aStoreOfTheFirstLayoutIsTakenOver() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let store = try SQLiteStore(path: path)
    let (id, key) = (store.clusterID, StoreKey(kind: "claim", name: "web"))
    try store.commit([.put(key, Claim { $0.name = "web" })])
    store.close()
    let queue = try DatabaseQueue(path: path)
    try queue.write { try $0.execute(sql: "DROP TABLE holding; PRAGMA user_version = 1") }
    try queue.close()

    let again = try SQLiteStore(path: path)
    #expect(try again.clusterID == id && again.load().map(\.key) == [key])
    try again.commit([granted(1)])
    #expect(try numbers(again) == [1])
    // A backup carries it.
    let copy = try again.copy()
    defer { SQLiteStore.removeCandidate(copy) }
    let candidate = try SQLiteStore(candidate: copy)
    #expect(try numbers(candidate) == [1])
    candidate.close()
    again.close()
  }
}
