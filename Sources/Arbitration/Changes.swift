import Messages

/// What one event has changed: the effects are made from it at the end, so that a record that changed twice is saved
/// once and a host hears of all its entries in one message.
struct Changes: Sendable {
  /// A record that has changed.
  struct Noted {
    var key: RecordKey
    /// As it was told: it is what is to be saved unless something has happened to it since.
    var entry: WantedFunction?
  }

  // As they came, so that what is noted twice is there twice: most events note a handful.
  private var noted: [Noted] = []
  private var entries: [WantedFunction] = []
  private var isClusterChanged = false
  var gone: [Claim] = []
  /// For the audit, as it came about.
  var holdings: [Holding] = []
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

  /// Goes on with the memory of what nearly every event notes.
  mutating func takeMemory(of past: inout Changes) {
    swap(&noted, &past.noted)
    swap(&entries, &past.entries)
    swap(&holdings, &past.holdings)
    swap(&replies, &past.replies)
    noted.empty()
    entries.empty()
    holdings.empty()
    replies.empty()
  }

  mutating func save(_ key: RecordKey) { noted.append(Noted(key: key)) }
  mutating func saveCluster() { isClusterChanged = true }
  mutating func noteClaim(_ name: String) { save(RecordKey(.claim, name)) }

  mutating func noteEntry(_ entry: WantedFunction) {
    noted.append(Noted(key: RecordKey(.wantedFunction, entry.recordName), entry: entry))
    entries.append(entry)
  }

  /// Each once, in order.
  mutating func takeRecords() -> [Noted] {
    if isClusterChanged { noted.append(Noted(key: RecordKey(.cluster, ""))) }
    guard noted.count > 1 else { return noted }
    noted.sort { $0.key < $1.key }
    var last = 0
    for place in 1..<noted.count {
      if noted[last].key != noted[place].key { last += 1 }
      if last != place { noted[last] = noted[place] }
    }
    noted.removeSubrange((last + 1)...)
    return noted
  }

  mutating func noteControl(_ endNode: String, of host: String) { controls[host, default: []].insert(endNode) }

  mutating func tellAnew(_ host: String) { anew.insert(host) }

  /// The hosts that must hear of something, by name, with what each must hear of each of its entries last, in the order of revisions.
  var told: [(host: String, entries: [WantedFunction])] {
    guard entries.count > 1 || !controls.isEmpty || !anew.isEmpty else { return entries.map { ($0.host, [$0]) } }
    let ofHost = Dictionary(grouping: entries, by: \.host)
    let hosts = Set(ofHost.keys).union(controls.keys).union(anew)
    return hosts.sorted().map { ($0, Self.last(of: ofHost[$0] ?? [])) }
  }

  private static func last(of entries: [WantedFunction]) -> [WantedFunction] {
    guard entries.count > 1 else { return entries }
    var names: Set<String> = []
    return entries.sorted { $0.revision > $1.revision }.filter { names.insert($0.recordName).inserted }.reversed()
  }

  /// A host that has just been sent everything needs no word of the parts.
  mutating func dropEntries(for host: String) {
    entries.removeAll { $0.host == host }
    controls[host] = nil
    anew.remove(host)
  }
}

extension Array {
  /// Keeps its memory, unless that is large.
  fileprivate mutating func empty() { removeAll(keepingCapacity: capacity <= 64) }
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
    defer { self.changes.takeMemory(of: &changes) }
    let records = changes.takeRecords()
    var effects: [Effect] = []
    // A record, a message, a watcher and an answer of most.
    effects.reserveCapacity(2 * records.count + changes.messages.count + 3)
    var watched: [(claim: Claim, isGone: Bool)] = []
    var claim: ClaimState?
    for noted in records {
      guard let record = record(noted, beside: &claim) else {
        effects.append(.remove(noted.key))
        continue
      }
      effects.append(.save(record))
      if case .claim(let claim) = record { watched.append((claim: claim, isGone: false)) }
    }
    for holding in changes.holdings { effects.append(.audit(holding)) }
    effects += changes.messages
    for (host, entries) in changes.told {
      guard let session = hosts[host]?.session else { continue }
      guard changes.anew.isEmpty || !changes.anew.contains(host) else {
        effects.append(.send(session, wanted(self.entries(for: host), self.controls(for: host), complete: true)))
        continue
      }
      let controls = changes.controls[host]?.sorted().compactMap { endNodes[$0]?.wantedControl(of: host) } ?? []
      effects.append(.send(session, wanted(entries, controls, complete: false)))
    }
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
    wanted.functions = entries.count > 1 ? entries.sorted { $0.revision < $1.revision } : entries
    wanted.controls = controls
    return CoordinatorMessage { $0.kind = .wanted(wanted) }
  }

  /// A record as the store keeps it; nil if there is none any more.
  ///
  /// - Parameter last: the claim that was looked at last: an event is mostly about one and its entries.
  private func record(_ noted: Changes.Noted, beside last: inout ClaimState?) -> Record? {
    let name = noted.key.name
    switch noted.key.kind {
    case .cluster: return .cluster(cluster)
    case .host: return hosts[name].map { .host($0.durable) }
    case .endNode: return endNodes[name].map { .endNode($0.record) }
    case .claim:
      last = claims[name]
      return (last?.claim).map { .claim($0) }
    case .tenant: return tenants[name].map { .tenant($0) }
    case .wantedFunction:
      if let entry = abandoned[name] { return .wantedFunction(entry) }
      return (entry(asTold: noted.entry, beside: &last) ?? entry(recordName: name)).map { .wantedFunction($0) }
    }
  }

  /// As it was told, if nothing has happened to it since: no two changes have one revision, so that it need not be looked for by its
  /// name.
  private func entry(asTold told: WantedFunction?, beside last: inout ClaimState?) -> WantedFunction? {
    guard let told, let claim = told.assignment?.claim else { return nil }
    if last?.claim.name != claim { last = claims[claim] }
    if let entry = last?.controlling, entry.revision == told.revision { return entry }
    if let entry = last?.consumer, entry.revision == told.revision { return entry }
    return nil
  }

  private func entry(recordName: String) -> WantedFunction? {
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
