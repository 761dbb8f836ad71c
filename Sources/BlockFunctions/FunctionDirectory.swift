import Glibc
import LinuxDevices

/// The runtime files of one function on this host. It is gone when the function is.
struct FunctionDirectory: Sendable, Hashable {
  let path: String

  /// Short, because a Unix socket's path holds 107 bytes.
  init(runtimeDirectory: String, function: String) {
    path = runtimeDirectory + "/" + StableDigest.hexadecimal(function)
  }

  func file(_ name: String) -> String { path + "/" + name }

  var exists: Bool { access(path, F_OK) == 0 }

  func make() throws(SystemCallError) { try SmallFile.makeDirectory(path) }

  func text(_ name: String) -> String? { SmallFile.text(file(name)) }

  /// Not durable: what it describes does not survive a reboot either.
  func write(_ name: String, _ text: String) throws(SystemCallError) {
    try SmallFile.replace(file(name), with: Array(text.utf8), durably: false)
  }

  func remove() throws(SystemCallError) {
    for name in SmallFile.names(in: path) { try SmallFile.remove(file(name)) }
    try SmallFile.removeDirectory(path)
  }

  /// The process that was written down under `name`, or that has `argument`; several if something went wrong.
  func processes(recordedAs name: String, program: String, argument: String) -> [ProcessHandle] {
    if let identity = text(name).flatMap({ ProcessIdentity($0) }), let handle = ProcessHandle(identity) {
      return [handle]
    }
    return allProcesses(program: program, argument: argument)
  }

  /// Without trust in what was written down: for proof that there is none.
  func allProcesses(program: String, argument: String) -> [ProcessHandle] {
    ProcessIdentity.running(program: program, withArgument: argument).compactMap { ProcessHandle($0) }
  }
}
