import Messages

/// What one event has changed: the effects are made from it at the end, so that a record that changed twice is saved
/// once and a host hears of all its entries in one message.
struct Changes: Sendable {
  // The names of records of each kind, as they came, so that what is noted twice is there twice: most events note one of three
  // kinds, and one name need not be compared with others.
  private var claims: [String] = []
  private var endNodes: [String] = []
  private var hosts: [String] = []
  private var tenants: [String] = []
  /// Of entries that nobody is told of.
  private var entryNames: [String] = []
  /// Those that their hosts are told of. The name of one is put together where there are several.
  private var entries: [WantedFunction] = []
  private(set) var isClusterChanged = false
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

  /// Forgets all of it, but keeps the memory of what nearly every event notes.
  mutating func empty() {
    var next = Changes()
    swap(&next.claims, &claims)
    swap(&next.endNodes, &endNodes)
    swap(&next.entries, &entries)
    swap(&next.holdings, &holdings)
    swap(&next.replies, &replies)
    next.claims.empty()
    next.endNodes.empty()
    next.entries.empty()
    next.holdings.empty()
    next.replies.empty()
    self = next
  }

  mutating func save(_ key: RecordKey) {
    switch key.kind {
    case .cluster: isClusterChanged = true
    case .host: hosts.append(key.name)
    case .endNode: endNodes.append(key.name)
    case .claim: claims.append(key.name)
    case .tenant: tenants.append(key.name)
    case .wantedFunction: entryNames.append(key.name)
    }
  }

  mutating func saveCluster() { isClusterChanged = true }
  mutating func noteClaim(_ name: String) { claims.append(name) }
  mutating func noteEntry(_ entry: WantedFunction) { entries.append(entry) }

  // The names of the records that have changed, each once, in order.
  var changedClaims: [String] { Self.once(claims) }
  var changedEndNodes: [String] { Self.once(endNodes) }
  var changedHosts: [String] { Self.once(hosts) }
  var changedTenants: [String] { Self.once(tenants) }

  private static func once(_ names: [String]) -> [String] { names.count > 1 ? Set(names).sorted() : names }

