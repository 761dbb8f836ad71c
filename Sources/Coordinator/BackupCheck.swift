import Arbitration
import ClaimStore
import Messages

/// What a store says of itself.
struct StoreSummary: Sendable, Hashable {
  var cluster: Cluster
  var claims: Int

  /// Reads everything, and makes sure that a coordinator could begin with it.
  init(checking store: any ClaimStore) throws(StoreError) {
    let records = try store.records()
    do throws(Refusal) {
      let arbiter = try Arbiter(clusterID: store.clusterID, version: "", records: records)
      claims = arbiter.listedClaims.count
    } catch {
      throw StoreError(.damaged, "its records contradict each other: \(error.message)")
    }
    cluster = Cluster { $0.id = store.clusterID }
    for case .cluster(let record) in records { cluster = record }
  }
}

/// A backup that was found whole and belongs to the cluster: ready to take the store's place.
struct CheckedBackup: Sendable, Hashable {
  var path: String
  var summary: StoreSummary

  /// Checks a file beside the store, and has the next run with it begin above `epoch`: agents that obeyed the store that is
  /// replaced refuse a lower one. Blocks on the disk.
  ///
  /// - Parameter clusterID: the cluster that the backup must be of; nil: nobody knows.
  init(_ path: String, clusterID: String?, aboveEpoch epoch: UInt64) throws(StoreError) {
    let candidate = try SQLiteStore(candidate: path)
    defer { candidate.close() }
    do {
      summary = try StoreSummary(checking: candidate)
    } catch {
      throw StoreError(error.reason, "the backup cannot be used: \(error)")
    }
    if let clusterID, candidate.clusterID != clusterID {
      throw StoreError(
        .otherCluster,
        "the backup is of cluster \(candidate.clusterID), and the store is of cluster \(clusterID): a restore does not make "
          + "one cluster of another")
    }
    self.path = path
    if summary.cluster.epoch < epoch {
      let cluster = summary.cluster.with { $0.epoch = epoch }
      try candidate.commit([.put(StoreKey(RecordKey(.cluster, "")), cluster)])
    }
  }
}

extension Cluster {
  fileprivate func with(_ change: (inout Cluster) -> Void) -> Cluster {
    var cluster = self
    change(&cluster)
    return cluster
  }
}
