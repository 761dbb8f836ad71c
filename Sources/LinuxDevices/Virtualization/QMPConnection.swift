import CLinux
import Glibc

/// A conversation with the monitor of a QEMU program: a virtual machine's, or a storage daemon's. Blocks, with a limit on
/// each wait. A monitor talks to one client at a time: another one's is waited for like a slow answer.
///
/// Protocol: docs/interop/qmp-spec of QEMU. One JSON object a line; events come between answers.
public struct QMPConnection: Sendable {
  public let path: String
  private let socket: FileDescriptor
  private let limit: Duration
  private var received: [UInt8] = []
  private var events: [JSONValue] = []

  /// Connects and leaves the negotiation mode. Returns when the program has read its whole command line: its monitor
  /// answers only then.
  ///
  /// - Parameter timeoutMilliseconds: how long an answer may take.
  /// - Throws: `SystemCallError` when nobody listens; otherwise `QMPError`.
  public init(path: String, timeoutMilliseconds: CInt) throws {
    socket = FileDescriptor(
      owning: try checked(iov_unix_connect(path, timeoutMilliseconds), "connect to \(path)"))
    self.path = path
    limit = .milliseconds(Int(timeoutMilliseconds))
    let greeting = try nextMessage(by: .now + limit, waitingFor: "the greeting")
    guard greeting["QMP"] != nil else { throw QMPError.noMonitor(path) }
    try execute("qmp_capabilities")
  }

  /// Answers what the command returns; events that come before it are kept for `waitForEvent`.
  ///
  /// - Throws: `QMPError.refused` with the monitor's words, among others; `SystemCallError` when it cannot be written to.
  @discardableResult
  public mutating func execute(_ command: String, _ arguments: [String: JSONValue] = [:]) throws -> JSONValue {
    let request = JSONValue.object(["execute": .string(command), "arguments": .object(arguments)])
    try send(Array((request.text + "\n").utf8))
    let deadline = ContinuousClock.now + limit
    while true {
      let message = try nextMessage(by: deadline, waitingFor: command)
      if let result = message["return"] { return result }
      if let error = message["error"] {
        throw QMPError.refused(
          command: command, errorClass: error["class"]?.string ?? "", reason: error["desc"]?.string ?? error.text)
      }
      events.append(message)
    }
  }

  /// A program that has ended is an error, and no reason for this process to end by SIGPIPE.
  private func send(_ bytes: [UInt8]) throws(SystemCallError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
      if count < 0 && errno == EINTR { continue }
      rest = rest.dropFirst(try checkedErrno(count, "write \(path)"))
    }
  }

  /// Waits for an event, which may have come already; events before it are forgotten.
  ///
  /// - Throws: `QMPError.late`, among others.
  @discardableResult
  public mutating func waitForEvent(_ name: String) throws -> JSONValue {
    try waitForEvent(by: .now + limit, waitingFor: name) { $0["event"]?.string == name }
  }

  /// Waits for the first event that is wanted.
  mutating func waitForEvent(
    by deadline: ContinuousClock.Instant, waitingFor: String, _ isWanted: (JSONValue) -> Bool
  ) throws -> JSONValue {
    while true {
      if let index = events.firstIndex(where: isWanted) {
        defer { events.removeSubrange(...index) }
        return events[index]
      }
      events = [try nextMessage(by: deadline, waitingFor: waitingFor)]
    }
  }

  private mutating func nextMessage(
    by deadline: ContinuousClock.Instant, waitingFor: String
  ) throws -> JSONValue {
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        let line = received[..<end]
        guard let message = JSONValue(parsing: line) else { throw QMPError.notJSON(path) }
        received.removeSubrange(...end)
        return message
      }
      guard received.count < 1 << 20 else { throw QMPError.endlessLine(path) }
      try receive(by: deadline, waitingFor: waitingFor)
    }
  }

  private mutating func receive(by deadline: ContinuousClock.Instant, waitingFor: String) throws {
    let left = (deadline - .now).components
    let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
    var wait = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
    // A millisecond more, so that the remainder of one is waited for and not polled.
    let ready = poll(&wait, 1, CInt(clamping: max(0, milliseconds + (left.attoseconds > 0 ? 1 : 0))))
    if ready == 0 { throw QMPError.late(path, waitingFor: waitingFor) }
    var chunk = [UInt8](repeating: 0, count: 4096)
    let count = ready < 0 ? -1 : read(socket.number, &chunk, chunk.count)
    if count < 0 && errno == EINTR { return }
    if count == 0 || count < 0 && errno == ECONNRESET { throw QMPError.ended(path, waitingFor: waitingFor) }
    try checkedErrno(count, "read from \(path)")
    received.append(contentsOf: chunk[..<count])
  }
}

/// Why a monitor has not done what was asked.
public enum QMPError: Error, Hashable, CustomStringConvertible {
  case noMonitor(String)
  case notJSON(String)
  case endlessLine(String)
  /// The program ended, or closed the connection.
  case ended(String, waitingFor: String)
  case late(String, waitingFor: String)
  /// The error class is "GenericError" for most; "DeviceNotFound" is the one to be told apart.
  case refused(command: String, errorClass: String, reason: String)

  public var description: String {
    switch self {
    case .noMonitor(let path): "\(path) is no QMP monitor"
    case .notJSON(let path): "\(path) said something that is not JSON"
    case .endlessLine(let path): "\(path) said a line without an end"
    case .ended(let path, let what): "\(path) was closed by its program, which was to answer with \(what)"
    case .late(let path, let what):
      "\(path) did not answer in time with \(what): does another client hold the monitor, or is its program stopped?"
    case .refused(let command, _, let reason): "\(command): \(reason)"
    }
  }
}
