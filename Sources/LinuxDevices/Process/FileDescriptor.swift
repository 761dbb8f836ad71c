import CLinux
import Glibc

/// An open file that is closed when its last holder lets go.
public final class FileDescriptor: Sendable {
  public let number: CInt

  /// Takes over a descriptor.
  public init(owning number: CInt) { self.number = number }

  /// Opens a file, close-on-exec.
  public convenience init(opening path: String, _ flags: CInt, mode: UInt32 = 0o600) throws(SystemCallError) {
    self.init(owning: try checked(iov_open(path, flags, mode), "open \(path)"))
  }

  deinit { close(number) }
}

/// Small files of the kernel and of our own state.
public enum SmallFile {
  /// The contents, up to a mebibyte.
  public static func read(_ path: String) throws(SystemCallError) -> [UInt8] {
    let file = try FileDescriptor(opening: path, O_RDONLY)
    var bytes: [UInt8] = []
    while bytes.count < 1 << 20 {
      let count = withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { chunk in
        let count = Glibc.read(file.number, chunk.baseAddress, chunk.count)
        if count > 0 { bytes.append(contentsOf: chunk[..<count]) }
        return count
      }
      if try checkedErrno(count, "read \(path)") == 0 { break }
    }
    return bytes
  }

  /// The contents as text, without white space at the end; nil when the file cannot be read.
  public static func text(_ path: String) -> String? {
    guard var bytes = try? read(path) else { return nil }
    while let last = bytes.last, last <= 0x20 { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The path without links on its way; nil when there is nothing.
  public static func resolved(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// What a link says, as it stands there; nil: there is no link.
  public static func linkTarget(_ path: String) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
      guard let base = buffer.baseAddress else { return nil }
      let count = readlink(path, base, buffer.count)
      return count > 0 ? String(decoding: UnsafeRawBufferPointer(buffer).prefix(count), as: UTF8.self) : nil
    }
  }

  /// Where `replace` writes the new contents. It stays when the process is killed there.
  public static func temporary(_ path: String) -> String { path + ".new" }

  /// Replaces the file as a whole: after a crash at any point it holds the old contents or the new ones.
  ///
  /// - Parameter mode: who may do what with it, whatever the umask; nil: its owner alone reads and writes it.
  public static func replace(
    _ path: String, with bytes: [UInt8], durably: Bool = true, mode: UInt32? = nil
  ) throws(SystemCallError) {
    let temporary = temporary(path)
    do {
      let file = try FileDescriptor(opening: temporary, O_WRONLY | O_CREAT | O_TRUNC)
      if let mode { try checkedErrno(fchmod(file.number, mode), "chmod \(temporary)") }
      try append(bytes, to: file, path: temporary)
      if durably { try checkedErrno(fsync(file.number), "fsync \(temporary)") }
    }
    try checkedErrno(rename(temporary, path), "rename \(temporary) to \(path)")
    if durably { try synchronizeDirectory(of: path) }
  }

  /// Writes all bytes at the file's position.
  public static func append(_ bytes: [UInt8], to file: FileDescriptor, path: String) throws(SystemCallError) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { write(file.number, $0.baseAddress?.advanced(by: done), $0.count - done) }
      if count < 0 && errno == EINTR { continue }
      done += try checkedErrno(count, "write \(path)")
    }
  }

  /// Makes the names in a file's directory durable.
  public static func synchronizeDirectory(of path: String) throws(SystemCallError) {
    let end = path.lastIndex(of: "/") ?? path.startIndex
    let directory = end == path.startIndex ? (path.hasPrefix("/") ? "/" : ".") : String(path[..<end])
    let descriptor = try FileDescriptor(opening: directory, O_RDONLY | O_DIRECTORY)
    try checkedErrno(fsync(descriptor.number), "fsync \(directory)")
  }

  /// Makes a directory and those above it.
  public static func makeDirectory(_ path: String, mode: UInt32 = 0o700) throws(SystemCallError) {
    guard mkdir(path, mode) < 0 else { return }
    if errno == ENOENT, let end = path.lastIndex(of: "/"), end != path.startIndex {
      try makeDirectory(String(path[..<end]), mode: 0o755)
      guard mkdir(path, mode) < 0 else { return }
    }
    if errno != EEXIST { throw SystemCallError("mkdir \(path)", errno: errno) }
  }

  /// Removes a file; one that is not there is no error.
  public static func remove(_ path: String) throws(SystemCallError) {
    if unlink(path) < 0 && errno != ENOENT { throw SystemCallError("unlink \(path)", errno: errno) }
  }

  /// Removes an empty directory; one that is not there is no error.
  public static func removeDirectory(_ path: String) throws(SystemCallError) {
    if rmdir(path) < 0 && errno != ENOENT { throw SystemCallError("rmdir \(path)", errno: errno) }
  }

  /// The names in a directory, sorted; none when it cannot be read.
  public static func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }
}