  /// The entries that have changed, each once, in the order of their records' names, with what a host is told of it last.
  var changedEntries: [(name: String, told: WantedFunction?)] {
    var told: [String: WantedFunction?] = [:]
    for name in entryNames { told.updateValue(nil, forKey: name) }
    for entry in entries { told.updateValue(entry, forKey: entry.recordName) }
    return told.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// How many records have changed, or more.
  var count: Int { claims.count + endNodes.count + hosts.count + tenants.count + entryNames.count + entries.count + 1 }

  /// Nil: several entries have changed, or none.
  var onlyEntry: WantedFunction? { entries.count == 1 && entryNames.isEmpty ? entries[0] : nil }

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

  /// Nil: several hosts are to be told of something, or one of more than that.
  var onlyTold: WantedFunction? { entries.count == 1 && controls.isEmpty && anew.isEmpty ? entries[0] : nil }

  /// A host that has just been sent everything needs no word of the parts.
  mutating func dropEntries(for host: String) {
    entryNames += entries.filter { $0.host == host }.map(\.recordName)
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
    ailments.follow(state)
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
    let effects = effects()
    changes.empty()
    return effects
  }

  private func effects() -> [Effect] {
    var effects: [Effect] = []
    // A record, a message, a watcher and an answer of most.
    effects.reserveCapacity(2 * changes.count + changes.messages.count + 3)
    let claims = saveRecords(with: &effects)
    for holding in changes.holdings { effects.append(.audit(holding)) }
    for message in changes.messages { effects.append(message) }
    tellHosts(with: &effects)
    tellWatchers(of: claims, with: &effects)
    for fence in changes.fences { effects.append(fence) }
    for reply in changes.replies { effects.append(reply) }
    return effects
  }

  /// In the order of their keys. Answers the claims among them.
  private func saveRecords(with effects: inout [Effect]) -> [Claim] {
    var saved: [Claim] = []
    var state: ClaimState?
    for name in changes.changedClaims {
      state = claims[name]
      guard let claim = state?.claim else {
        effects.append(.remove(RecordKey(.claim, name)))
        continue
      }
      effects.append(.save(.claim(claim)))
      saved.append(claim)
    }
    if changes.isClusterChanged { effects.append(.save(.cluster(cluster))) }
    for name in changes.changedEndNodes {
      effects.append(change(of: RecordKey(.endNode, name), endNodes[name].map { .endNode($0.record) }))
    }
    for name in changes.changedHosts {
      effects.append(change(of: RecordKey(.host, name), hosts[name].map { .host($0.durable) }))
    }
    for name in changes.changedTenants {
      effects.append(change(of: RecordKey(.tenant, name), tenants[name].map { .tenant($0) }))
    }
    // An event is mostly about one claim and its entries.
    if let entry = changes.onlyEntry, abandoned.isEmpty, let entry = self.entry(asTold: entry, beside: state) {
      effects.append(.save(.wantedFunction(entry)))
    } else {
      for (name, told) in changes.changedEntries {
        let record = entry(name, told: told, beside: state).map { Record.wantedFunction($0) }
        effects.append(change(of: RecordKey(.wantedFunction, name), record))
      }
    }
    return saved
  }

  private func change(of key: RecordKey, _ record: Record?) -> Effect { record.map { .save($0) } ?? .remove(key) }

  private func tellHosts(with effects: inout [Effect]) {
    if let entry = changes.onlyTold {
      guard let session = hosts[entry.host]?.session else { return }
      return effects.append(.send(session, wanted([entry], [], complete: false)))
    }
    for (host, entries) in changes.told {
      guard let session = hosts[host]?.session else { continue }
      guard changes.anew.isEmpty || !changes.anew.contains(host) else {
        effects.append(.send(session, wanted(self.entries(for: host), self.controls(for: host), complete: true)))
        continue
      }
      let controls = changes.controls[host]?.sorted().compactMap { wantedControl(of: $0, by: host) } ?? []
      effects.append(.send(session, wanted(entries, controls, complete: false)))
    }
  }

  private func tellWatchers(of claims: [Claim], with effects: inout [Effect]) {
    if changes.gone.isEmpty, claims.count == 1 { return effects.append(.claimChanged(claims[0])) }
    let watched = claims.map { (claim: $0, isGone: false) } + changes.gone.map { (claim: $0, isGone: true) }
    for change in watched.sorted(by: { $0.claim.revision < $1.claim.revision }) {
      effects.append(change.isGone ? .claimGone(change.claim) : .claimChanged(change.claim))
    }
  }

  func wanted(_ entries: [WantedFunction], _ controls: [WantedControl], complete: Bool) -> CoordinatorMessage {
    let cluster = cluster
    let wanted = WantedState {
      $0.epoch = cluster.epoch
      $0.revision = cluster.revision
      $0.complete = complete
      // As they came about; no two have one revision.
      $0.functions = entries.count > 1 ? entries.sorted { $0.revision < $1.revision } : entries
      $0.controls = controls
    }
    return CoordinatorMessage { $0.kind = .wanted(wanted) }
  }

  /// As the store keeps it; nil if there is none any more.
  private func entry(_ name: String, told: WantedFunction?, beside state: ClaimState?) -> WantedFunction? {
    if let entry = abandoned[name] { return entry }
    guard let told else { return entry(recordName: name) }
    let claim = told.assignment?.claim ?? ""
    let known = state?.claim.name == claim ? state : claims[claim]
    return entry(asTold: told, beside: known) ?? entry(recordName: name)
  }

  /// As it was told, if nothing has happened to it since: no two changes have one revision, so that it need not be looked for by its
  /// name.
  private func entry(asTold told: WantedFunction, beside state: ClaimState?) -> WantedFunction? {
    guard let state, state.claim.name == told.assignment?.claim else { return nil }
    if let entry = state.controlling, entry.revision == told.revision { return entry }
    if let entry = state.consumer, entry.revision == told.revision { return entry }
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
