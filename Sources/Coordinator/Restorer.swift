import ClaimStore
import LinuxDevices
import Logging
import Services
import Synchronization

/// Takes backups in and has the daemon begin anew with one; one at a time.
final class Restorer: Sendable {
  private let store: any ClaimStore
  private let currentEpoch: @Sendable () -> UInt64
  private let isBusy = Mutex(false)
  private let decided = AsyncStream.makeStream(of: StoreReplacement.self)

  init(store: any ClaimStore, currentEpoch: @escaping @Sendable () -> UInt64) {
    self.store = store
    self.currentEpoch = currentEpoch
  }

  /// Receives and checks a backup; when it throws, nothing is changed and no file is left.
  func receive(_ chunks: RequestStream<BackupChunk>) async throws -> StoreReplacement {
    try begin()
    let disk = BlockingThread(name: "iov-restore")
    do {
      let incoming = try await disk.run { [store] in try IncomingBackup(besideStore: store.path) }
      do {
        for try await chunk in chunks { try await disk.run { try incoming.append(chunk.data) } }
        return try await disk.run { [store, currentEpoch] in
          let backup = try CheckedBackup(incoming.path, clusterID: store.clusterID, aboveEpoch: currentEpoch())
          return StoreReplacement(of: store.path, by: backup)
        }
      } catch {
        // Waits for what is under way on that thread; a caller that went away is no reason to leave the file.
        try? await disk.run { incoming.remove() }
        throw error
      }
    } catch {
      isBusy.withLock { $0 = false }
      throw error
    }
  }

  private func begin() throws(RPCError) {
    let wasBusy = isBusy.withLock { isBusy in
      defer { isBusy = true }
      return isBusy
    }
    if wasBusy { throw RPCError(.aborted, "another backup is being restored; try again when it is done") }
  }

  /// Gives a received backup up.
  func discard(_ replacement: StoreReplacement) {
    SQLiteStore.removeCandidate(replacement.backup.path)
    isBusy.withLock { $0 = false }
  }

  /// Has the daemon begin anew; nothing more is taken in by this one.
  func carryOut(_ replacement: StoreReplacement) { decided.continuation.yield(replacement) }

  /// Returns when a backup is to take effect; nil when the task was cancelled.
  func next() async -> StoreReplacement? {
    for await replacement in decided.stream { return replacement }
    return nil
  }
}
