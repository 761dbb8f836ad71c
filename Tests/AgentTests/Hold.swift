import Glibc
import LinuxDevices
import Synchronization

/// A point at which the test plugin stops: "before-attach", "after-attach".
final class Hold: Sendable {
  private let path: String
  private let end = Mutex<FileDescriptor?>(nil)

  init(_ point: String, in stage: Stage, plugin: String = "test") throws {
    let directory = "\(stage.state)/plugins/\(plugin)"
    try SmallFile.makeDirectory(directory)
    path = "\(directory)/\(point)"
    guard mkfifo(path, 0o600) == 0 else { throw SystemCallError("mkfifo \(path)", errno: errno) }
  }

  /// Waits until the plugin is there, and keeps it there.
  func reached() async throws {
    let path = path
    let opened = try await BlockingThread.detached { try FileDescriptor(opening: path, O_WRONLY) }
    end.withLock { $0 = opened }
  }

  /// The plugin goes on, and passes from now on.
  func remove() {
    unlink(path)
    end.withLock { $0 = nil }
  }
}
