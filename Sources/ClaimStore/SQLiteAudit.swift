import Foundation
import GRDB
import Messages

/// The audit's table: one row for each holding, which is changed until it has ended.
enum SQLiteAudit {
  static func take(_ news: Holding, _ database: Database) throws {
    let token = Int64(bitPattern: news.token?.value ?? 0)
    let find = try database.cachedStatement(
      sql: "SELECT number, message FROM holding WHERE function = ? AND token = ? AND ended IS NULL "
        + "ORDER BY number DESC LIMIT 1")
    guard news.granted == nil, let row = try Row.fetchOne(find, arguments: [news.function, token]) else {
      // Also what was granted before there was an audit: then its end is known, and not its beginning.
      return try insert(news, token, database)
    }
    var holding = try holding(row)
    holding.take(news)
    let update = try database.cachedStatement(
      sql: "UPDATE holding SET tenant = ?, ended = ?, message = ? WHERE number = ?")
    let number: Int64 = row["number"]
    try update.execute(arguments: [holding.tenant, holding.ended?.milliseconds, Data(holding.encoded()), number])
  }

  private static func insert(_ holding: Holding, _ token: Int64, _ database: Database) throws {
    let insert = try database.cachedStatement(
      sql: "INSERT INTO holding (function, token, claim, tenant, host, controlling_host, granted, ended, message) "
        + "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
    try insert.execute(
      arguments: [
        holding.function, token, holding.claim, holding.tenant, holding.host, holding.controllingHost,
        holding.granted?.milliseconds, holding.ended?.milliseconds, Data(holding.encoded()),
      ])
  }

  static func holding(_ row: Row) throws -> Holding {
    let number: Int64 = row["number"]
    do {
      var holding = try Holding(decoding: SQLiteStore.bytes(of: row["message"]))
      holding.number = UInt64(bitPattern: number)
      return holding
    } catch {
      throw StoreError(.damaged, "the audit's entry \(number) cannot be read: \(error)")
    }
  }
}

extension SQLiteStore {
  public func holdings(_ query: HoldingQuery) throws(StoreError) -> [Holding] {
    // What is asked of may be few of very many.
    try readAside { database in
      try Row.fetchAll(database, sql: query.sql.text, arguments: query.sql.arguments).map(SQLiteAudit.holding)
    }
  }

  /// A commit waits for so many at most.
  private static let forgottenAtOnce = 1000

  public func forgetHoldings(_ retention: AuditRetention, now: Int64) throws(StoreError) -> Int {
    try perform { queue in
      try queue.write { database in
        let ended = try Int.fetchOne(database, sql: "SELECT count(*) FROM holding WHERE ended IS NOT NULL") ?? 0
        let tooMany = min(max(0, ended - retention.holdings), Self.forgottenAtOnce)
        try database.execute(
          sql: """
            DELETE FROM holding WHERE number IN (
              SELECT number FROM holding WHERE ended IS NOT NULL ORDER BY ended LIMIT ?)
            OR number IN (SELECT number FROM holding WHERE ended < ? ORDER BY ended LIMIT ?)
            """,
          arguments: [tooMany, now - retention.milliseconds, Self.forgottenAtOnce])
        return database.changesCount
      }
    }
  }
}

extension HoldingQuery {
  fileprivate var sql: (text: String, arguments: StatementArguments) {
    var conditions: [String] = []
    var arguments: [(any DatabaseValueConvertible)?] = []
    func require(_ condition: String, _ values: any DatabaseValueConvertible...) {
      conditions.append("(\(condition))")
      for value in values { arguments.append(value) }
    }
    if !claim.isEmpty { require("claim = ?", claim) }
    if !tenant.isEmpty { require("tenant = ?", tenant) }
    if !function.isEmpty { require("function = ?", function) }
    // A function's id is its end node's, a slash, and a number; '0' is what comes after '/'.
    if !endNode.isEmpty { require("function > ? AND function < ?", endNode + "/", endNode + "0") }
    if !host.isEmpty { require("host = ? OR controlling_host = ?", host, host) }
    if let from { require("ended IS NULL OR ended >= ?", from) }
    if let to { require("granted IS NULL OR granted < ?", to) }
    if let below { require("number < ?", Int64(clamping: below)) }
    arguments.append(limit)
    let filter = conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND ")
    let text = "SELECT number, message FROM holding\(filter) ORDER BY number DESC LIMIT ?"
    return (text, StatementArguments(arguments))
  }
}

extension Timestamp {
  fileprivate var milliseconds: Int64 { seconds &* 1000 &+ Int64(nanoseconds) / 1_000_000 }
}
