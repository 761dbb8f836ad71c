import Messages

/// The claims of one class that wait for a function.
struct WaitingList {
  struct Entry: Comparable, Sendable {
    var priority: Int32
    var seconds: Int64
    var nanoseconds: Int32
    /// Decides between claims of one instant.
    var uid: String
    var name: String

    /// Higher priorities first, then the oldest.
    static func < (one: Entry, other: Entry) -> Bool {
      guard one.priority == other.priority else { return one.priority > other.priority }
      return (one.seconds, one.nanoseconds, one.uid) < (other.seconds, other.nanoseconds, other.uid)
    }
  }

  /// How far a round of looking again has come: from there on they say why they wait as it was before something changed.
  struct Round {
    fileprivate var isUnderWay = false
    fileprivate var last: Entry?
    fileprivate var isWantedAgain = false
  }

  private(set) var entries = OrderedSet<Entry>()
  var round = Round()

  mutating func insert(_ entry: Entry) { entries.insert(entry) }
  mutating func remove(_ entry: Entry) { entries.remove(entry) }

  mutating func becomeStale() {
    if round.isUnderWay { round.isWantedAgain = true } else { round.isUnderWay = !entries.isEmpty }
  }

  /// The next one that is to look again. A change meanwhile lets the round end first, so that everybody's turn comes.
  mutating func nextStale() -> Entry? {
    guard round.isUnderWay else { return nil }
    if let next = entries.first(after: round.last) {
      round.last = next
      return next
    }
    round = Round(isUnderWay: round.isWantedAgain && !entries.isEmpty)
    return round.isUnderWay ? nextStale() : nil
  }
}

/// What has changed for claims that wait.
struct Openings: Sendable {
  /// End nodes that have room again, or another controlling host.
  var endNodes: Set<String> = []
  /// Hosts that can be given more: they are connected again, or have other plugins.
  var hosts: Set<String> = []
  /// Claims that wait again.
  var claims: Set<String> = []
  /// Nothing may have opened, and claims may wait for another reason now: a host came or went.
  var isOtherwise = false

  var isEmpty: Bool { endNodes.isEmpty && hosts.isEmpty && claims.isEmpty && !isOtherwise }
}

/// Grants to those who wait. What a change cannot have opened is not looked at, so that a release costs the same
/// however many claims wait for something else.
extension Arbiter {
  mutating func wait(_ state: ClaimState) {
    let deviceClass = state.specification.deviceClass
    trial?.waiting.append((deviceClass, state.waitingEntry, isWaiting: true))
    insert(state.waitingEntry, ofClass: deviceClass)
  }

  mutating func stopWaiting(_ state: ClaimState) {
    let deviceClass = state.specification.deviceClass
    trial?.waiting.append((deviceClass, state.waitingEntry, isWaiting: false))
    remove(state.waitingEntry, ofClass: deviceClass)
  }

  mutating func insert(_ entry: WaitingList.Entry, ofClass deviceClass: String) {
    waiting[deviceClass, default: WaitingList()].insert(entry)
  }

  mutating func remove(_ entry: WaitingList.Entry, ofClass deviceClass: String) {
    waiting[deviceClass]?.remove(entry)
    if waiting[deviceClass]?.entries.isEmpty ?? false { waiting[deviceClass] = nil }
  }

  /// Whoever waits may say a moment later why it still does, where many do, or there is much to look at.
  private static var explainedAtOnce: Int { 64 }
  private static var lookedAtAtOnce: Int { 4096 }
  private static var lookedAtPerTick: Int { 4096 }
  private static var lookedAtInVain: Int { 4096 }

  mutating func fillOpenings() {
    while !changes.openings.isEmpty { fillOpeningsOnce() }
  }

