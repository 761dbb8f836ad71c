import Messages

/// The claims that may be moved to a better path, and those that are on their way.
struct Upgrades: Sendable, Triable {
  /// Those that had a path that is not their first one when they were last ready.
  private var waiting = OrderedSet<String>()
  /// The last one that was looked at.
  private var last = ""
  /// Those for which places are kept.
  private(set) var underWay = Register()
  /// On the arbiter's monotonic clock: when the last one of each began, of this run.
  private var began = Table<String, UInt64>()

  private static var lookedAtPerTick: Int { 16 }
  /// As many at a time: each keeps two places.
  static var mostUnderWay: Int { 16 }

  mutating func want(_ claim: String) { waiting.insert(claim) }
  mutating func wantNoMore(_ claim: String) { waiting.remove(claim) }

  /// The next ones to look at, so that everybody's turn comes.
  mutating func next() -> [String] {
    guard !waiting.isEmpty else { return [] }
    var turn = Array(waiting.elements(from: last).lazy.filter { [last] in $0 != last }.prefix(Self.lookedAtPerTick))
    if turn.count < Self.lookedAtPerTick {
      turn += waiting.prefix(Self.lookedAtPerTick - turn.count).filter { !turn.contains($0) }
    }
    last = turn.last ?? ""
    return turn
  }

  mutating func begin(_ claim: String, at now: Instant?) {
    underWay.insert(claim)
    began[claim] = now?.monotonicMilliseconds
  }

  mutating func end(_ claim: String) { underWay.remove(claim) }

  mutating func forget(_ claim: String) {
    underWay.remove(claim)
    if began[claim] != nil { began[claim] = nil }
  }

  /// How long ago the last one began.
  func age(of claim: String, at now: Instant, since start: Instant?) -> UInt64 {
    let begin = began[claim] ?? start?.monotonicMilliseconds ?? now.monotonicMilliseconds
    return now.monotonicMilliseconds - min(begin, now.monotonicMilliseconds)
  }

  var isEmpty: Bool { underWay.isEmpty && began.isEmpty }

  mutating func beginTrial() {
    underWay.beginTrial()
    began.beginTrial()
  }

  /// No trial makes a claim ready, and what wants nothing is found out when its turn comes.
  mutating func endTrial(keeping: Bool) {
    underWay.endTrial(keeping: keeping)
    began.endTrial(keeping: keeping)
  }
}

/// A claim that asks for it moves to a better path of its order when one is free. It lets go as by any eviction, and stays on its
/// host. Meanwhile nobody else gets the place that it is to go to, nor, from when its function is gone until the next one is in use,
/// the place that it had: whatever becomes of the better one, the claim is no worse off.
///
/// Whoever waits comes first: what is free when nothing is left to be granted, nobody who waits can use.
extension Arbiter {
  /// What cannot be let go of, or set up, by then may take long: no places are kept for it any more.
  private static var patienceMilliseconds: UInt64 { 120_000 }

  mutating func carryOnUpgrades(at now: Instant) {
    for name in upgrades.underWay.sorted() where age(of: name, at: now) >= Self.patienceMilliseconds {
      guard var state = claims[name] else { continue }
      keepNothing(for: &state)
      put(&state)
    }
    for name in upgrades.next() {
      // What the one before has left is for those who wait.
      settleConsequences()
      upgrade(name, at: now)
    }
  }

  private mutating func upgrade(_ name: String, at now: Instant) {
    guard let state = claims[name], state.phase == .ready, wantsUpgrade(state) else {
      return upgrades.wantNoMore(name)
    }
    guard upgrades.underWay.reduce(0, { count, _ in count + 1 }) < Upgrades.mostUnderWay,
      millisecondsToRest(state, at: now) == 0, canLetGo(state), obstacle(ofQuotaOfMoving: state) == nil
    else { return }
    let asked = asked(byUpgradeOf: state)
    guard let best = best(for: asked) else { return }
    begin(state, to: best, at: now)
  }

  private mutating func begin(_ before: ClaimState, to best: Candidate, at now: Instant) {
    guard let assignment = before.assignment else { return }
    let name = before.claim.name
    var state = before
    state.withStatus { status in
      let count = status.upgrade?.count ?? 0
      status.upgrade = Upgrade {
        $0.at = now.timestamp
        $0.count = count &+ 1
        $0.better = KeptPlace {
          $0.endNode = best.record.id
          $0.path = best.route.path
        }
        $0.former = KeptPlace(of: assignment)
      }
    }
    claims[name] = state
    upgrades.begin(name, at: now)
    keep(state.claim.status?.upgrade?.better, as: .better, for: state)
    evict(name, because: "\(best.record.name) is free by the better path \(best.route.path.word)")
  }

