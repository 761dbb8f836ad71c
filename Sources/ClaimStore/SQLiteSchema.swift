import Foundation
import GRDB

/// The layout of the database file and the checks at its opening.
enum SQLiteSchema {
  /// `PRAGMA user_version`: rises with every change of the layout.
  static let version = 1
  /// `PRAGMA application_id`, "iovm": tells our files from other SQLite databases.
  static let applicationID = 0x696F_766D

  static var configuration: GRDB.Configuration {
    var configuration = GRDB.Configuration()
    configuration.journalMode = .wal
    // Another process may look into the file, with the sqlite3 shell for one; a commit waits for it this long.
    configuration.busyMode = .timeout(5)
    configuration.label = "claims"
    return configuration
  }

  /// Has every commit reach the disk, and makes sure that SQLite agreed to it.
  static func makeDurable(_ database: Database) throws {
    try database.execute(sql: "PRAGMA synchronous = FULL")
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

  /// Makes the tables in a new file; answers the cluster's identity.
  static func prepare(_ database: Database, path: String) throws -> String {
    let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
    let owner = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
    let tables = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master") ?? 0
    if tables == 0, found == 0, owner == 0 { return try create(database) }
    guard owner == applicationID else {
      throw StoreError(.damaged, "\(path) is a database of another program; name a file of the coordinator's own")
    }
    guard found <= version else {
      throw StoreError(
        .newerSchema,
        "the store \(path) has layout \(found), and this version of iov-coordinator knows layouts up to \(version): "
          + "start the version that wrote it, or a later one")
    }
    guard let id = try String.fetchOne(database, sql: "SELECT value FROM property WHERE name = 'cluster_id'") else {
      throw StoreError(.damaged, "the store \(path) has lost its cluster id")
    }
    return id
  }

  private static func create(_ database: Database) throws -> String {
    let id = UUID().uuidString.lowercased()
    try database.execute(
      sql: """
        CREATE TABLE property (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE record (
          kind TEXT NOT NULL, name TEXT NOT NULL, message BLOB NOT NULL, PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID;
        PRAGMA user_version = \(version);
        PRAGMA application_id = \(applicationID);
        """)
    try database.execute(sql: "INSERT INTO property VALUES ('cluster_id', ?)", arguments: [id])
    return id
  }

  /// Reads through the whole file once, so that damage is found before anything is decided on its ground.
  static func check(_ database: Database, path: String) throws {
    let found = try String.fetchOne(database, sql: "PRAGMA quick_check(1)") ?? "no answer"
    guard found == "ok" else { throw StoreError(.damaged, "the store \(path) is damaged: \(found)") }
  }
}

extension StoreError {
  init(opening path: String, _ error: any Error) { self.init(path, error, doing: "open") }

  init(using path: String, _ error: any Error) { self.init(path, error, doing: "use") }

  private init(_ path: String, _ error: any Error, doing: String) {
    if let error = error as? StoreError {
      self = error
      return
    }
    let code = (error as? DatabaseError)?.resultCode
    let words = (error as? DatabaseError).map { $0.message ?? "\($0.resultCode)" } ?? "\(error)"
    switch code {
    case .SQLITE_NOTADB?, .SQLITE_CORRUPT?:
      self.init(.damaged, "the store \(path) is not an undamaged SQLite database: \(words)")
    case .SQLITE_READONLY?:
      self.init(.readOnly, "the store \(path) cannot be written: \(words)")
    case .SQLITE_CANTOPEN?, .SQLITE_PERM?, .SQLITE_AUTH?:
      self.init(.unreachable, "cannot open the store \(path): \(words)")
    default:
      self.init(.failed, "cannot \(doing) the store \(path): \(words)")
    }
  }
}