  private mutating func fillOpeningsOnce() {
    var openings = changes.openings
    changes.openings = Openings()
    guard !waiting.isEmpty else { return }
    openings.claims.formUnion(waitingForSources(openings))
    let opened = endNodes(in: openings)
    for id in opened { openings.claims.formUnion(nominations[id]?.map(\.claim) ?? []) }
    for deviceClass in waiting.keys.sorted() {
      grantWaiting(ofClass: deviceClass, nodes: opened.filter { isOf(deviceClass, $0) }, openings)
      waiting[deviceClass]?.becomeStale()
      let count = waiting[deviceClass]?.entries.count ?? 0
      let cost = count * endNodes.ids(ofClass: deviceClass).count
      if count <= Self.explainedAtOnce, cost <= Self.lookedAtAtOnce { lookAgain(ofClass: deviceClass, .max) }
    }
  }

  private func endNodes(in openings: Openings) -> [String] {
    var ids = openings.endNodes
    for host in openings.hosts {
      ids.formUnion(
        endNodes.ids(atHost: host).filter { id in
          endNodes[id].map { $0.controllingHost == host || ($0.isMultiRoot && $0.record.isRoot(host)) } ?? false
        })
    }
    return ids.sorted()
  }

  private func isOf(_ deviceClass: String, _ id: String) -> Bool {
    endNodes[id].map { $0.record.deviceClass == deviceClass && !$0.isServed } ?? false
  }

  /// In their order. Those that are named have their turn in any case; of the others, what one event looks at in vain is bounded.
  private mutating func grantWaiting(ofClass deviceClass: String, nodes: [String], _ openings: Openings) {
    var open = nodes.filter(isOpen)
    var named = openings.claims.compactMap { claims[$0] }.filter {
      $0.phase == .pending && $0.specification.deviceClass == deviceClass
    }.map(\.waitingEntry).sorted()
    var last: WaitingList.Entry?
    var budget = Self.lookedAtInVain
    while budget > 0, !open.isEmpty || !openings.hosts.isEmpty,
      let entry = waiting[deviceClass]?.entries.first(after: last)
    {
      last = entry
      let isNamed = named.first == entry
      if isNamed { named.removeFirst() }
      guard let specification = claims[entry.name]?.specification else { continue }
      guard isNamed || isConcerned(specification, openings, open) else {
        budget -= 1
        continue
      }
      place(entry.name)
      open = open.filter(isOpen)
    }
    for entry in named { place(entry.name) }
  }

  private func isConcerned(_ specification: ClaimSpecification, _ openings: Openings, _ open: [String]) -> Bool {
    guard !openings.hosts.contains(where: { hosts[$0].map { allows($0, specification) } ?? false }) else { return true }
    let choice = choice(for: specification)
    return open.contains { endNodes[$0].map { fits($0, specification, on: choice) } ?? false }
  }

  /// Whether a function of the end node could be granted to anybody.
  private func isOpen(_ id: String) -> Bool {
    guard let node = endNodes[id], node.record.cordon == nil, !node.flapping.isHeld, node.health.state != .unhealthy,
      node.hasFreeFunction
    else { return false }
    return isUnderControl(node) || node.record.roots.contains { isUsable($0.host, asRootOf: node) }
  }

  /// Has those who wait look at what there is now, up to a number of end nodes looked at. Answers what is left of it.
  @discardableResult
  private mutating func lookAgain(ofClass deviceClass: String, _ budget: Int) -> Int {
    var budget = budget
    let cost = max(1, endNodes.ids(ofClass: deviceClass).count)
    while budget > 0, let entry = waiting[deviceClass]?.nextStale() {
      place(entry.name)
      budget -= cost
    }
    return budget
  }

  mutating func lookAgain() {
    var budget = Self.lookedAtPerTick
    for deviceClass in waiting.keys.sorted() where budget > 0 { budget = lookAgain(ofClass: deviceClass, budget) }
  }
}

extension ClaimState {
  fileprivate var waitingEntry: WaitingList.Entry {
    WaitingList.Entry(
      priority: specification.priority, seconds: claim.created?.seconds ?? 0,
      nanoseconds: claim.created?.nanoseconds ?? 0, uid: claim.uid,
      name: claim.name)
  }
}

extension EndNodeState {
  var hasFreeFunction: Bool {
    let limit = record.capacity?.functions ?? 0
    return limit == 0 || shares.count < Int(limit)
  }
}
