import ClaimStore
import Glibc
import Services

/// What a store takes without a coordinator: the rows of claims that come, are in use and go, on a file of the same kind on
/// the same disk.
///
/// The rows are those that the arbiter decides on, in the order in which they come when a number of clients do the same at a time:
/// so many claims are made, their hosts report, so many others are released, their hosts report.
struct GroupedCommits {
  private var rack: BenchRack
  private let store: SQLiteStore
  private let clients: Int

  /// - Parameter held: claims that are there all the time.
  init(path: String, hosts: Int, functions: Int, clients: Int, held: Int) throws {
    rack = try BenchRack(hosts: hosts, functions: functions, isMediating: false, keepsChanges: true)
    self.clients = clients
    store = try SQLiteStore(path: path)
    try rack.join()
    for _ in 0..<held { try rack.obey(rack.grant().effects) }
    try store.commit(rack.takeChanges())
  }

  /// Commits the rows of so many claims' lives in so many groups; answers how long that took.
  mutating func commit(lives: Int, groups: Int) throws -> (seconds: Double, rows: Int) {
    for start in stride(from: 0, to: lives, by: clients) {
      let count = min(clients, lives - start)
      for effects in try (0..<count).map({ _ in try rack.grant().effects }) { try rack.obey(effects) }
      for effects in rack.releaseOldest(count) { try rack.obey(effects) }
    }
    let rows = rack.takeChanges()
    let begun = monotonicNanoseconds()
    for group in 0..<groups {
      try store.commit(Array(rows[rows.count * group / groups..<rows.count * (group + 1) / groups]))
    }
    return (secondsSince(begun), rows.count)
  }
}

/// How many transactions the store at a path has committed, as SQLite counts them in the index of its log
/// (https://www.sqlite.org/walformat.html, "iChange"). Only differences mean something, and the counter wraps.
func commitCount(ofStore path: String) throws -> UInt32 {
  let descriptor = open(path + "-shm", O_RDONLY | O_CLOEXEC)
  defer { close(descriptor) }
  var count: UInt32 = 0
  let read = withUnsafeMutableBytes(of: &count) { pread(descriptor, $0.baseAddress, 4, 8) }
  guard read == 4 else {
    throw RPCError(.unavailable, "\(path)-shm cannot be read: is the coordinator's store another one?")
  }
  return count
}