  // MARK: What is wanted

  // All of a group would be taken down for one of it.
  func wantsUpgrade(_ state: ClaimState) -> Bool {
    state.specification.upgrade && !state.hasGroup && !betterPaths(of: state).isEmpty
  }

  private func betterPaths(of state: ClaimState) -> [Path] {
    let paths = state.specification.paths
    return Array(paths.prefix(state.assignment.flatMap { paths.firstIndex(of: $0.path) } ?? 0))
  }

  /// What the claim would ask for if it had nothing: on its host, by the paths that are better.
  private func asked(byUpgradeOf state: ClaimState) -> ClaimSpecification {
    var specification = state.specification.used(on: state.host)
    (specification.hosts, specification.hostSelector) = ([], "")
    specification.allowedPaths = betterPaths(of: state)
    // Its own name is in nobody's way.
    specification.consumer?.interfaceName = ""
    return specification
  }

  private func age(of name: String, at now: Instant) -> UInt64 { upgrades.age(of: name, at: now, since: began) }

  /// One that was moved before this run began counts as moved when it began.
  private func millisecondsToRest(_ state: ClaimState, at now: Instant) -> UInt64 {
    guard state.claim.status?.upgrade != nil else { return 0 }
    let age = age(of: state.claim.name, at: now)
    return settings.upgradeIntervalMilliseconds - min(age, settings.upgradeIntervalMilliseconds)
  }

  /// The hosts that have its function answer for it.
  private func canLetGo(_ state: ClaimState) -> Bool {
    [state.controlling, state.consumer].compactMap { $0 }.allSatisfy { hosts[$0.host]?.isConnected ?? false }
  }

  // MARK: Places that are kept

  private enum Kept: String {
    case better, former
  }

  private static var keptPrefix: String { "kept for the upgrade of " }

  /// Whether it is no function, but room for one.
  static func isKept(_ function: String) -> Bool { function.hasPrefix(keptPrefix) }

  private static func name(_ kept: Kept, of claim: String) -> String { "\(keptPrefix)\(claim): \(kept.rawValue)" }

  private mutating func keep(_ place: KeptPlace?, as kept: Kept, for state: ClaimState) {
    guard let place else { return }
    let rates = state.specification.attributes?.minimumRates ?? MinimumRates()
    let share = Share(path: place.path, host: state.host, Share.Part(rates: rates))
    endNodes.takeShare(Self.name(kept, of: state.claim.name), share, of: place.endNode)
  }

  private mutating func free(_ place: KeptPlace?, as kept: Kept, of claim: String) {
    guard let place else { return }
    endNodes.freeShare(Self.name(kept, of: claim), of: place.endNode)
    changes.openings.endNodes.insert(place.endNode)
  }

  private mutating func keepNothing(for state: inout ClaimState) {
    let name = state.claim.name
    upgrades.end(name)
    free(state.claim.status?.upgrade?.better, as: .better, of: name)
    free(state.claim.status?.upgrade?.former, as: .former, of: name)
    state.withStatus {
      $0.upgrade?.better = nil
      $0.upgrade?.former = nil
    }
  }

  /// Its function is gone, and its place is not yet anybody else's.
  mutating func keepPlace(of assignment: Assignment) {
    guard upgrades.underWay.contains(assignment.claim), let state = claims[assignment.claim],
      state.assignment?.function == assignment.function, let former = state.claim.status?.upgrade?.former,
      former == KeptPlace(of: assignment)
    else { return }
    keep(former, as: .former, for: state)
  }

  /// It waits again, and nobody comes between: what was kept for it is free for it alone.
  mutating func carryOnUpgrade(of name: String, on host: String) {
    guard upgrades.underWay.contains(name), var state = claims[name] else { return }
    let upgrade = state.claim.status?.upgrade
    free(upgrade?.better, as: .better, of: name)
    free(upgrade?.former, as: .former, of: name)
    var here = state.specification.used(on: host)
    (here.hosts, here.hostSelector) = ([], "")
    let best = best(for: here) ?? best(for: state.specification)
    _ = place(&state, in: best)
    if state.phase != .pending { stopWaiting(state) }
    state.withStatus { $0.upgrade?.better = nil }
    if let assignment = state.assignment, KeptPlace(of: assignment) != upgrade?.former {
      keep(upgrade?.former, as: .former, for: state)
    } else {
      upgrades.end(name)
      state.withStatus { $0.upgrade?.former = nil }
    }
    put(&state)
  }

