import Glibc
import Synchronization

/// Asks a plugin's supervisor to end the present process and start another one, as an upgrade does.
final class RestartSwitch: Sendable {
  private struct State {
    /// Of the process that runs now.
    var files: PluginFiles?
    var request: AsyncStream<Void>.Continuation?
    var waiting: [CheckedContinuation<Void, Never>] = []
    var isOver = false
  }

  private let state = Mutex(State())

  /// For a process that is started with these files: has one element when it is to end.
  func arm(_ files: PluginFiles) -> AsyncStream<Void> {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
    state.withLock {
      $0.files = files
      $0.request = continuation
    }
    return stream
  }

  /// Ends the process if it was started with other files than these; returns when the next one serves, or has failed.
  func restart(unlessStartedWith files: PluginFiles) async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      let isToRestart = state.withLock { state in
        guard !state.isOver, let request = state.request, state.files != files else { return false }
        state.waiting.append(continuation)
        request.yield()
        return true
      }
      if !isToRestart { continuation.resume() }
    }
  }

  /// The supervisor's plugin serves, has failed, or is not supervised any more.
  func settled(isOver: Bool = false) {
    let waiting = state.withLock { state in
      defer { state.waiting = [] }
      state.isOver = state.isOver || isOver
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }
}

/// What a plugin's process is made from. A file that was replaced or written to is another one.
struct PluginFiles: Sendable, Hashable {
  private struct Version: Sendable, Hashable {
    var device: UInt64
    var inode: UInt64
    var size: Int64
    var modifiedSeconds: Int
    var modifiedNanoseconds: Int

    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      device = UInt64(status.st_dev)
      inode = UInt64(status.st_ino)
      size = Int64(status.st_size)
      modifiedSeconds = status.st_mtim.tv_sec
      modifiedNanoseconds = status.st_mtim.tv_nsec
    }
  }

  private let executable: Version?
  private let configuration: Version?

  init(of plugin: PluginConfiguration) {
    executable = Version(plugin.executable)
    configuration = Version(plugin.configuration)
  }
}
