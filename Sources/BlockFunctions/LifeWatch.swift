import LinuxDevices
import Synchronization

/// Tells within milliseconds when a process that a function in use depends on ends, or when the server that it is
/// connected with closes the connection.
final class LifeWatch: Sendable {
  private struct Watched {
    var identity: ProcessIdentity
    var task: Task<Void, Never>
  }

  /// By function and role: a function may have both its server and its consumer on one host.
  private let watched = Mutex<[String: Watched]>([:])
  private let report: @Sendable () -> Void

  init(report: @escaping @Sendable () -> Void) { self.report = report }

  deinit { for watched in watched.withLock({ Array($0.values) }) { watched.task.cancel() } }

  /// Watches from now on until the end has been reported or is no news any more. A child is reaped.
  func watch(_ key: String, _ process: ProcessHandle, connection: ProcessConnection? = nil) {
    let identity = process.identity
    watched.withLock { watched in
      if watched[key]?.identity == identity { return }
      watched[key]?.task.cancel()
      let task = Task { [weak self] in
        guard await Self.hasEnded(process, connection) else { return }
        self?.ended(key, identity)
      }
      watched[key] = Watched(identity: identity, task: task)
    }
  }

  /// The end of what is watched is meant.
  func stop(_ key: String) {
    watched.withLock { $0.removeValue(forKey: key) }?.task.cancel()
  }

  private func ended(_ key: String, _ identity: ProcessIdentity) {
    let isNews = watched.withLock { watched in
      guard watched[key]?.identity == identity else { return false }
      watched[key] = nil
      return true
    }
    if isNews { report() }
  }

  /// False: cancelled before.
  private static func hasEnded(_ process: ProcessHandle, _ connection: ProcessConnection?) async -> Bool {
    await withTaskGroup(of: Bool.self) { group in
      group.addTask { (try? await process.waitUntilExit()) != nil }
      if let connection { group.addTask { (try? await connection.waitUntilHungUp()) != nil } }
      defer { group.cancelAll() }
      return await group.next() ?? false
    }
  }
}
