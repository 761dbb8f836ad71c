import Foundation
import GRDB
import Glibc
import Messages
import Synchronization

/// The embedded store: one SQLite file, one table of records.
///
/// A commit is on the disk when it returns: the journal is a write-ahead log and `synchronous` is FULL, so SQLite calls
/// fsync(2) on the log for every transaction (https://www.sqlite.org/pragma.html#pragma_synchronous). GRDB would set
/// NORMAL with WAL mode, which loses the last transactions in a power failure; both are set here and read back.
public final class SQLiteStore: ClaimStore {
  public let clusterID: String
  private let files: StoreFiles
  /// Nil for a file that is no store yet.
  private let lock: StoreLock?
  /// Nil once closed. A queue rather than a pool: all writes come from one thread, and reads happen once, at the start.
  private let database: Mutex<DatabaseQueue?>
  /// Held while somebody reads over another connection: that would keep the log from being moved into the database at the end.
  private let reading = Mutex(())

  public var path: String { files.path }

  /// Opens the store at `path` and makes it if there is none; its directory must exist.
  public convenience init(path: String) throws(StoreError) {
    let files = StoreFiles(path: path)
    let lock = try StoreLock(for: path)
    if let cluster = lock.knownCluster, StoreFiles.size(of: path) ?? 0 == 0 {
      throw StoreError(
        .damaged,
        "the store \(path) is missing or empty, and it held cluster \(cluster): put the file back; or \(StoreError.wayBack); "
          + "or, to begin a new cluster, remove \(files.lock)")
    }
    files.removeTemporaries()
    try self.init(files, lock: lock)
    lock.note(cluster: clusterID)
  }

  /// Opens a file that may be put in a store's place, a backup for one. It is changed only by what is committed to it.
  public convenience init(candidate path: String) throws(StoreError) {
    guard StoreFiles.size(of: path) ?? 0 > 0 else {
      throw StoreError(.foreign, "the backup is empty")
    }
    try self.init(StoreFiles(path: path, isCandidate: true), lock: nil)
  }

  private init(_ files: StoreFiles, lock: StoreLock?) throws(StoreError) {
    let path = files.path
    do {
      try Self.checkWritable(path)
      if let problem = WriteAheadLog.problem(at: files.log) { throw StoreError.damaged(files, problem) }
      let queue = try DatabaseQueue(path: path, configuration: SQLiteSchema.configuration)
      try queue.read { try SQLiteSchema.inspect($0, files: files) }
      try queue.writeWithoutTransaction { try SQLiteSchema.makeDurable($0) }
      clusterID = try queue.write { try SQLiteSchema.prepare($0, files: files, isNew: lock != nil) }
      database = Mutex(queue)
    } catch {
      lock?.release()
      throw StoreError(opening: files, error)
    }
    self.files = files
    self.lock = lock
  }

  /// SQLite opens what it cannot write for reading, and would tell at the first commit.
  private static func checkWritable(_ path: String) throws(StoreError) {
    guard access(path, W_OK) != 0, errno != ENOENT else { return }
    throw StoreError(
      .readOnly, "the store \(path) cannot be written: \(StoreLock.words(for: errno)); \(StoreError.writableAgain)")
  }

  public func load() throws(StoreError) -> [StoredRecord] {
    try perform { queue in
      try queue.read { database in
        try Row.fetchAll(database, sql: "SELECT kind, name, message FROM record ORDER BY kind, name").map { row in
          StoredRecord(
            key: StoreKey(kind: row["kind"], name: row["name"]), bytes: Self.bytes(of: row["message"]))
        }
      }
    }
  }

  /// In one piece: `Array(data)` goes through every byte, for tens of thousands of records.
  static func bytes(of data: Data) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: data.count) { buffer, count in count = data.copyBytes(to: buffer) }
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
          case .audit(let news):
            try SQLiteAudit.take(news, database)
          }
        }
      }
    }
  }

  public func close() {
    closeDatabase()
    lock?.release()
  }

  private func closeDatabase() {
    reading.withLock { _ in }
    database.withLock { database in
      // Closing fails only while a statement runs, and the lock is held here; the file is whole in any case.
      try? database?.close()
      database = nil
    }
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

  func perform<Result: Sendable>(_ body: (DatabaseQueue) throws -> Result) throws(StoreError) -> Result {
    try database.withLock { (database) throws(StoreError) -> Result in
      guard let database else { throw StoreError(.closed, "the store \(path) is closed") }
      do {
        return try body(database)
      } catch {
        throw StoreError(using: files, error)
      }
    }
  }
}

