import Glibc
import LinuxDevices

/// A file that appears under its name when it is whole and durable, and not before.
final class BackupFile {
  let path: String
  private let replaces: Bool
  private let temporaryPath: String
  private let file: FileDescriptor
  private(set) var byteCount: UInt64 = 0
  private var isInPlace = false

  struct Exists: Error {}

  /// `replaces`: a file of that name may go.
  init(_ path: String, replaces: Bool) throws {
    self.path = path
    self.replaces = replaces
    if !replaces, access(path, F_OK) == 0 { throw Exists() }
    temporaryPath = "\(path).part-\(getpid())"
    file = try FileDescriptor(opening: temporaryPath, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
  }

  deinit { if !isInPlace { unlink(temporaryPath) } }

  func append(_ bytes: [UInt8]) throws {
    try SmallFile.append(bytes, to: file, path: temporaryPath)
    byteCount += UInt64(bytes.count)
  }

  /// Begins again.
  func clear() throws {
    guard ftruncate(file.number, 0) == 0, lseek(file.number, 0, SEEK_SET) == 0 else {
      throw SystemCallError("truncate \(temporaryPath)", errno: errno)
    }
    byteCount = 0
  }

  func putInPlace() throws {
    guard fsync(file.number) == 0 else { throw SystemCallError("fsync \(temporaryPath)", errno: errno) }
    // link(2) refuses a name that somebody has taken meanwhile; rename(2) would not.
    if replaces {
      guard rename(temporaryPath, path) == 0 else { throw SystemCallError("rename to \(path)", errno: errno) }
    } else {
      guard link(temporaryPath, path) == 0 else {
        if errno == EEXIST { throw Exists() }
        throw SystemCallError("link to \(path)", errno: errno)
      }
      unlink(temporaryPath)
    }
    isInPlace = true
    try SmallFile.synchronizeDirectory(of: path)
  }
}
