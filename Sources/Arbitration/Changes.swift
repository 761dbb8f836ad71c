import Messages

/// What one event has changed: the effects are made from it at the end, so that a record that changed twice is saved
/// once and a host hears of all its entries in one message.
struct Changes: Sendable {
  // As they came, so that what is noted twice is there twice: most events note a handful.
  private var records: [RecordKey] = []
  private var claims: [String] = []
  private var isClusterChanged = false
  var gone: [Claim] = []
  /// For the audit, as it came about.
  var holdings: [Holding] = []
  /// By host: the entries that it must hear of.
  private(set) var entries: [String: [WantedFunction]] = [:]
  /// By host: the end nodes that it controls under a new token.
  private(set) var controls: [String: Set<String>] = [:]
  /// Hosts that are told everything anew, because something that they were told is not to be done any more.
  private(set) var anew: Set<String> = []
  /// Groups of which all members have what they are to have.
  var attachedGroups: Set<String> = []
  /// What claims that wait may fit into now.
  var openings = Openings()
  /// Those for which others were told to let go.
  var preemptors: Set<String> = []
  /// Claims that have let go of a function, and whose consumers keep what they see for the next one.
  var movers: Set<String> = []
  /// To sessions, before any wanted state.
  var messages: [Effect] = []
  /// Hosts to be fenced.
  var fences: [Effect] = []
  /// To callers, after all else.
  var replies: [Effect] = []

  mutating func save(_ key: RecordKey) { records.append(key) }
  mutating func saveCluster() { isClusterChanged = true }

  mutating func noteClaim(_ name: String) {
    claims.append(name)
    records.append(RecordKey(.claim, name))
  }

  mutating func noteEntry(_ entry: WantedFunction) {
    records.append(RecordKey(.wantedFunction, entry.recordName))
    entries[entry.host, default: []].append(entry)
  }

  /// Each once, in order.
  var changedRecords: [RecordKey] { Self.once(records + (isClusterChanged ? [RecordKey(.cluster, "")] : [])) }
  var changedClaims: [String] { Self.once(claims) }

  private static func once<Element: Comparable>(_ noted: [Element]) -> [Element] {
    guard noted.count > 1 else { return noted }
    var result: [Element] = []
    result.reserveCapacity(noted.count)
    for element in noted.sorted() where result.last != element { result.append(element) }
    return result
  }

  /// What a host must hear of each entry last, in the order of revisions.
  func entries(for host: String) -> [WantedFunction] {
    let noted = (entries[host] ?? []).sorted { $0.revision < $1.revision }
    guard noted.count > 1 else { return noted }
    var names: Set<String> = []
    return noted.reversed().filter { names.insert($0.recordName).inserted }.reversed()
  }

  mutating func noteControl(_ endNode: String, of host: String) { controls[host, default: []].insert(endNode) }

  mutating func tellAnew(_ host: String) { anew.insert(host) }

  /// Those that must hear of something, by name.
  var hosts: [String] {
    guard !controls.isEmpty || !anew.isEmpty || entries.count > 1 else { return Array(entries.keys) }
    return Set(entries.keys).union(controls.keys).union(anew).sorted()
  }

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
    changes.saveCluster()
    return cluster.revision
  }

  /// Stores a claim whose content changed, under a new revision.
  mutating func put(_ state: inout ClaimState) {
    state.claim.revision = nextRevision()
    claims[state.claim.name] = state
    expiries.note(state.claim)
    changes.noteClaim(state.claim.name)
    if let waiting = claimsOfSource[state.claim.name] { changes.openings.claims.formUnion(waiting) }
  }

  /// What follows from what has changed: others may go on, or be granted something.
  mutating func settleConsequences() {
    if !changes.openings.isEmpty { situation += 1 }
    lookAgainAtGeometry()
    settleSources()
    settleAttachedGroups()
    repeat {
      fillOpenings()
      moveInterfaces()
    } while !changes.openings.isEmpty || !changes.movers.isEmpty
  }

  mutating func takeEffects() -> [Effect] {
    settleConsequences()
    var changes = Changes()
    swap(&changes, &self.changes)
    let records = changes.changedRecords
    var effects: [Effect] = []
    // A record, a message, a watcher and an answer of most.
    effects.reserveCapacity(2 * records.count + changes.messages.count)
    for key in records { effects.append(record(key).map(Effect.save) ?? .remove(key)) }
    for holding in changes.holdings { effects.append(.audit(holding)) }
    effects += changes.messages
    for host in changes.hosts {
      guard let session = hosts[host]?.session else { continue }
      guard !changes.anew.contains(host) else {
        effects.append(.send(session, wanted(self.entries(for: host), self.controls(for: host), complete: true)))
        continue
      }
      let entries = changes.entries(for: host)
      let controls = (changes.controls[host] ?? []).sorted().compactMap { endNodes[$0]?.wantedControl(of: host) }
      effects.append(.send(session, wanted(entries, controls, complete: false)))
    }
    var watched = changes.changedClaims.compactMap { name in claims[name].map { (claim: $0.claim, isGone: false) } }
    for claim in changes.gone { watched.append((claim: claim, isGone: true)) }
    if watched.count > 1 { watched.sort { $0.claim.revision < $1.claim.revision } }
    for change in watched { effects.append(change.isGone ? .claimGone(change.claim) : .claimChanged(change.claim)) }
    effects += changes.fences
    effects += changes.replies
    return effects
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
    case .tenant: tenants[key.name].map { .tenant($0) }
    case .wantedFunction: entry(recordName: key.name).map { .wantedFunction($0) }
    }
  }

  private func entry(recordName: String) -> WantedFunction? {
    if let entry = abandoned[recordName] { return entry }
    guard let slash = recordName.utf8.firstIndex(of: UInt8(ascii: "/")) else { return nil }
    let named = String(recordName[recordName.utf8.index(after: slash)...])
    if let entry = entry(recordName: recordName, of: named) { return entry }
    let made = WantedFunction.withoutToken(named)
    return made == named ? nil : entry(recordName: recordName, of: made)
  }

  private func entry(recordName: String, of function: String) -> WantedFunction? {
    if let entry = fencers[function], entry.recordName == recordName { return entry }
    guard let state = claimOfFunction[function].flatMap({ claims[$0] }) else { return nil }
    if let entry = state.controlling, entry.recordName == recordName { return entry }
    return state.consumer.flatMap { $0.recordName == recordName ? $0 : nil }
  }
}
