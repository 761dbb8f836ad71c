import CLinux
import Glibc
import LinuxDevices

/// The ledger on disk: records are appended and synced before the verb that they belong to acts, and the file is written
/// anew now and then, as a whole.
///
/// A process killed at any byte leaves at most a damaged last line, which was never acted on: it is cut off. Damage
/// anywhere else is somebody else's doing, and the plugin refuses to start: a token forgotten could let a delayed
/// duplicate use a disk that belongs to another claim.
struct LedgerFile: Sendable {
  private let path: String
  private var file: FileDescriptor
  private var lineCount: Int

  /// Opens or begins the file, and waits until an earlier plugin process has let go of the directory.
  static func open(in directory: String) throws -> (LedgerFile, TokenLedger) {
    try SmallFile.makeDirectory(directory)
    let lock = try FileDescriptor(opening: directory + "/lock", O_RDWR | O_CREAT)
    // The agent starts a plugin anew while the one before may still be ending: that takes milliseconds.
    var attempts = 0
    while flock(lock.number, LOCK_EX | LOCK_NB) < 0 {
      guard errno == EWOULDBLOCK, attempts < 1000 else {
        throw PluginError(.failedPrecondition, "\(directory) is in use by another plugin process: stop it first.")
      }
      attempts += 1
      usleep(10_000)
    }
    let path = directory + "/tokens.ledger"
    var ledger = TokenLedger()
    let bytes: [UInt8]
    do {
      bytes = try readAll(path)
    } catch let error as SystemCallError where error.errno == ENOENT {
      try SmallFile.replace(path, with: [])
      bytes = []
    }
    let (count, validBytes) = try replay(bytes, into: &ledger, path: path)
    let file = try FileDescriptor(opening: path, O_WRONLY | O_APPEND)
    if validBytes < bytes.count {
      guard ftruncate(file.number, off_t(validBytes)) == 0, fsync(file.number) == 0 else {
        throw SystemCallError("cut \(path)", errno: errno)
      }
    }
    return (LedgerFile(path: path, file: file, lineCount: count, lock: lock), ledger)
  }

  private let lock: FileDescriptor

  private init(path: String, file: FileDescriptor, lineCount: Int, lock: FileDescriptor) {
    self.path = path
    self.file = file
    self.lineCount = lineCount
    self.lock = lock
  }

  /// Makes a record durable. After an error the file may end in a part of it: `ledger` is written anew then.
  mutating func append(_ record: LedgerRecord, after ledger: TokenLedger) throws {
    if lineCount > 256 + 4 * (ledger.functions.count + ledger.endNodes.count) { try rewrite(ledger.records) }
    do {
      try SmallFile.append(record.line, to: file, path: path)
      guard fdatasync(file.number) == 0 else { throw SystemCallError("sync \(path)", errno: errno) }
      lineCount += 1
    } catch {
      try? rewrite(ledger.records)
      throw error
    }
  }

  private mutating func rewrite(_ records: [LedgerRecord]) throws {
    try SmallFile.replace(path, with: records.flatMap(\.line))
    file = try FileDescriptor(opening: path, O_WRONLY | O_APPEND)
    lineCount = records.count
  }

  /// Answers how many lines there are and how many bytes of the file are good.
  private static func replay(
    _ bytes: [UInt8], into ledger: inout TokenLedger, path: String
  ) throws -> (lines: Int, validBytes: Int) {
    var start = 0
    var count = 0
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      guard let record = LedgerRecord(line: bytes[start..<end]) else {
        // A line with its end was written whole unless the machine lost power under it, which only the last one can.
        if end + 1 == bytes.count { return (count, start) }
        throw PluginError(
          .dataLoss,
          "\(path) is damaged in line \(count + 1), and with it the memory of which tokens are spent. "
            + "Release this host's functions, then move the file away.")
      }
      ledger.apply(record)
      count += 1
      start = end + 1
    }
    return (count, start)
  }

  private static func readAll(_ path: String) throws -> [UInt8] {
    let file = try FileDescriptor(opening: path, O_RDONLY)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = read(file.number, &chunk, chunk.count)
      guard count >= 0 else { throw SystemCallError("read \(path)", errno: errno) }
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[..<count])
    }
  }
}
