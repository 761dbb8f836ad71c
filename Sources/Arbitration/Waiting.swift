import Messages

/// What has changed for claims that wait.
struct Openings: Sendable {
  /// End nodes that have room again, or another controlling host.
  var endNodes: Set<String> = []
  /// Hosts that can be given more: they are connected again, or have other plugins.
  var hosts: Set<String> = []
  /// Claims that wait again.
  var claims: Set<String> = []
  /// Tenants whose quotas may have room again, or whose share is another one.
  var tenants: Set<TenantClass> = []
  /// Among the end nodes are such of which something was kept for one that does not get it.
  var isKeptFreed = false
  /// Nothing may have opened, and claims may wait for another reason now: a host came or went.
  var isOtherwise = false

  var isEmpty: Bool { endNodes.isEmpty && hosts.isEmpty && claims.isEmpty && tenants.isEmpty && !isOtherwise }
}

/// What has been found out about claims that wait, for those that ask for the same.
private struct Looks {
  var hosts = HostsAllowed()
  /// For which there is nothing, as long as nothing more opens.
  var inVain: Set<ClaimSpecification> = []

  /// One was placed, or was not.
  mutating func note(_ state: ClaimState?, isAnythingKept: Bool) {
    // Its tenant may have used up its quota by that, and what is kept for others of it is free.
    if state?.phase != .pending, isAnythingKept { inVain = [] }
  }
}

/// Grants to those who wait. What a change cannot have opened is not looked at, so that a release costs the same
/// however many claims wait for something else.
extension Arbiter {
  mutating func wait(_ state: ClaimState) {
    let deviceClass = state.specification.deviceClass
    noteTried(state, isWaiting: true)
    noteWaiting(state, by: 1)
    insert(state.waitingEntry, ofClass: deviceClass)
  }

  mutating func stopWaiting(_ state: ClaimState) {
    let deviceClass = state.specification.deviceClass
    forgetTurn(of: state)
    noteTried(state, isWaiting: false)
    noteWaiting(state, by: -1)
    remove(state.waitingEntry, ofClass: deviceClass)
  }

