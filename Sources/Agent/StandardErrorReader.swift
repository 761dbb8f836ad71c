import Glibc
import LinuxDevices
import Logging
import Synchronization

/// Passes on what a plugin writes to its standard error, and keeps the last lines for whoever asks why it failed.
final class StandardErrorReader: Sendable {
  private let recent: RecentLines
  private let stopPipe: Mutex<FileDescriptor?>
  /// Ends when all has been read.
  private let end: AsyncStream<Void>

  /// A line that is longer is passed on in parts.
  static let longestLine = 4096

  init(_ descriptor: FileDescriptor, logger: Logger) throws {
    let stop = try Pipe()
    stopPipe = Mutex(stop.writeEnd)
    let recent = RecentLines()
    self.recent = recent
    let (end, finish) = AsyncStream.makeStream(of: Void.self)
    self.end = end
    Task {
      defer { finish.finish() }
      // A thread of its own: a daemon that the plugin started may hold the pipe open long after the plugin has ended.
      try? await BlockingThread.detached {
        Self.read(descriptor, until: stop.readEnd) { line in
          logger.info("\(line)")
          recent.keep(line)
        }
      }
    }
  }

  deinit { stop() }

  /// The last lines, the oldest first.
  var lines: [String] { recent.lines }

  /// The last lines of a process that has ended. Waits shortly for the pipe's end: what was written last is there then,
  /// unless a daemon holds the pipe open.
  func lastWords() async -> [String] {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in self.end {} }
      group.addTask { try? await Task.sleep(for: .milliseconds(200)) }
      await group.next()
      group.cancelAll()
    }
    return lines
  }

  func stop() { stopPipe.withLock { $0 = nil } }

  private static func read(_ pipe: FileDescriptor, until stop: FileDescriptor, _ body: (String) -> Void) {
    var line: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    func finish() {
      if !line.isEmpty { body(String(decoding: line, as: UTF8.self)) }
      line.removeAll(keepingCapacity: true)
    }
    while true {
      var watched = [
        pollfd(fd: pipe.number, events: Int16(POLLIN), revents: 0), pollfd(fd: stop.number, events: 0, revents: 0),
      ]
      if poll(&watched, nfds_t(watched.count), -1) < 0, errno != EINTR { break }
      // What has been written before the stop is still passed on.
      guard watched[0].revents != 0 else {
        if watched[1].revents != 0 { break }
        continue
      }
      let count = Glibc.read(pipe.number, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      for byte in chunk[..<count] {
        if byte == UInt8(ascii: "\n") || line.count == longestLine { finish() }
        if byte != UInt8(ascii: "\n") { line.append(byte) }
      }
    }
    finish()
  }
}

/// The last few lines of what was said.
private final class RecentLines: Sendable {
  static let count = 5
  private let kept = Mutex<[String]>([])

  var lines: [String] { kept.withLock { $0 } }

  func keep(_ line: String) {
    kept.withLock { lines in
      lines.append(line)
      if lines.count > Self.count { lines.removeFirst() }
    }
  }
}
