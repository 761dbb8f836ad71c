import CLinux
import Glibc

/// The kernel's tree of devices and drivers, below a root that tests replace.
///
/// Whatever may go at any moment (hot unplug) reads as nil; a write, which somebody waits for, says why it failed.
/// Calls block: reading for microseconds, as a rule, and a write for as long as the driver takes (a count of virtual
/// functions: seconds).
public struct Sysfs: Sendable {
  public let root: String
  private let store: Store

  /// Carries out a write: the value, and the absolute path of an attribute. Tests put a kernel of their own here, since
  /// ordinary files answer no write.
  public typealias Store = @Sendable (_ value: String, _ path: String) throws(SysfsError) -> Void

  public init(root: String = "/sys", store: @escaping Store = Sysfs.write) {
    self.root = root
    self.store = store
  }

  /// The absolute path of what is at `path` below the root ("bus/pci/devices").
  public func path(_ path: String) -> String { "\(root)/\(path)" }

  // MARK: Reading

  /// An attribute without white space at its end; nil: there is none, or the driver does not say. Attributes are one page
  /// at most.
  public func text(_ path: String) -> String? {
    guard var bytes = bytes(path, atMost: 4096) else { return nil }
    while let last = bytes.last, last <= 0x20 { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A number in decimal, or in hexadecimal behind "0x"; nil for anything else.
  public func integer<Integer: FixedWidthInteger>(_ path: String, as: Integer.Type = Integer.self) -> Integer? {
    guard let text = text(path) else { return nil }
    return text.hasPrefix("0x") ? Integer(text.dropFirst(2), radix: 16) : Integer(text)
  }

  /// The first bytes of a binary attribute; nil when it cannot be read.
  public func bytes(_ path: String, atMost limit: Int) -> [UInt8]? {
    let descriptor = iov_open(self.path(path), O_RDONLY, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var failed = false
    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, filled in
      while filled < limit {
        let count = read(descriptor, buffer.baseAddress?.advanced(by: filled), limit - filled)
        if count < 0 && errno == EINTR { continue }
        failed = count < 0
        guard count > 0 else { return }
        filled += count
      }
    }
    return failed && bytes.isEmpty ? nil : bytes
  }

  public func exists(_ path: String) -> Bool { access(self.path(path), F_OK) == 0 }

  /// The last part of what a symbolic link leads to; nil: there is no such link.
  public func linkName(_ path: String) -> String? { Self.linkName(self.path(path), in: AT_FDCWD) }

  /// As above, of a path from an open directory: many short ways where there are many links in one place.
  static func linkName(_ path: String, in directory: CInt) -> String? {
    withLink(path, in: directory) { target in
      let start = target.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
      return String(decoding: target[start...], as: UTF8.self)
    }
  }

  static func withLink<Result>(
    _ path: String, in directory: CInt, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
      guard let base = buffer.baseAddress else { return nil }
      let count = readlinkat(directory, path, base, buffer.count)
      guard count > 0 else { return nil }
      return body(UnsafeRawBufferPointer(start: base, count: count))
    }
  }

  /// The absolute path without symbolic links; nil when nothing is there.
  public func resolved(_ path: String) -> String? { SmallFile.resolved(self.path(path)) }

  /// The names in a directory, sorted; none when it is not there.
  public func names(in directory: String) -> [String] { SmallFile.names(in: path(directory)) }

  // MARK: Writing

  /// Writes an attribute, in one system call as the kernel wants it. Returns when the driver has done what it makes of it.
  public func write(_ value: some CustomStringConvertible, to path: String) throws(SysfsError) {
    try store(value.description, self.path(path))
  }

  /// What `init` takes for writing unless it is told otherwise: the kernel's own files.
  public static let write: Store = { value, path throws(SysfsError) in
    let descriptor = iov_open(path, O_WRONLY, 0)
    guard descriptor >= 0 else { throw SysfsError(.open, path, value: value, errno: -descriptor) }
    defer { close(descriptor) }
    // The newline makes an empty value a write of its own: zero bytes never reach the driver.
    let bytes = Array("\(value)\n".utf8)
    var count: Int
    repeat { count = Glibc.write(descriptor, bytes, bytes.count) } while count < 0 && errno == EINTR
    guard count == bytes.count else { throw SysfsError(.write, path, value: value, errno: count < 0 ? errno : EIO) }
  }
}

/// Why an attribute could not be written.
public struct SysfsError: Error, Hashable, CustomStringConvertible {
  /// An error number means one thing while the file is opened (it is not there) and another while it is written (the
  /// driver answers).
  public enum Step: Sendable, Hashable { case open, write }

  public var step: Step
  public var path: String
  public var value: String
  public var errno: CInt

  public init(_ step: Step, _ path: String, value: String, errno: CInt) {
    self.step = step
    self.path = path
    self.value = value
    self.errno = errno
  }

  /// There is no such attribute, or the device went: before the file was opened or while it was written.
  public var isAbsence: Bool { step == .open && errno == ENOENT || errno == ENODEV || errno == ENXIO }

  /// "write 8 to /sys/…/sriov_numvfs: Numerical result out of range (errno 34)"
  public var description: String {
    let tried = step == .open ? "open \(path) to write '\(value)'" : "write '\(value)' to \(path)"
    return "\(tried): \(SystemCallError.reason(errno)) (errno \(errno))"
  }
}
