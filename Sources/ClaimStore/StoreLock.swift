import Glibc
import Synchronization

/// Keeps a second coordinator off a store. The lock belongs to the open file, so it goes with the process, however that
/// ends.
///
/// A file of its own, beside the database: closing any descriptor of the database itself would drop the locks that
/// SQLite holds on it in this process (fcntl(2), "Advisory record locking").
final class StoreLock: Sendable {
  private let descriptor: Mutex<CInt?>

  init(for path: String) throws(StoreError) {
    let lockPath = path + "-lock"
    let opened = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard opened >= 0 else {
      let code = errno
      throw StoreError(
        code == EROFS ? .readOnly : .unreachable, "cannot open the store's lock \(lockPath): \(Self.words(for: code))")
    }
    guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      let holder = Self.read(opened)
      Glibc.close(opened)
      guard code == EWOULDBLOCK else {
        throw StoreError(.unreachable, "cannot lock \(lockPath): \(Self.words(for: code))")
      }
      throw StoreError(
        .inUse, "the store \(path) is in use by another coordinator\(holder.map { " (process \($0))" } ?? "")")
    }
    Self.write("\(getpid())", to: opened)
    descriptor = Mutex(opened)
  }

  deinit { release() }

  func release() {
    descriptor.withLock { descriptor in
      if let held = descriptor { Glibc.close(held) }
      descriptor = nil
    }
  }

  /// The holder's process id is written for people; nothing depends on it, so a failure to write it is left at that.
  private static func write(_ text: String, to descriptor: CInt) {
    guard ftruncate(descriptor, 0) == 0 else { return }
    _ = text.utf8.withContiguousStorageIfAvailable { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
  }

  private static func read(_ descriptor: CInt) -> String? {
    var buffer = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    guard count > 0 else { return nil }
    let text = String(decoding: buffer[..<count], as: UTF8.self)
    return Int32(text) == nil ? nil : text
  }

  static func words(for code: CInt) -> String { "\(String(cString: strerror(code))) (errno \(code))" }
}