  private mutating func noteTried(_ state: ClaimState, isWaiting: Bool) {
    guard !trials.isEmpty else { return }
    trials[trials.count - 1].waiting.append((state.specification.deviceClass, state.waitingEntry, isWaiting))
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
  /// Of one event, as `lookedAtAtOnce` in end nodes looked at.
  private static var lookedAtInVain: Int { 8192 }

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
      // Any of them may be for many hosts.
      let cost = costInVain(ofClass: deviceClass) + endNodes.closed(ofClass: deviceClass).count / 8
      if count <= Self.explainedAtOnce, count * cost <= Self.lookedAtAtOnce {
        waiting[deviceClass]?.round = WaitingList.Round(serving: Serving())
        lookAgain(ofClass: deviceClass, .max)
      }
    }
  }

  /// What it takes to look for a claim everywhere, and to say why it has nothing: some four end nodes looked at closely count as one,
  /// as do eight with room, and eight hosts that one for any host may go to.
  private func costInVain(ofClass deviceClass: String, isForManyHosts: Bool = false) -> Int {
    let nodes = min(endNodes.ids(ofClass: deviceClass).count, Self.mostExplained)
    let others =
      endNodes.rooms(ofClass: deviceClass).count
      + (isForManyHosts ? endNodes.closed(ofClass: deviceClass).count + hosts.names.count : 0)
    return max(1, nodes / 4) + others / 8
  }

  /// With what it takes to find that nobody can help by letting go.
  private func costInVain(of specification: ClaimSpecification) -> Int {
    let cost = costInVain(ofClass: specification.deviceClass, isForManyHosts: isForManyHosts(specification))
    guard specification.preemption != .never,
      holders.places(ofClass: specification.deviceClass, below: specification.priority).contains(where: { _ in true })
    else { return cost }
    return cost + endNodes.ids(ofClass: specification.deviceClass).count / 4
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

  /// In their order. Those that are named have their turn in any case, the first of them in this event; of the others, what one event
  /// looks at in vain is bounded. Whoever is left looks again with all that wait.
  private mutating func grantWaiting(ofClass deviceClass: String, nodes: [String], _ openings: Openings) {
    var open = nodes.filter { isOpen($0) }
    var named = openings.claims.filter { name in
      claims[name].map { $0.phase == .pending && $0.specification.deviceClass == deviceClass } ?? false
    }
    let tenants = openings.tenants.filter { $0.deviceClass == deviceClass }
    let first = entryOfTurn(ofClass: deviceClass)
    var serving = Serving()
    var budget = Self.lookedAtInVain
    var tried: Set<String> = []
    var looks = Looks()
    var allReopened: Set<String> = []
    while budget > 0, !open.isEmpty || !openings.hosts.isEmpty || mayFit(tenants, ofClass: deviceClass),
      let entry = nextServed(&serving, ofClass: deviceClass, first)
    {
      guard let specification = claims[entry.name]?.specification else { continue }
      guard specification.group.isEmpty || !tried.contains(specification.group) else { continue }
      // Another member than that one may be concerned.
      guard
        named.remove(entry.name) != nil || entry == first
          || isConcerned(entry.name, openings, open, &looks, &budget)
      else { continue }
      if !specification.group.isEmpty { tried.insert(specification.group) }
      place(entry.name, &budget)
      looks.note(claims[entry.name], isAnythingKept: !nominations.isEmpty)
      let reopened = changes.openings.endNodes.filter { isOf(deviceClass, $0) }
      if !reopened.isEmpty {
        // What was kept for it is free: those before it, who could not have that, come before those behind it.
        changes.openings.endNodes.subtract(reopened)
        allReopened.formUnion(reopened)
        open = allReopened.union(nodes).sorted()
        serving = Serving()
        looks.inVain = []
      }
      open = open.filter { isOpen($0) }
    }
    changes.openings.endNodes.formUnion(allReopened)
    var left = named.compactMap { claims[$0]?.waitingEntry }.sorted()[...]
    budget = Self.lookedAtInVain
    while budget > 0, !changes.openings.isKeptFreed, let entry = left.popFirst() {
      // All of a group look at once.
      if let group = claims[entry.name]?.specification.group, !group.isEmpty, !tried.insert(group).inserted { continue }
      place(entry.name, &budget)
    }
    // Of what was kept for one of them everybody has a turn, in their order.
    if changes.openings.isKeptFreed { changes.openings.claims.formUnion(left.map(\.name)) }
  }

  private mutating func place(_ name: String, _ budget: inout Int) {
    place(name)
    budget -= 1
    // Where a quota is used up nothing was looked for.
    guard let state = claims[name], state.phase == .pending, obstacle(ofQuotaOf: state.specification) == nil else {
      return
    }
    // A group ends at the first one that finds nothing.
    let others = state.hasGroup ? claimsOfGroup[state.specification.group]?.count ?? 0 : 0
    budget -= costInVain(of: state.specification) + others
  }

  private func mayFit(_ tenants: Set<TenantClass>, ofClass deviceClass: String) -> Bool {
    tenants.contains { !isUsedUp($0) }
      && (!endNodes.rooms(ofClass: deviceClass).isEmpty || !endNodes.closed(ofClass: deviceClass).isEmpty)
  }

  /// Those of a tenant that has used up its quota are passed by.
  func nextServed(
    _ serving: inout Serving, ofClass deviceClass: String, _ first: WaitingList.Entry?
  ) -> WaitingList.Entry? {
    guard let list = waiting[deviceClass] else { return nil }
    let key = { (tenant: String) in TenantClass(tenant: tenant, deviceClass: deviceClass) }
    return serving.next(
      of: list, first: first, skipping: { isUsedUp(key($0)) }, revision: sharesRevision,
      share: { share(of: key($0)) })
  }

  /// Whether a claim could get something of what has opened. What is looked at in vain is taken off the budget.
  private mutating func isConcerned(
    _ name: String, _ openings: Openings, _ open: [String], _ looks: inout Looks, _ budget: inout Int
  ) -> Bool {
    budget -= 1
    guard let state = claims[name], !looks.inVain.contains(state.specification) else { return false }
    let specification = state.specification
    if fits(specification, open, &looks) { return true }
    budget -= 2 + open.count + (specification.isForSeveralHosts ? 32 : 0)
    let opened = openings.hosts.filter { hosts[$0].map { allows($0, specification) } ?? false }
    // What is kept for it elsewhere is in its own way.
    let isKept = state.claim.status?.preemption != nil || turn(of: state) != nil
    if !opened.isEmpty, !specification.isForSeveralHosts || isKept { return true }
    if openings.tenants.contains(specification.tenantClass) || !opened.isEmpty {
      if canHave(specification, on: openings.tenants.contains(specification.tenantClass) ? [] : opened) { return true }
      budget -= costInVain(of: specification)
    }
    if !selectors.changesWithUse(specification.selector) { looks.inVain.insert(specification) }
    return false
  }

  /// - Parameter opened: the hosts on which it may be that it could not be on before; empty: any may be such a one.
  private mutating func canHave(_ specification: ClaimSpecification, on opened: Set<String>) -> Bool {
    guard !opened.isEmpty, opened.count <= 4 else { return best(for: specification) != nil }
    for host in opened.sorted() {
      var here = specification.used(on: host)
      (here.hosts, here.hostSelector) = ([], "")
      if best(for: here) != nil { return true }
    }
    return false
  }

  /// Whether one of some end nodes could take it.
  private func fits(_ specification: ClaimSpecification, _ open: [String], _ looks: inout Looks) -> Bool {
    guard !open.isEmpty else { return false }
    let choice = choice(for: specification, atMost: Self.mostExplained, &looks.hosts)
    return open.compactMap { endNodes[$0] }.contains { node in
      fits(node, specification, on: choice)
        || isForManyHosts(specification) && isSelected(node, by: specification)
          && (candidateAtRoot(of: node, for: specification) != nil || fitsAtUser(of: node, specification))
    }
  }

  /// Whether an end node that serves as many hosts as it may could take it for one of these, who need not be among those looked at first.
  private func fitsAtUser(of node: EndNodeState, _ specification: ClaimSpecification) -> Bool {
    node.isOutOfHosts
      && node.users.contains { name in
        guard let host = hosts[name], host.isConnected, allows(host, specification) else { return false }
        return (try? candidate(node, for: specification.used(on: name))) != nil
      }
  }

  /// Whether a function of the end node could be granted to anybody.
  private func isOpen(_ id: String) -> Bool { endNodes[id].map { $0.hasFreeFunction && isOpen($0) } ?? false }

  /// The same once there is a free one.
  func isOpen(_ node: EndNodeState) -> Bool {
    guard node.record.cordon == nil, !node.flapping.isHeld, node.health.state != .unhealthy else { return false }
    return isUnderControl(node) || node.record.roots.contains { isUsable($0.host, asRootOf: node) }
  }

  /// Has those who wait look at what there is now, up to a number of end nodes looked at. Who asks for the same as one before it, for
  /// which there was nothing, waits for the same reasons. Once something is free that was kept, all have a turn at that, in their order.
  private mutating func lookAgain(ofClass deviceClass: String, _ budget: Int) {
    var budget = budget
    var (inVain, revision): ([ClaimSpecification: [PendingReason]], UInt64) = ([:], sharesRevision)
    while budget > 0, !changes.openings.isKeptFreed, let entry = nextStale(ofClass: deviceClass) {
      budget -= 1
      guard looksAgain(entry.name), let specification = claims[entry.name]?.specification else { continue }
      if let reasons = inVain[specification], wait(entry.name, for: reasons) { continue }
      place(entry.name, &budget)
      if let reasons = reasonsForAll(entry.name), sharesRevision == revision {
        inVain[specification] = reasons
      } else {
        (inVain, revision) = ([:], sharesRevision)
      }
    }
  }

  /// Why a claim waits, if whoever asks for the same waits for that.
  private func reasonsForAll(_ name: String) -> [PendingReason]? {
    // Of those that ask for an interface of one name one may be in the way of the others.
    guard let state = claims[name], state.phase == .pending, !state.hasGroup,
      state.specification.consumer?.interfaceName.isEmpty ?? true, state.eviction.isEmpty,
      state.claim.status?.preemption == nil, turn(of: state) == nil
    else { return nil }
    return state.claim.status?.pending
  }

  /// False: it has something to look after itself.
  private mutating func wait(_ name: String, for reasons: [PendingReason]) -> Bool {
    guard var state = claims[name], state.phase == .pending, state.claim.status?.preemption == nil,
      turn(of: state) == nil
    else { return false }
    let all = state.eviction + reasons
    guard state.claim.status?.pending != all else { return true }
    state.withStatus { $0.pending = all }
    put(&state)
    return true
  }

  /// The next one of a round, and of the round after it if one is wanted.
  private mutating func nextStale(ofClass deviceClass: String) -> WaitingList.Entry? {
    while let list = waiting[deviceClass], var serving = list.round.serving {
      let next = serving.next(of: list, revision: sharesRevision) { tenant in
        share(of: TenantClass(tenant: tenant, deviceClass: deviceClass))
      }
      waiting[deviceClass]?.round.serving = serving
      if let next { return next }
      waiting[deviceClass]?.round = WaitingList.Round(serving: list.round.isWantedAgain ? Serving() : nil)
    }
    return nil
  }

  mutating func lookAgain() {
    // Each has a share, so that none keeps the others from having their turn.
    let budget = Self.lookedAtPerTick / max(1, waiting.count)
    for deviceClass in waiting.keys.sorted() { lookAgain(ofClass: deviceClass, budget) }
  }
}

extension ClaimState {
  var waitingEntry: WaitingList.Entry {
    WaitingList.Entry(
      priority: specification.priority, tenant: specification.tenantName, seconds: claim.created?.seconds ?? 0,
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
