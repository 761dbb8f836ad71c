import ClaimStore
import Glibc
import LinuxDevices

/// Puts a backup in the place of a store that no coordinator runs on, a damaged one for instance.
public struct OfflineRestore: Sendable {
  private let store: String
  private let backup: String

  public init(store: String, backup: String) {
    self.store = store
    self.backup = backup
  }

  /// Blocks on the disk. Answers what was done, in words. When it throws, nothing is changed, or the error
  /// says what is.
  public func run() throws(StoreError) -> String {
    let present = try openStore()
    defer { if case .readable(let store) = present { store.close() } }
    let incoming = try copyBackup()
    do {
      return try replace(present, with: incoming)
    } catch {
      SQLiteStore.removeCandidate(incoming)
      throw error
    }
  }

  private func copyBackup() throws(StoreError) -> String {
    let incoming = try IncomingBackup(besideStore: store)
    do {
      let file = try FileDescriptor(opening: backup, O_RDONLY)
      var bytes = [UInt8](repeating: 0, count: 1 << 20)
      while true {
        let count = read(file.number, &bytes, bytes.count)
        guard count >= 0 else { throw SystemCallError("read \(backup)", errno: errno) }
        guard count > 0 else { return incoming.path }
        try incoming.append(Array(bytes.prefix(count)))
      }
    } catch {
      incoming.remove()
      throw error as? StoreError ?? StoreError(.unreachable, "cannot read the backup: \(error)")
    }
  }

  private func replace(_ present: Present, with incoming: String) throws(StoreError) -> String {
    switch present {
    case .readable(let present):
      // A store whose records cannot be read any more has no epoch to tell.
      let epoch = (try? StoreSummary(checking: present))?.cluster.epoch ?? 0
      let backup = try CheckedBackup(incoming, clusterID: present.clusterID, aboveEpoch: epoch)
      let replacement = StoreReplacement(of: store, by: backup)
      try present.replace(with: incoming, keepingAs: replacement.formerPath)
      return words(replacement, "The former store is kept as \(replacement.formerPath).")
    case .unusable(let cluster, let problem):
      let backup = try CheckedBackup(incoming, clusterID: cluster, aboveEpoch: 0)
      let replacement = StoreReplacement(of: store, by: backup)
      try SQLiteStore.replaceDamaged(store, with: incoming, keepingAs: replacement.formerPath)
      let kept = access(replacement.formerPath, F_OK) == 0
      return words(
        replacement, problem + (kept ? " It is kept as \(replacement.formerPath)." : " There was no file to keep."))
    }
  }

  private enum Present {
    case readable(SQLiteStore)
    /// With the cluster that it was of, if that is known.
    case unusable(String?, String)
  }

  private func openStore() throws(StoreError) -> Present {
    let cluster = try SQLiteStore.knownCluster(ofStore: store)
    guard access(store, F_OK) == 0 else { return .unusable(cluster, "There was no store at \(store).") }
    do throws(StoreError) {
      return .readable(try SQLiteStore(path: store))
    } catch {
      guard error.reason == .damaged else { throw error }
      return .unusable(cluster, "The former store could not be read.")
    }
  }

  private func words(_ replacement: StoreReplacement, _ former: String) -> String {
    let summary = replacement.backup.summary
    return "restored \(backup): cluster \(summary.cluster.id), revision \(summary.cluster.revision), "
      + "\(summary.claims) claims. \(former) Start the coordinator now."
  }
}
