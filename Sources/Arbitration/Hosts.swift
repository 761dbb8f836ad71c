import Messages

/// All hosts. Those are remembered whose part in placement may be another one since somebody asked last.
struct Hosts: Sendable, Triable {
  private var states = Map<String, HostState>()
  private var ordered = OrderedSet<String>()
  private var signs = Map<String, Sign>()
  private(set) var changed: Set<String> = []
  private var former = Former<String, HostState>()

  subscript(name: String) -> HostState? {
    get { states[name] }
    _modify {
      former.remember(name, states[name])
      defer { noteIfChanged(name) }
      yield &states[name]
    }
  }

  /// A claim has an entry for the host from now on. Answers the host's boot, if it has a session to be told of that in.
  mutating func note(claim: String, of name: String) -> String? {
    former.remember(name, states[name])
    return states.change(name) { state in
      state.claims.insert(claim)
      return state.bootOfSession
    } ?? nil
  }

  mutating func note(_ status: FunctionStatus, _ recordName: String, of name: String) {
    former.remember(name, states[name])
    _ = states.change(name) { $0.reports[recordName] = status }
  }

  /// In order.
  var names: OrderedSet<String> { ordered }
  var all: some Collection<HostState> { states.values }

  /// Those whose state says so, by name.
  func names(where isMeant: (HostState) -> Bool) -> [String] {
    states.filter { isMeant($0.value) }.map(\.key).sorted()
  }

  /// Answers the names of those that have changed, in order, and forgets that they have.
  mutating func takeChanged() -> [String] {
    defer { changed = [] }
    return changed.sorted()
  }

  // MARK: Trials

  mutating func beginTrial() { former.begin() }

  mutating func endTrial(keeping: Bool) {
    for (name, state) in former.end(keeping: keeping) { self[name] = state }
  }

  private mutating func noteIfChanged(_ name: String) {
    let sign = states[name].map(Sign.init)
    guard signs[name] != sign else { return }
    if sign == nil { ordered.remove(name) } else if signs[name] == nil { ordered.insert(name) }
    signs[name] = sign
    changed.insert(name)
  }

  /// What `HostState.servedClasses` and its rack come from. Arrays that are the same one compare at once.
  private struct Sign: Equatable {
    var isReady: Bool
    var isCordoned: Bool
    var plugins: [Plugin]
    /// Where it stands.
    var labels: [String: String]

    init(_ state: HostState) {
      isReady = state.isConnected && state.hasReportedInventory && state.hasReportedFunctionsInSession
      isCordoned = state.record.cordon != nil
      plugins = state.record.plugins
      labels = state.record.labels
    }
  }
}
