import Glibc
import LinuxDevices

/// Who has a block device open on this host.
enum DeviceUser: Sendable, Hashable, CustomStringConvertible {
  /// A mounted file system, swap space, an array, a volume.
  case kernel
  case process(pid_t, name: String)

  var description: String {
    switch self {
    case .kernel: "the kernel (mounted, swap space, or part of an array or volume)"
    case .process(let process, let name): "\(name) (process \(process))"
    }
  }

  /// One of them; nil: nobody. By the device's number: a container may have it under another name.
  static func find(of path: String) throws(SystemCallError) -> DeviceUser? {
    guard let number = deviceNumber(path) else { throw SystemCallError("look at \(path)", errno: Glibc.errno) }
    if try BlockDevice.isClaimedByKernel(path) { return .kernel }
    for name in SmallFile.names(in: "/proc") {
      guard let process = pid_t(name), process != getpid() else { continue }
      let directory = "/proc/\(name)/fd"
      // A process that ends while it is looked at has nothing open any more.
      guard SmallFile.names(in: directory).contains(where: { deviceNumber("\(directory)/\($0)") == number }) else {
        continue
      }
      return .process(process, name: SmallFile.text("/proc/\(name)/comm") ?? "a program")
    }
    return nil
  }

  private static func deviceNumber(_ path: String) -> dev_t? {
    var facts = stat()
    guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFBLK else { return nil }
    return facts.st_rdev
  }
}
