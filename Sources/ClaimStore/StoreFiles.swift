import Foundation
import Glibc

/// The files of a store, side by side in one directory.
struct StoreFiles: Sendable {
  /// The database.
  let path: String
  /// Whether it only may become a store: a backup on its way back.
  var isCandidate = false

  /// For messages.
  var name: String { isCandidate ? "backup" : "store \(path)" }

  var log: String { path + "-wal" }
  var sharedMemory: String { path + "-shm" }
  var lock: String { path + "-lock" }

  var directory: String {
    let directory = (path as NSString).deletingLastPathComponent
    return directory.isEmpty ? "." : directory
  }

  /// A new name beside the store, on the same file system.
  func temporary() -> String { path + Self.temporaryMark + UUID().uuidString }

  private static let temporaryMark = "-partial-"

  /// Removes what a coordinator that was killed had not finished.
  func removeTemporaries() {
    let prefix = (path as NSString).lastPathComponent + Self.temporaryMark
    for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] {
      guard name.hasPrefix(prefix), UUID(uuidString: String(name.dropFirst(prefix.count).prefix(36))) != nil else {
        continue
      }
      unlink(directory + "/" + name)
    }
  }

  /// Nil if there is no such file.
  static func size(of path: String) -> UInt64? {
    var status = stat()
    return stat(path, &status) == 0 ? UInt64(clamping: status.st_size) : nil
  }

  /// What an ordinary user may still write there; nil where the file system does not say.
  var freeBytes: UInt64? {
    var status = statvfs()
    guard statvfs(directory, &status) == 0 else { return nil }
    return UInt64(status.f_bavail) * UInt64(status.f_frsize)
  }

  /// The file and the names in the directory are on the disk when this returns.
  func synchronize(_ file: String) throws(StoreError) {
    for path in [file, directory] {
      let descriptor = open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw StoreError(.failed, "cannot open \(path): \(StoreLock.words(for: errno))") }
      defer { close(descriptor) }
      guard fsync(descriptor) == 0 else {
        throw StoreError(.failed, "cannot write \(path) to the disk: \(StoreLock.words(for: errno))")
      }
    }
  }
}
