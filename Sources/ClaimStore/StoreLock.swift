import Glibc
import Synchronization

/// Keeps a second coordinator off a store, and remembers which cluster the store is of. The lock belongs to the open
/// file, so it goes with the process, however that ends.
///
/// A file of its own, beside the database: closing any descriptor of the database itself would drop the locks that
/// SQLite holds on it in this process (fcntl(2), "Advisory record locking").
final class StoreLock: Sendable {
  /// The cluster whose store was here when the lock was last held: a store that is missing or empty has been lost then.
  let knownCluster: String?
  private let descriptor: Mutex<CInt?>

  init(for path: String) throws(StoreError) {
    let lockPath = StoreFiles(path: path).lock
    let opened = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard opened >= 0 else { throw Self.openingFailed(lockPath, errno) }
    guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      let holder = Self.read(opened).process
      Glibc.close(opened)
      guard code == EWOULDBLOCK else {
        throw StoreError(.unreachable, "cannot lock \(lockPath): \(Self.words(for: code))")
      }
      throw StoreError(
        .inUse,
        "the store \(path) is in use by another coordinator\(holder.map { " (process \($0))" } ?? ""); there is one in a "
          + "cluster: stop it first, or leave it be")
    }
    knownCluster = Self.read(opened).cluster
    descriptor = Mutex(opened)
  }

  private static func openingFailed(_ path: String, _ code: CInt) -> StoreError {
    let what = "cannot open the store's lock \(path): \(words(for: code))"
    return switch code {
    case EROFS: StoreError(.readOnly, what + "; " + StoreError.writableAgain)
    case ENOSPC: StoreError(.full, what + "; make space and start again")
    case EACCES, EPERM:
      StoreError(.unreachable, what + "; the coordinator's user must be able to write the directory")
    default: StoreError(.unreachable, what)
    }
  }

  deinit { release() }

  /// Writes down who holds the lock, and whose store it guards.
  func note(cluster: String) {
    descriptor.withLock { descriptor in
      guard let descriptor else { return }
      Self.write("\(getpid()) \(cluster)\n", to: descriptor)
    }
  }

  func release() {
    descriptor.withLock { descriptor in
      guard let held = descriptor else { return }
      // Closing alone would leave it to a process that is being started at this moment and has not dropped its copy yet.
      flock(held, LOCK_UN)
      Glibc.close(held)
      descriptor = nil
    }
  }

  /// Nothing but messages and a warning depends on it, so a failure to write it is left at that.
  private static func write(_ text: String, to descriptor: CInt) {
    let written = text.utf8.withContiguousStorageIfAvailable { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    // On a full disk the former text stays as long as it was.
    if written == text.utf8.count { ftruncate(descriptor, off_t(text.utf8.count)) }
  }

  private static func read(_ descriptor: CInt) -> (process: Int32?, cluster: String?) {
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    guard count > 0 else { return (nil, nil) }
    let line = String(decoding: buffer[..<count], as: UTF8.self).prefix { $0 != "\n" }
    let words = line.split(separator: " ")
    let cluster = words.dropFirst().first.map(String.init)
    return (words.first.flatMap { Int32($0) }, cluster?.count == 36 ? cluster : nil)
  }

  static func words(for code: CInt) -> String { "\(String(cString: strerror(code))) (errno \(code))" }
}
