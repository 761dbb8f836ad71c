import Arbitration
import ClaimStore
import Messages

extension StoreKey {
  init(_ key: RecordKey) { self.init(kind: key.kind.rawValue, name: key.name) }
}

extension StoreChange {
  /// Nil for an effect that does not go to the store.
  init?(_ effect: Effect) {
    switch effect {
    case .save(let record): self = .put(StoreKey(record.key), record.message)
    case .remove(let key): self = .remove(StoreKey(key))
    case .audit(let holding): self = .audit(holding)
    case .send, .endSession, .answer, .refuse, .claimChanged, .claimGone, .fenceHost: return nil
    }
  }
}

extension Record {
  var message: any Message {
    switch self {
    case .cluster(let message): message
    case .host(let message): message
    case .endNode(let message): message
    case .claim(let message): message
    case .tenant(let message): message
    case .wantedFunction(let message): message
    }
  }

  init(_ stored: StoredRecord) throws(StoreError) {
    let key = stored.key
    guard let kind = RecordKey.Kind(rawValue: key.kind) else {
      throw StoreError(
        .newerSchema, "the store holds a record of the kind '\(key.kind)', which this version does not know")
    }
    do throws(MessageDecodingError) {
      switch kind {
      case .cluster: self = .cluster(try Cluster(decoding: stored.bytes))
      case .host: self = .host(try Host(decoding: stored.bytes))
      case .endNode: self = .endNode(try EndNode(decoding: stored.bytes))
      case .claim: self = .claim(try Claim(decoding: stored.bytes))
      case .tenant: self = .tenant(try Tenant(decoding: stored.bytes))
      case .wantedFunction: self = .wantedFunction(try WantedFunction(decoding: stored.bytes))
      }
    } catch {
      throw StoreError(.damaged, "the store's \(key.kind) '\(key.name)' cannot be read: \(error)")
    }
  }
}

extension ClaimStore {
  /// All records, as messages. Blocks on the disk.
  func records() throws(StoreError) -> [Record] {
    var records: [Record] = []
    for stored in try load() { records.append(try Record(stored)) }
    return records
  }
}

extension Arbiter {
  /// Restores the state that a store holds. Blocks on the disk.
  init(restoring store: any ClaimStore, version: String, settings: ArbiterSettings) throws(StoreError) {
    let records: [Record]
    do {
      records = try store.records()
    } catch {
      guard error.reason == .damaged else { throw error }
      throw StoreError(.damaged, "\(error); \(StoreError.wayBack)")
    }
    do {
      try self.init(clusterID: store.clusterID, version: version, records: records, settings: settings)
    } catch {
      throw StoreError(.damaged, "the store \(store.path) contradicts itself: \(error.message); \(StoreError.wayBack)")
    }
  }
}
