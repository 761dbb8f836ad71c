import Foundation
import GRDB
import Messages
import Synchronization

/// The embedded store: one SQLite file, one table of records.
///
/// A commit is on the disk when it returns: the journal is a write-ahead log and `synchronous` is FULL, so SQLite calls
/// fsync(2) on the log for every transaction (https://www.sqlite.org/pragma.html#pragma_synchronous). GRDB sets NORMAL
/// whenever it enters WAL mode, which loses the last transactions in a power failure; it is set back here and read back.
public final class SQLiteStore: ClaimStore {
  public let path: String
  public let clusterID: String
  private let lock: StoreLock
  /// Nil once closed. A queue rather than a pool: all writes come from one thread, and reads happen once, at the start.
  private let database: Mutex<DatabaseQueue?>

  /// Opens the store at `path` and makes it if there is none; its directory must exist.
  public init(path: String) throws(StoreError) {
    let lock = try StoreLock(for: path)
    do {
      let queue = try DatabaseQueue(path: path, configuration: SQLiteSchema.configuration)
      try queue.writeWithoutTransaction { database in try SQLiteSchema.makeDurable(database) }
      clusterID = try queue.write { database in try SQLiteSchema.prepare(database, path: path) }
      try queue.read { database in try SQLiteSchema.check(database, path: path) }
      database = Mutex(queue)
    } catch {
      lock.release()
      throw StoreError(opening: path, error)
    }
    self.path = path
    self.lock = lock
  }

  public func load() throws(StoreError) -> [StoredRecord] {
    try perform { queue in
      try queue.read { database in
        try Row.fetchAll(database, sql: "SELECT kind, name, message FROM record ORDER BY kind, name").map { row in
          StoredRecord(
            key: StoreKey(kind: row["kind"], name: row["name"]), bytes: [UInt8](row["message"] as Data))
        }
      }
    }
  }

  public func commit(_ changes: [StoreChange]) throws(StoreError) {
    guard !changes.isEmpty else { return }
    try perform { queue in
      try queue.write { database in
        let put = try database.cachedStatement(
          sql: "INSERT INTO record (kind, name, message) VALUES (?, ?, ?) "
            + "ON CONFLICT (kind, name) DO UPDATE SET message = excluded.message")
        let remove = try database.cachedStatement(sql: "DELETE FROM record WHERE kind = ? AND name = ?")
        for change in changes {
          switch change {
          case .put(let key, let message):
            try put.execute(arguments: [key.kind, key.name, Data(message.encoded())])
          case .remove(let key):
            try remove.execute(arguments: [key.kind, key.name])
          }
        }
      }
    }
  }

  public func close() {
    database.withLock { database in
      // Closing fails only while a statement runs, and the lock is held here; the file is whole in any case.
      try? database?.close()
      database = nil
    }
    lock.release()
  }

  /// What `PRAGMA synchronous` and `PRAGMA journal_mode` read now.
  func durability() throws(StoreError) -> (synchronous: Int?, journalMode: String?) {
    try perform { queue in
      try queue.read { database in
        (
          try Int.fetchOne(database, sql: "PRAGMA synchronous"),
          try String.fetchOne(database, sql: "PRAGMA journal_mode")
        )
      }
    }
  }

  private func perform<Result: Sendable>(_ body: (DatabaseQueue) throws -> Result) throws(StoreError) -> Result {
    try database.withLock { (database) throws(StoreError) -> Result in
      guard let database else { throw StoreError(.closed, "the store \(path) is closed") }
      do {
        return try body(database)
      } catch {
        throw StoreError(using: path, error)
      }
    }
  }
}
