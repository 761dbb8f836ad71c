import CLinux
import Glibc
import LinuxDevices

/// A QMP monitor that answers as it is told, on a socket in a directory that goes with this value.
public final class FakeMonitor: Sendable {
  /// What is said to a command, message by message; nil: the connection is closed.
  public typealias Answer = @Sendable (_ command: String, _ arguments: JSONValue) -> [JSONValue]?

  public let directory: String
  public var path: String { "\(directory)/qmp" }

  public init(greeting: String = #"{"QMP": {"version": {}, "capabilities": []}}"#, _ answer: @escaping Answer) throws {
    var template = Array("/tmp/iov-qmp-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemCallError("mkdtemp", errno: errno) }
    directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let number = iov_unix_listen("\(directory)/qmp")
    guard number >= 0 else { throw SystemCallError("listen", errno: -number) }
    let listener = FileDescriptor(owning: number)
    BlockingThread(name: "iov-monitor").start { Self.serve(listener, greeting, answer) }
  }

  deinit {
    unlink(path)
    rmdir(directory)
  }

  /// One client after the other. A test that never connects, or not again, ends nevertheless.
  private static func serve(_ listener: FileDescriptor, _ greeting: String, _ answer: Answer) {
    var wait = pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0)
    while poll(&wait, 1, 30_000) == 1 {
      converse(with: FileDescriptor(owning: accept(listener.number, nil, nil)), greeting, answer)
    }
  }

  private static func converse(with client: FileDescriptor, _ greeting: String, _ answer: Answer) {
    func say(_ text: String) -> Bool {
      let bytes = Array("\(text)\r\n".utf8)
      return send(client.number, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count
    }
    guard say(greeting) else { return }
    var received: [UInt8] = []
    while true {
      guard let end = received.firstIndex(of: 0x0a) else {
        var chunk = [UInt8](repeating: 0, count: 4096)
        let count = read(client.number, &chunk, chunk.count)
        guard count > 0 else { return }
        received += chunk[..<count]
        continue
      }
      let request = JSONValue(parsing: received[..<end])
      received.removeSubrange(...end)
      guard let command = request?["execute"]?.string else { return }
      guard
        let messages = command == "qmp_capabilities" ? [returned()] : answer(command, request?["arguments"] ?? .null)
      else { return }
      for message in messages where !say(message.text) { return }
    }
  }

  public static func returned(_ value: JSONValue = .object([:])) -> JSONValue { .object(["return": value]) }

  public static func event(_ name: String, device: String) -> JSONValue {
    .object(["event": .string(name), "data": .object(["device": .string(device)]), "timestamp": .object([:])])
  }

  public static func error(_ errorClass: String, _ reason: String) -> JSONValue {
    .object(["error": .object(["class": .string(errorClass), "desc": .string(reason)])])
  }
}
