import Messages

/// A claim whose function another host served, and that gets another one like it, keeps what its consumer sees: the interface stays
/// as it is, and its packets go another way. The former server is proven cut off before the next one begins, so that between the
/// two the interface is there and leads nowhere.
///
/// Only a network's interface can be kept so: what is on a disk is where the disk is.
extension Arbiter {
  /// Whether what its consumer's host has of it is to be kept for the next function, should there be one that allows it.
  func isKeptByConsumer(_ state: ClaimState) -> Bool {
    guard state.phase == .reclaiming, let entry = state.consumer, !entry.released,
      entry.assignment?.mediation?.vni ?? 0 != 0, hosts[entry.host]?.isConnected ?? false,
      report(of: entry)?.phase == .inUse
    else { return false }
    // Members of a group go on together, and an upgrade goes to another kind of path.
    return !state.hasGroup && !upgrades.underWay.contains(state.claim.name)
  }

  /// What is free when nothing is left to be granted, nobody who waits can use.
  mutating func moveInterfaces() {
    let names = changes.movers.sorted()
    changes.movers = []
    for name in names {
      guard let state = claims[name], state.controlling == nil, isKeptByConsumer(state) else { continue }
      if !moveInterface(of: state) { releaseConsumer(of: state) }
    }
  }

  /// Answers whether there is a function to which the interface can lead.
  private mutating func moveInterface(of before: ClaimState) -> Bool {
    guard let assignment = before.assignment, let former = before.consumer else { return false }
    beginTrial()
    free(assignment, of: before)
    guard obstacle(ofQuotaOf: before.specification) == nil,
      let best = best(for: before.specification.used(alsoOn: assignment.host)), best.route.mediator == "vxlan"
    else {
      endTrial(keeping: false)
      return false
    }
    endTrial(keeping: true)
    evicting.remove(before.claim.name)
    var state = before
    state.withStatus { $0.error = nil }
    grant(best, to: &state, insteadOf: former)
    giveUp(former, of: before)
    state.consumer = state.assignment.map { connect($0, of: state.claim.name) }
    put(&state)
    return true
  }

  private mutating func releaseConsumer(of before: ClaimState) {
    var state = before
    guard var entry = state.consumer else { return }
    entry.released = true
    note(&entry)
    state.consumer = entry
    claims[state.claim.name] = state
    settle(state.claim.name)
  }
}

extension Assignment {
  /// Its consumer keeps what it has of the former one: the network is the same, and the interface has the name that it has.
  mutating func takeOver(_ former: Assignment, arrival: Arrival?) {
    takesOver = former.function
    if let vni = former.mediation?.vni { mediation?.vni = vni }
    guard let name = arrival?.interfaceName, !name.isEmpty, consumer?.interfaceName ?? "" == "" else { return }
    var named = consumer ?? Consumer()
    named.interfaceName = name
    consumer = named
  }

  /// Why placement has given it at once, and not in its turn.
  var wordsOfMove: String { "its consumer keeps the interface that it had of \(takesOver)" }
}

extension ClaimSpecification {
  /// The same, used on the host where it is. An interface's name that is to be free on any of several hosts is its own there.
  func used(alsoOn host: String) -> ClaimSpecification {
    guard isForSeveralHosts else { return self }
    var here = used(on: host)
    (here.hosts, here.hostSelector) = ([], "")
    here.consumer?.interfaceName = ""
    return here
  }
}
