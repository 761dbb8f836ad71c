import Messages

/// Where a record stands.
public struct StoreKey: Sendable, Hashable {
  /// What the record is; decides which message its bytes are.
  public var kind: String
  /// Unique within the kind.
  public var name: String

  public init(kind: String, name: String) {
    self.kind = kind
    self.name = name
  }
}

public enum StoreChange: Sendable {
  case put(StoreKey, any Message)
  case remove(StoreKey)
  /// For the audit: the beginning of a holding, or what is new of the last one of its function and token that has not ended.
  case audit(Holding)
}

/// Which holdings are asked for; what is empty or nil filters nothing. Times are in milliseconds since 1970.
public struct HoldingQuery: Sendable, Hashable {
  public var claim = ""
  public var tenant = ""
  public var function = ""
  public var endNode = ""
  /// That used it, or controlled it.
  public var host = ""
  public var from: Int64?
  public var to: Int64?
  /// Only those with a lower number.
  public var below: UInt64?
  public var limit: Int

  public init(limit: Int) { self.limit = limit }
}

/// For how long what has ended is kept in the audit.
public struct AuditRetention: Sendable, Hashable {
  public var milliseconds: Int64
  public var holdings: Int

  public init(milliseconds: Int64, holdings: Int) {
    self.milliseconds = milliseconds
    self.holdings = holdings
  }
}

/// A record as it was stored: the message in the protobuf wire format.
public struct StoredRecord: Sendable, Hashable {
  public var key: StoreKey
  public var bytes: [UInt8]

  public init(key: StoreKey, bytes: [UInt8]) {
    self.key = key
    self.bytes = bytes
  }
}

/// What outlives the coordinator: records under typed keys. It holds state, not events.
///
/// Every method blocks the calling thread on the disk, so none may be called from a cooperative thread once the
/// coordinator serves; `CommitQueue` has a thread for that.
public protocol ClaimStore: Sendable {
  /// The cluster's identity, made together with the store.
  var clusterID: String { get }

  /// Every record, by kind and name.
  func load() throws(StoreError) -> [StoredRecord]

  /// Carries out all changes in their order, or none. They are on the disk when it returns.
  func commit(_ changes: [StoreChange]) throws(StoreError)

  /// The audit, the newest first.
  func holdings(_ query: HoldingQuery) throws(StoreError) -> [Holding]

  /// Takes what has ended too long ago, or is too much, out of the audit: a little of it, so that commits do not wait for it. Answers how
  /// much it was; zero: there is no more.
  func forgetHoldings(_ retention: AuditRetention, now: Int64) throws(StoreError) -> Int

  /// Where it is, for people.
  var path: String { get }

  /// What it takes up now, with its log.
  var byteCount: UInt64 { get }

  /// Writes all of it, as it is at one moment, to a new file beside it, and answers the file's path; commits go on
  /// meanwhile. Whoever asked removes the file.
  func copy() throws(StoreError) -> String

  /// Puts a file that `SQLiteStore(candidate:)` has found whole in the store's place, and closes the store. The store as it
  /// was is kept at `former`. If it throws, the former store is still in its place.
  func replace(with candidate: String, keepingAs former: String) throws(StoreError)

  /// Nothing may be asked of the store afterwards; asked again, it does nothing.
  func close()
}
