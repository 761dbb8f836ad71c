import Foundation
import GRDB

/// The layout of the database file and the checks at its opening.
enum SQLiteSchema {
  /// `PRAGMA user_version`: rises with every change of the layout.
  /// 2: the audit. 3: whose claim it was.
  static let version = 3
  /// `PRAGMA application_id`, "iovm": tells our files from other SQLite databases.
  static let applicationID = 0x696F_766D

  static var configuration: GRDB.Configuration {
    // Not GRDB's way into WAL mode: that writes to the file before anybody has looked what it is.
    var configuration = GRDB.Configuration()
    // Another process may look into the file, with the sqlite3 shell for one; a commit waits for it this long.
    configuration.busyMode = .timeout(5)
    configuration.label = "claims"
    return configuration
  }

  /// Has every commit reach the disk, and makes sure that SQLite agreed to it.
  static func makeDurable(_ database: Database) throws {
    try database.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    let synchronous = try Int.fetchOne(database, sql: "PRAGMA synchronous") ?? -1
    guard synchronous == 2 else {
      throw StoreError(.failed, "SQLite does not make commits durable: synchronous reads \(synchronous) instead of 2")
    }
    let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode") ?? ""
    guard mode == "wal" else {
      throw StoreError(
        .failed, "SQLite keeps its journal as '\(mode)' instead of 'wal' here; is the file system a local one?")
    }
  }

  /// Whether the file is a store, whole and readable by this version, or nothing yet. Changes nothing.
  static func inspect(_ database: Database, files: StoreFiles) throws {
    let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
    let owner = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
    guard try !isEmpty(database) else { return }
    guard owner == applicationID else {
      throw StoreError(.foreign, "the \(files.name) is a database of another program, not of a coordinator")
    }
    guard found <= version else {
      throw StoreError(
        .newerSchema,
        "the \(files.name) has layout \(found), and this version of iov-coordinator knows layouts up to \(version): "
          + "start the version that wrote it, or a later one")
    }
    try check(database, files: files)
  }

  private static func isEmpty(_ database: Database) throws -> Bool {
    try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master") == 0
  }

  /// Makes the tables in a new file; answers the cluster's identity.
  static func prepare(_ database: Database, files: StoreFiles, isNew: Bool) throws -> String {
    if isNew, try isEmpty(database) { return try create(database) }
    try migrate(database)
    guard let id = try String.fetchOne(database, sql: "SELECT value FROM property WHERE name = 'cluster_id'") else {
      throw StoreError.damaged(files, "it has lost its cluster id")
    }
    return id
  }

  /// Times are in milliseconds since 1970; the message has all of it.
  private static let audit = """
    CREATE TABLE holding (
      number INTEGER PRIMARY KEY AUTOINCREMENT, function TEXT NOT NULL, token INTEGER NOT NULL, claim TEXT NOT NULL,
      host TEXT NOT NULL, controlling_host TEXT NOT NULL, granted INTEGER, ended INTEGER, message BLOB NOT NULL
    ) STRICT;
    CREATE INDEX holding_of_function ON holding (function, token);
    CREATE INDEX holding_of_claim ON holding (claim);
    CREATE INDEX holding_that_ended ON holding (ended) WHERE ended IS NOT NULL;
    """

  private static let tenants = "ALTER TABLE holding ADD COLUMN tenant TEXT NOT NULL DEFAULT '';"

  /// Takes a file of an earlier layout to this one, with what is in it.
  private static func migrate(_ database: Database) throws {
    let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
    guard found < version else { return }
    try database.execute(sql: "\(found < 2 ? audit : "") \(tenants) PRAGMA user_version = \(version);")
  }

  private static func create(_ database: Database) throws -> String {
    let id = UUID().uuidString.lowercased()
    try database.execute(
      sql: """
        CREATE TABLE property (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE record (
          kind TEXT NOT NULL, name TEXT NOT NULL, message BLOB NOT NULL, PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID;
        \(audit)
        \(tenants)
        PRAGMA user_version = \(version);
        PRAGMA application_id = \(applicationID);
        """)
    try database.execute(sql: "INSERT INTO property VALUES ('cluster_id', ?)", arguments: [id])
    return id
  }

  /// Reads through the whole file once, so that damage is found before anything is decided on its ground.
  private static func check(_ database: Database, files: StoreFiles) throws {
    let found = try String.fetchOne(database, sql: "PRAGMA quick_check(1)") ?? "no answer"
    guard found == "ok" else { throw StoreError.damaged(files, found) }
  }
}
