import Foundation
import Glibc
import Testing

/// A file system in memory of a test's own: it can be filled up and made read-only, and goes with the last reference.
final class SmallFileSystem: Sendable {
  let path: String

  /// Whether this process may mount: as root, or with the rights in a mount namespace of its own.
  static let isPossible = {
    guard let probe = try? SmallFileSystem(kibibytes: 16) else { return false }
    return withExtendedLifetime(probe) { true }
  }()

  init(kibibytes: Int) throws {
    path = NSTemporaryDirectory() + "iov-disk-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    guard mount("tmpfs", path, "tmpfs", 0, "size=\(kibibytes)k") == 0 else {
      let code = errno
      rmdir(path)
      throw POSIXError(POSIXErrorCode(rawValue: code) ?? .EPERM)
    }
  }

  deinit {
    umount2(path, CInt(MNT_DETACH))
    rmdir(path)
  }

  func file(_ name: String) -> String { path + "/" + name }

  func resize(kibibytes: Int) {
    #expect(mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT), "size=\(kibibytes)k") == 0)
  }

  func makeReadOnly() { #expect(mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0) }

  /// Makes one file of it read-only, whatever the user's rights.
  func makeReadOnly(_ name: String) {
    #expect(mount(file(name), file(name), nil, UInt(MS_BIND), nil) == 0)
    let flags = MS_BIND | MS_REMOUNT | MS_RDONLY
    #expect(mount(nil, file(name), nil, UInt(flags), nil) == 0)
  }
}
