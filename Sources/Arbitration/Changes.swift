import Messages

/// What one event has changed: the effects are made from it at the end, so that a record that changed twice is saved
/// once and a host hears of all its entries in one message.
struct Changes: Sendable {
  private(set) var records: Set<RecordKey> = []
  private(set) var claims: Set<String> = []
  var gone: [Claim] = []
  /// By host: the entries that it must hear of.
  private(set) var entries: [String: [RecordKey: WantedFunction]] = [:]
  /// By host: the end nodes that it controls under a new token.
  private(set) var controls: [String: Set<String>] = [:]
  /// Hosts that are told everything anew, because something that they were told is not to be done any more.
  private(set) var anew: Set<String> = []
  /// What claims that wait may fit into now.
  var openings = Openings()
  /// To sessions, before any wanted state.
  var messages: [Effect] = []
  /// Hosts to be fenced.
  var fences: [Effect] = []
  /// To callers, after all else.
  var replies: [Effect] = []

  mutating func save(_ key: RecordKey) { records.insert(key) }

  mutating func noteClaim(_ name: String) {
    claims.insert(name)
    records.insert(RecordKey(.claim, name))
  }

  mutating func noteEntry(_ entry: WantedFunction) {
    let key = RecordKey(.wantedFunction, entry.recordName)
    records.insert(key)
    entries[entry.host, default: [:]][key] = entry
  }

  mutating func noteControl(_ endNode: String, of host: String) { controls[host, default: []].insert(endNode) }

  mutating func tellAnew(_ host: String) { anew.insert(host) }

  /// A host that has just been sent everything needs no word of the parts.
  mutating func dropEntries(for host: String) {
    entries[host] = nil
    controls[host] = nil
    anew.remove(host)
  }
}

extension Arbiter {
  /// Raises the cluster's revision: every change that anybody can see has its own.
  mutating func nextRevision() -> UInt64 {
    cluster.revision += 1
    changes.save(RecordKey(.cluster, ""))
    return cluster.revision
  }

  /// Stores a claim whose content changed, under a new revision.
  mutating func put(_ state: ClaimState) {
    var state = state
    state.claim.revision = nextRevision()
    claims[state.claim.name] = state
    changes.noteClaim(state.claim.name)
    if let waiting = claimsOfSource[state.claim.name] { changes.openings.claims.formUnion(waiting) }
  }

  mutating func takeEffects() -> [Effect] {
    lookAgainAtGeometry()
    settleSources()
    fillOpenings()
    let changes = self.changes
    self.changes = Changes()
    var effects = changes.records.sorted().map { key in record(key).map(Effect.save) ?? .remove(key) }
    effects += changes.messages
    for host in Set(changes.entries.keys).union(changes.controls.keys).union(changes.anew).sorted() {
      guard let session = hosts[host]?.session else { continue }
      guard !changes.anew.contains(host) else {
        effects.append(.send(session, wanted(self.entries(for: host), self.controls(for: host), complete: true)))
        continue
      }
      let entries = changes.entries[host].map { Array($0.values) } ?? []
      let controls = (changes.controls[host] ?? []).sorted().compactMap { endNodes[$0]?.wantedControl(of: host) }
      effects.append(.send(session, wanted(entries, controls, complete: false)))
    }
    let changed = changes.claims.compactMap { claims[$0]?.claim }.map { ($0.revision, Effect.claimChanged($0)) }
    let gone = changes.gone.map { ($0.revision, Effect.claimGone($0)) }
    effects += (changed + gone).sorted { $0.0 < $1.0 }.map(\.1)
    return effects + changes.fences + changes.replies
  }

  func wanted(_ entries: [WantedFunction], _ controls: [WantedControl], complete: Bool) -> CoordinatorMessage {
    var wanted = WantedState()
    wanted.epoch = cluster.epoch
    wanted.revision = cluster.revision
    wanted.complete = complete
    // As they came about; no two have one revision.
    wanted.functions = entries.sorted { $0.revision < $1.revision }
    wanted.controls = controls
    return CoordinatorMessage { $0.kind = .wanted(wanted) }
  }

  /// A record as the store keeps it; nil if there is none any more.
  private func record(_ key: RecordKey) -> Record? {
    switch key.kind {
    case .cluster: .cluster(cluster)
    case .host: hosts[key.name].map { .host($0.durable) }
    case .endNode: endNodes[key.name].map { .endNode($0.record) }
    case .claim: claims[key.name].map { .claim($0.claim) }
    case .wantedFunction: entry(recordName: key.name).map { .wantedFunction($0) }
    }
  }

  private func entry(recordName: String) -> WantedFunction? {
    if let entry = abandoned[recordName] { return entry }
    let named = recordName.split(separator: "/", maxSplits: 1).last.map(String.init) ?? ""
    for function in [named, WantedFunction.withoutToken(named)] {
      let state = claimOfFunction[function].flatMap { claims[$0] }
      let known = [fencers[function], state?.controlling, state?.consumer].compactMap { $0 }
      if let entry = known.first(where: { $0.recordName == recordName }) { return entry }
    }
    return nil
  }
}
