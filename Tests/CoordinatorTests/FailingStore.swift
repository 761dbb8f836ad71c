import ClaimStore
import Services
import Synchronization

/// A store whose disk gives up when it is told to.
final class FailingStore: ClaimStore {
  private let store: any ClaimStore
  private let isBroken = Mutex(false)

  init(_ store: any ClaimStore) { self.store = store }

  var clusterID: String { store.clusterID }

  func breakDown() { isBroken.withLock { $0 = true } }

  func load() throws(StoreError) -> [StoredRecord] { try store.load() }

  func commit(_ changes: [StoreChange]) throws(StoreError) {
    if isBroken.withLock({ $0 }) { throw StoreError(.failed, "the disk is full") }
    try store.commit(changes)
  }

  func holdings(_ query: HoldingQuery) throws(StoreError) -> [Holding] { try store.holdings(query) }
  func forgetHoldings(_ retention: AuditRetention, now: Int64) throws(StoreError) -> Int {
    try store.forgetHoldings(retention, now: now)
  }
  var path: String { store.path }
  var byteCount: UInt64 { store.byteCount }
  func copy() throws(StoreError) -> String { try store.copy() }
  func replace(with candidate: String, keepingAs former: String) throws(StoreError) {
    try store.replace(with: candidate, keepingAs: former)
  }
  func close() { store.close() }
}
