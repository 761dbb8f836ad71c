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
  ///
  /// - Parameter program: whose processes are left out.
  static func find(of path: String, besides program: String = "") throws(SystemCallError) -> DeviceUser? {
    guard let number = BlockDevice.number(path) else { throw SystemCallError("look at \(path)", errno: Glibc.errno) }
    if try BlockDevice.isClaimedByKernel(path) { return .kernel }
    for name in SmallFile.names(in: "/proc") {
      guard let process = pid_t(name), process != getpid() else { continue }
      let directory = "/proc/\(name)/fd"
      // A process that ends while it is looked at has nothing open any more.
      let open = SmallFile.names(in: directory)
      guard open.contains(where: { BlockDevice.number("\(directory)/\($0)") == number }) else { continue }
      let command = SmallFile.text("/proc/\(name)/comm")
      // The kernel keeps 15 bytes of it.
      if !program.isEmpty, command == String(program.prefix(15)) { continue }
      return .process(process, name: command ?? "a program")
    }
    return nil
  }
}
