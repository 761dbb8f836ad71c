import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices

/// A conversation with a storage daemon's monitor. Blocks, with a limit on each wait.
///
/// Protocol: docs/interop/qmp-spec of QEMU. One JSON object a line; events come between answers.
struct QMPConnection {
  private let socket: FileDescriptor
  private let path: String
  private var received: [UInt8] = []
  private var events: [JSONValue] = []

  /// Connects and leaves the negotiation mode. Returns when the daemon has read its whole command line: its monitor
  /// answers only then.
  init(path: String, timeoutMilliseconds: CInt) throws {
    let number = iov_unix_connect(path, timeoutMilliseconds)
    guard number >= 0 else { throw SystemCallError("connect to \(path)", errno: -number) }
    socket = FileDescriptor(owning: number)
    self.path = path
    guard try nextMessage()["QMP"] != nil else { throw PluginError(.internalError, "\(path) is no QMP monitor.") }
    try execute("qmp_capabilities")
  }

  @discardableResult
  mutating func execute(_ command: String, _ arguments: [String: JSONValue] = [:]) throws -> JSONValue {
    let request = JSONValue.object(["execute": .string(command), "arguments": .object(arguments)])
    try SmallFile.append(Array((request.text + "\n").utf8), to: socket, path: path)
    while true {
      let message = try nextMessage()
      if let result = message["return"] { return result }
      if let error = message["error"] {
        throw PluginError(.internalError, "\(command): \(error["desc"]?.string ?? error.text)")
      }
      events.append(message)
    }
  }

  /// Waits for an event, which may have come already.
  mutating func waitForEvent(_ name: String) throws {
    while !events.contains(where: { $0["event"]?.string == name }) { events.append(try nextMessage()) }
    events.removeAll()
  }

  private mutating func nextMessage() throws -> JSONValue {
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        let line = received[..<end]
        received.removeSubrange(...end)
        guard let message = JSONValue(parsing: Array(line)) else {
          throw PluginError(.internalError, "\(path) said something that is not JSON.")
        }
        return message
      }
      guard received.count < 1 << 20 else { throw PluginError(.internalError, "\(path) said a line without an end.") }
      var chunk = [UInt8](repeating: 0, count: 4096)
      let count = read(socket.number, &chunk, chunk.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw SystemCallError("read from \(path)", errno: count == 0 ? ECONNRESET : errno) }
      received.append(contentsOf: chunk[..<count])
    }
  }
}