  /// Why placement has given it another function; empty where that was no upgrade.
  func wordsOfUpgrade(of state: ClaimState, to assignment: Assignment) -> String {
    guard let upgrade = state.claim.status?.upgrade, let better = upgrade.better, let former = upgrade.former else {
      return ""
    }
    let paths = state.specification.paths
    let isBetter = paths.firstIndex(of: assignment.path) ?? .max < paths.firstIndex(of: former.path) ?? .max
    return isBetter
      ? "it was upgraded from the path \(former.path.word)"
      : "it was to be upgraded to the path \(better.path.word), which was not free any more"
  }

  /// It is in use where it went to.
  mutating func noteReady(_ state: inout ClaimState) {
    if upgrades.underWay.contains(state.claim.name) { keepNothing(for: &state) }
    if wantsUpgrade(state) { upgrades.want(state.claim.name) }
  }

  /// What was kept for it is kept on.
  mutating func restoreUpgrade(of state: ClaimState) {
    if state.phase == .ready, wantsUpgrade(state) { upgrades.want(state.claim.name) }
    guard let upgrade = state.claim.status?.upgrade, upgrade.better != nil || upgrade.former != nil else { return }
    upgrades.begin(state.claim.name, at: nil)
    keep(upgrade.better, as: .better, for: state)
    // Until its function is gone that has the place itself.
    guard state.controlling == nil || state.assignment.map(KeptPlace.init) != upgrade.former else { return }
    keep(upgrade.former, as: .former, for: state)
  }

  mutating func forgetUpgrade(of state: ClaimState) {
    guard state.claim.status?.upgrade != nil else { return }
    var state = state
    if upgrades.underWay.contains(state.claim.name) { keepNothing(for: &state) }
    upgrades.forget(state.claim.name)
  }
}

extension KeptPlace {
  fileprivate init(of assignment: Assignment) {
    self.init()
    endNode = assignment.endNode
    path = assignment.path
  }
}

// MARK: - What is said of it

extension Arbiter {
  /// Whether a claim wants a better path, and what it waits for; empty where it does not.
  func upgradeWords(of state: ClaimState, at now: Instant?) -> String {
    guard state.specification.upgrade, state.phase != .pending, state.phase != .releasing else { return "" }
    if let better = state.claim.status?.upgrade?.better {
      let name = endNodes[better.endNode]?.record.name ?? better.endNode
      return
        "it is on its way to \(name) by the path \(better.path.word), and its former place is kept until it is there"
    }
    guard let path = state.assignment?.path, wantsUpgrade(state) else { return "" }
    let specification = asked(byUpgradeOf: state)
    let wish =
      "it has the path \(path.word) and wants a better one (\(specification.allowedPaths.map(\.word).joined(separator: " or ")))"
    var view = PlacementView(of: specification)
    view.look(self)
    guard let option = view.options.first else { return "\(wish); \(whatUpgradeWaitsFor(view))" }
    let name = option.candidate.record.name
    let left = now.map { millisecondsToRest(state, at: $0) } ?? 0
    guard left == 0 else {
      return
        "\(wish); \(name) is free, and it goes there in \((left + 999) / 1000) seconds: the last upgrade was not long ago"
    }
    if let drop = obstacle(ofQuotaOfMoving: state) { return "\(wish); \(name) is free, and \(drop.message)" }
    guard canLetGo(state) else { return "\(wish); \(name) is free, and a host that has its function is disconnected" }
    guard state.phase == .ready else { return "\(wish); \(name) is free, and it goes there once it is ready" }
    return "\(wish); \(name) is free, and it goes there at its turn"
  }

  private func whatUpgradeWaitsFor(_ view: PlacementView) -> String {
    guard let nearest = view.nearest.first, let drop = nearest.drops.first else { return "there is no end node for it" }
    return "it waits for this to change: \(drop.message)"
  }

  /// From now on, or no more; what is under way goes on.
  mutating func setUpgrade(of name: String, _ isWanted: Bool) -> Claim? {
    guard var state = claims[name] else { return nil }
    state.claim.specification?.upgrade = isWanted
    put(&state)
    // Also if it is taken back: what wants nothing is found out when its turn comes.
    if state.phase == .ready, wantsUpgrade(state) { upgrades.want(name) }
    return claims[name]?.claim
  }

  func validateUpgrade(_ specification: ClaimSpecification) throws(Refusal) {
    guard specification.upgrade else { return }
    guard specification.group.isEmpty else {
      throw Refusal(
        .invalidArgument,
        "the members of group '\(specification.group)' would all be taken down for one to get a better path: they cannot ask for an upgrade"
      )
    }
    guard specification.paths.count > 1 else {
      throw Refusal(
        .invalidArgument,
        "an upgrade is asked for, and the claim allows one path alone: allow several, in order of preference")
    }
    guard specification.evictionPolicy != .never else {
      throw Refusal(
        .invalidArgument,
        "an upgrade takes the function away for a better one, and the claim says that it is never to be taken away: leave one of both out"
      )
    }
  }
}
