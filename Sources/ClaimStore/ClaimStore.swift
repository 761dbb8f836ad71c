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

  /// Nothing may be asked of the store afterwards; asked again, it does nothing.
  func close()
}

/// Why a store cannot be used, in words for the operator.
public struct StoreError: Error, Sendable, Hashable, CustomStringConvertible {
  public enum Reason: Sendable, Hashable {
    /// There is no way to the file, or no right to it.
    case unreachable
    case readOnly
    /// Another coordinator has it open.
    case inUse
    /// Not a database, a damaged one, or somebody else's.
    case damaged
    /// A later version of iovmesh wrote it.
    case newerSchema
    /// The disk refused; what was asked is not stored.
    case failed
    case closed
  }

  public var reason: Reason
  public var description: String

  public init(_ reason: Reason, _ description: String) {
    self.reason = reason
    self.description = description
  }
}