// MARK: Backup and restore

extension SQLiteStore {
  public var byteCount: UInt64 {
    (StoreFiles.size(of: path) ?? 0) + (StoreFiles.size(of: files.log) ?? 0)
  }

  /// As `ClaimStore.copy`, by SQLite's online backup (https://www.sqlite.org/backup.html). The copy is read over a connection of
  /// its own: in a write-ahead log's time a reader holds no writer up.
  public func copy() throws(StoreError) -> String {
    try reading.withLock { (_) throws(StoreError) in try makeCopy() }
  }

  /// Another connection, which no commit waits for. The caller closes it.
  private func reader() throws -> DatabaseQueue {
    var configuration = GRDB.Configuration()
    configuration.readonly = true
    return try DatabaseQueue(path: path, configuration: configuration)
  }

  /// Reads what may take a while, over a connection of its own.
  func readAside<Result: Sendable>(_ body: (Database) throws -> Result) throws(StoreError) -> Result {
    try reading.withLock { (_) throws(StoreError) -> Result in
      // Nothing is read of a store that is closed.
      try perform { _ in }
      do {
        let reader = try reader()
        defer { try? reader.close() }
        return try reader.read(body)
      } catch {
        throw StoreError(using: files, error)
      }
    }
  }

  private func makeCopy() throws(StoreError) -> String {
    let destination = files.temporary()
    // The disk must not fill up with a backup: then the coordinator could not commit any more.
    if let free = files.freeBytes, free < byteCount + Self.reservedBytes {
      throw StoreError(
        .full,
        "a backup is made beside the store and takes \(byteCount >> 10) KiB; \(free >> 10) KiB are free in "
          + "\(files.directory), and \(Self.reservedBytes >> 10) of them are kept for the store itself: make space there"
      )
    }
    do {
      let source = try reader()
      defer { try? source.close() }
      let copy = try DatabaseQueue(path: destination)
      // It is read back through the same cache and never survives a crash: waiting for the disk would only slow commits.
      try copy.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = OFF") }
      try source.backup(to: copy)
      try copy.close()
      return destination
    } catch {
      Self.removeCandidate(destination)
      throw StoreError(using: files, error)
    }
  }

  /// What backups leave free on the store's disk.
  public static let reservedBytes: UInt64 = 1 << 20

  /// What may be written beside the store before `reservedBytes` are touched; nil where the file system does not say.
  public static func room(besideStore path: String) -> UInt64? {
    StoreFiles(path: path).freeBytes.map { $0 - min($0, reservedBytes) }
  }

  /// A name for a file that may be put in the store's place; what is left there is removed when the store is opened again.
  public static func candidatePath(forStore path: String) -> String { StoreFiles(path: path).temporary() }

  /// Removes a candidate and what SQLite keeps beside it.
  public static func removeCandidate(_ path: String) {
    let files = StoreFiles(path: path)
    for path in [path, files.log, files.sharedMemory, path + "-journal"] { unlink(path) }
  }

  public func replace(with candidate: String, keepingAs former: String) throws(StoreError) {
    closeDatabase()
    defer { lock?.release() }
    // The last connection that closes moves the log into the database. A log that stayed would be taken for the new one's.
    guard StoreFiles.size(of: files.log) ?? 0 == 0 else {
      throw StoreError(.failed, "another process has the store \(path) open; end it (lsof \(path)), then restore again")
    }
    try files.replace(with: candidate, keepingAs: former)
  }

  /// As `replace`, for a store that cannot be opened: no coordinator runs on it. The log of a damaged store is kept beside it.
  public static func replaceDamaged(
    _ path: String, with candidate: String, keepingAs former: String
  ) throws(StoreError) {
    let files = StoreFiles(path: path)
    let lock = try StoreLock(for: path)
    defer { lock.release() }
    try files.replaceWithLog(with: candidate, keepingAs: former)
  }

  /// The cluster that the store at `path` was last known to be of; nil if nothing says so. Throws while a coordinator runs.
  public static func knownCluster(ofStore path: String) throws(StoreError) -> String? {
    let lock = try StoreLock(for: path)
    defer { lock.release() }
    return lock.knownCluster
  }
}
