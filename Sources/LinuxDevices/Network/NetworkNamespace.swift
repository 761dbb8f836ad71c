import CLinux
import Glibc

/// A network namespace, held open: it cannot go away while this value lives, so values are short-lived where tenants own
/// the namespace.
public final class NetworkNamespace: Sendable {
  public static let directory = "/run/netns"

  /// For people: the name, or "this process's namespace".
  public let label: String
  /// The name below /run/netns, if it was opened by one.
  public let name: String?
  public let descriptor: CInt
  /// Identifies the namespace until the next boot, while it exists.
  public let inode: UInt64

  private init(path: String, name: String?, label: String) throws(NetworkNamespaceError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw NetworkNamespaceError(failing: "open \(path)", errno: errno) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      let code = errno
      close(descriptor)
      throw NetworkNamespaceError(failing: "stat \(path)", errno: code)
    }
    self.descriptor = descriptor
    self.inode = UInt64(status.st_ino)
    self.name = name
    self.label = label
  }

  deinit { close(descriptor) }

  /// The namespace of the calling thread.
  public static func current() throws(NetworkNamespaceError) -> NetworkNamespace {
    try NetworkNamespace(path: "/proc/thread-self/ns/net", name: nil, label: "this process's network namespace")
  }

  /// The namespace pinned as /run/netns/`name`.
  public static func named(_ name: String) throws(NetworkNamespaceError) -> NetworkNamespace {
    guard isValid(name: name) else { throw .invalidName(name) }
    do {
      let namespace = try NetworkNamespace(
        path: "\(directory)/\(name)", name: name, label: "network namespace '\(name)'")
      // A file left behind by a namespace whose mount is gone is an ordinary file.
      guard iov_is_namespace(namespace.descriptor) == 1 else {
        throw NetworkNamespaceError.missing(name, present: present())
      }
      return namespace
    } catch let error as NetworkNamespaceError {
      guard case .system(_, ENOENT) = error else { throw error }
      throw .missing(name, present: present())
    } catch {
      throw .missing(name, present: present())
    }
  }

  /// The names below /run/netns, sorted.
  public static func present() -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  public static func isValid(name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 255 && name != "." && name != ".."
      && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 <= 0x20 || $0 == 0x7f }
  }

  /// Makes a new, empty namespace and pins it as /run/netns/`name`.
  public static func create(named name: String) throws -> NetworkNamespace {
    guard isValid(name: name) else { throw NetworkNamespaceError.invalidName(name) }
    mkdir(directory, 0o755)
    let path = "\(directory)/\(name)"
    let file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0)
    guard file >= 0 else { throw NetworkNamespaceError(failing: "create \(path)", errno: errno) }
    close(file)
    do {
      try OwnThread.run {
        guard iov_new_network_namespace() == 0 else {
          throw NetworkNamespaceError(failing: "make a network namespace", errno: errno)
        }
        guard iov_pin_network_namespace(path) == 0 else {
          throw NetworkNamespaceError(failing: "pin a network namespace at \(path)", errno: errno)
        }
      }
    } catch {
      unlink(path)
      throw error
    }
    return try named(name)
  }

  /// Takes the name away; the namespace goes when its last user has gone. A name that is not there is no error.
  public static func remove(named name: String) throws(NetworkNamespaceError) {
    guard isValid(name: name) else { throw .invalidName(name) }
    let path = "\(directory)/\(name)"
    if iov_unpin_network_namespace(path) != 0, errno != ENOENT, errno != EINVAL {
      throw NetworkNamespaceError(failing: "unpin \(path)", errno: errno)
    }
    if unlink(path) != 0, errno != ENOENT {
      throw NetworkNamespaceError(failing: "remove \(path)", errno: errno)
    }
  }

  /// Runs `body` on a thread of its own inside this namespace. Sockets that it opens stay in the namespace and work from
  /// every thread; no thread that anything else uses ever changes its namespace.
  public func run<Result>(_ body: @escaping @Sendable () throws -> Result) throws -> Result where Result: Sendable {
    let descriptor = descriptor
    let label = label
    return try OwnThread.run {
      guard iov_enter_network_namespace(descriptor) == 0 else {
        throw NetworkNamespaceError(failing: "enter \(label)", errno: errno)
      }
      return try body()
    }
  }
}

/// Why a network namespace could not be used.
public enum NetworkNamespaceError: Error, Hashable, CustomStringConvertible {
  case missing(String, present: [String])
  case invalidName(String)
  case system(String, CInt)

  init(failing operation: String, errno: CInt) { self = .system(operation, errno) }

  public var description: String {
    switch self {
    case .missing(let name, let present):
      let others = present.isEmpty ? "there is none" : "there are \(present.joined(separator: ", "))"
      return "no network namespace '\(name)' in \(NetworkNamespace.directory): \(others)"
    case .invalidName(let name):
      return "'\(name)' cannot name a network namespace: no slash, space or control character, 1 to 255 bytes"
    case .system(let operation, let code):
      return "\(operation): \(String(cString: strerror(code))) (errno \(code))"
    }
  }
}
