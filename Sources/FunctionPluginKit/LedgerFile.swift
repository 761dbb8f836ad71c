import CLinux
import Glibc
import LinuxDevices

/// The ledger on disk: records are appended and synced before the verb that they belong to acts.
///
/// Damage is refused, except of a last line that was never acted on: a token forgotten could let a delayed duplicate use
/// a disk that belongs to another claim.
struct LedgerFile: Sendable {
  private var file: RecordFile
  private let lock: FileDescriptor

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
    let file = try RecordFile.open(path) { text, line in
      guard let record = text.flatMap({ LedgerRecord($0) }) else {
        throw PluginError(
          .dataLoss,
          "\(path) is damaged in line \(line), and with it the memory of which tokens are spent. "
            + "Release this host's functions, then move the file away.")
      }
      ledger.apply(record)
    }
    return (LedgerFile(file: file, lock: lock), ledger)
  }

  private init(file: RecordFile, lock: FileDescriptor) {
    self.file = file
    self.lock = lock
  }

  /// Makes a record durable. After an error the file may end in a part of it: `ledger` is written anew then.
  mutating func append(_ record: LedgerRecord, after ledger: TokenLedger) throws {
    if file.recordCount > 256 + 4 * (ledger.functions.count + ledger.endNodes.count) { try rewrite(ledger) }
    do {
      try file.append([record.text], durably: true)
    } catch {
      try? rewrite(ledger)
      throw error
    }
  }

  private mutating func rewrite(_ ledger: TokenLedger) throws {
    try file.rewrite(ledger.records.map(\.text), durably: true)
  }
}
