import ClaimStore
import Glibc
import Messages

/// A checked backup that is to take the store's place.
struct StoreReplacement: Sendable, Hashable {
  var backup: CheckedBackup
  /// Where the store that is replaced will be kept.
  var formerPath: String

  init(of store: String, by backup: CheckedBackup) {
    self.backup = backup
    formerPath = Self.formerPath(of: store)
  }

  var answer: RestoreResponse {
    RestoreResponse {
      $0.clusterId = backup.summary.cluster.id
      $0.revision = backup.summary.cluster.revision
      $0.claims = UInt32(clamping: backup.summary.claims)
      $0.formerStorePath = formerPath
    }
  }

  /// `STORE.before-restore-20261123T130542Z`, and a number after it where two fall into one second.
  static func formerPath(of store: String) -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
      buffer.initialize(repeating: 0)
      return strftime(buffer.baseAddress, buffer.count, "%Y%m%dT%H%M%SZ", &parts) > 0
        ? buffer.baseAddress.map { String(cString: $0) } ?? "" : ""
    }
    let path = "\(store).before-restore-\(text)"
    guard access(path, F_OK) == 0 else { return path }
    return (2...).lazy.map { "\(path)-\($0)" }.first { access($0, F_OK) != 0 } ?? path
  }
}
