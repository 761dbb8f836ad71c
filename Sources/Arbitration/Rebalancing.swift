import Messages

/// Moves that somebody asked for, of one class.
struct Rebalancing: Sendable {
  var movesLeft: Int
  /// The claim that is on its way, and when it set out.
  var current: (claim: String, since: UInt64)?
}

/// One move that is to be made.
private struct PlannedMove {
  var claim: String
  var from: String
  var to: String
}

/// Evens out how many functions the end nodes of a class have in use, with the claims that allow it. Each move takes one from the
/// fullest end node that has one to give to the emptiest that can take it, so that no fewer would do; it is carried out by evicting
/// the claim, whose next function placement then gives where the least is in use.
extension Arbiter {
  private static var mostMoves: Int { 1000 }
  /// In one plan, and for one end node: a step counts as one, to compare a claim with an end node as eight, and to find the best for a
  /// claim as 64.
  private static var mostLooks: Int { 262_144 }
  private static var mostLooksForOne: Int { 16_384 }
  /// A claim that is not ready by then will not be soon: whatever is wrong is not made worse.
  private static var patienceMilliseconds: UInt64 { 120_000 }

  mutating func rebalance(_ request: RebalanceRequest, at now: Instant) throws(Refusal) -> RebalanceAnswer {
    let deviceClass = request.deviceClass
    guard !endNodes.ids(ofClass: deviceClass).isEmpty else {
      throw Refusal(
        .notFound,
        "there is no end node of class '\(Names.shown(deviceClass))'"
          + Names.suggestion(for: deviceClass, among: Array(endNodes.classes), of: "classes"))
    }
    let (moves, loads, fixed) = planRebalance(ofClass: deviceClass)
    if request.stop { rebalancings[deviceClass] = nil }
    if !request.planOnly, !request.stop, !moves.isEmpty {
      // Who asks again while one is on its way waits for that one, too.
      let current = rebalancings[deviceClass]?.current
      rebalancings[deviceClass] = Rebalancing(movesLeft: moves.count, current: current)
      carryOnRebalancing(ofClass: deviceClass, at: now)
    }
    return RebalanceAnswer {
      $0.moves = moves.map { move in
        Move {
          $0.claim = move.claim
          $0.fromEndNode = move.from
          $0.toEndNode = move.to
        }
      }
      $0.running = rebalancings[deviceClass] != nil
      $0.loads = loads
      $0.fixed = UInt32(clamping: fixed)
    }
  }

  mutating func carryOnRebalancings(at now: Instant) {
    for deviceClass in rebalancings.keys.sorted() { carryOnRebalancing(ofClass: deviceClass, at: now) }
  }

  private mutating func carryOnRebalancing(ofClass deviceClass: String, at now: Instant) {
    guard var rebalancing = rebalancings[deviceClass] else { return }
    if let (name, since) = rebalancing.current, let state = claims[name], state.phase != .ready {
      let isOver = now.monotonicMilliseconds - min(since, now.monotonicMilliseconds) >= Self.patienceMilliseconds
      if isOver { rebalancings[deviceClass] = nil }
      return
    }
    guard rebalancing.movesLeft > 0, let move = planRebalance(ofClass: deviceClass, limit: 1).moves.first else {
      rebalancings[deviceClass] = nil
      return
    }
    rebalancing.movesLeft -= 1
    rebalancing.current = (move.claim, now.monotonicMilliseconds)
    rebalancings[deviceClass] = rebalancing
    let (from, to) = (endNodes[move.from]?.record.name ?? move.from, endNodes[move.to]?.record.name ?? move.to)
    evict(move.claim, because: "\(from) has more to do than \(to)")
  }

  private mutating func planRebalance(
    ofClass deviceClass: String, limit: Int = Arbiter.mostMoves
  ) -> (moves: [PlannedMove], loads: [EndNodeLoad], fixed: Int) {
    let ids = endNodes.ids(ofClass: deviceClass).filter { id in
      endNodes[id].map { hosts[$0.controllingHost] != nil } ?? false
    }
    var plan = RebalancePlan(ids.compactMap { endNodes[$0] }, looks: Self.mostLooks)
    while plan.moves.count < limit, let move = nextMove(&plan) { plan.take(move) }
    let loads = ids.compactMap { endNodes[$0] }.map { node in
      EndNodeLoad {
        $0.endNode = node.record.id
        $0.name = node.record.name
        $0.functions = UInt32(clamping: node.shares.count)
        $0.functionsAfter = UInt32(clamping: plan.counts[node.record.id] ?? 0)
      }
    }
    let fewest = plan.open.first(after: nil)?.count
    // Of those that were not looked at nobody knows.
    let fixed =
      plan.looks > 0 ? plan.counts.values.map { $0 - (fewest ?? $0) - 1 }.filter { $0 > 0 }.reduce(0, +) : 0
    return (plan.moves, loads.sorted { ($0.name, $0.endNode) < ($1.name, $1.endNode) }, fixed)
  }

  /// Those that allow it, by name.
  private func movableClaims(of id: String) -> [String] {
    (endNodes[id]?.shares.keys).map { shares in
      shares.compactMap { claimOfFunction[$0] }.filter { name in
        // A whole group would be taken down to move one.
        claims[name].map { !$0.hasGroup && isMovable($0) } ?? false
      }.sorted()
    } ?? []
  }

  private func isMovable(_ state: ClaimState) -> Bool {
    // What is to be packed would go back to where it is.
    state.phase == .ready && policy(of: state) == .anyTime && state.specification.placement?.rule != .pack
  }

  /// From the fullest end node that can give to the emptiest that can take.
  private mutating func nextMove(_ plan: inout RebalancePlan) -> PlannedMove? {
    while plan.looks > 0, let from = plan.full.first(after: nil) {
      let claims = plan.movable[from.id] ?? movableClaims(of: from.id).compactMap { wish(of: $0, &plan) }
      plan.movable[from.id] = claims
      if let (index, to) = firstMove(of: claims, from, &plan) {
        plan.movable[from.id]?.remove(at: index)
        return PlannedMove(claim: claims[index].name, from: from.id, to: to)
      }
      plan.setAside(from, isForGood: claims.isEmpty)
    }
    return nil
  }

  private func firstMove(
    of claims: [RebalancePlan.Wish], _ from: RebalancePlan.Load, _ plan: inout RebalancePlan
  ) -> (index: Int, to: String)? {
    guard !claims.isEmpty else { return nil }
    let last = max(0, plan.looks - Self.mostLooksForOne)
    for to in plan.open where plan.looks > last {
      guard to.count + 1 < -from.count else { return nil }
      let limit = Int(endNodes[to.id]?.record.capacity?.functions ?? 0)
      guard limit == 0 || to.count < limit else { continue }
      plan.looks -= claims.count
      if let index = claims.indices.first(where: { canMove(claims[$0], to: to.id, &plan.looks) }) {
        return (index, to.id)
      }
    }
    return nil
  }

  /// What a claim would get now, if it may be moved and that is no worse than what it has.
  private mutating func wish(of name: String, _ plan: inout RebalancePlan) -> RebalancePlan.Wish? {
    guard plan.looks > 0, let state = claims[name], let assignment = state.assignment,
      obstacle(ofQuotaOfMoving: state) == nil
    else { return nil }
    plan.looks -= 64
    let specification = state.specification.used(alsoOn: assignment.host)
    let preference = state.specification.paths.firstIndex(of: assignment.path) ?? 0
    guard let best = best(for: specification), best.preference <= preference else { return nil }
    return RebalancePlan.Wish(name: name, specification: specification, best: best)
  }

  /// By the same path as the best that it could have. Placement looks at the load last.
  private func canMove(_ wish: RebalancePlan.Wish, to id: String, _ looks: inout Int) -> Bool {
    guard let node = endNodes[id], wish.best.route.path == .mediated || node.isOwn(wish.specification.host) else {
      return false
    }
    looks -= 8
    guard isSelected(node, by: wish.specification),
      let candidate = try? candidate(node, for: wish.specification)
    else { return false }
    return candidate.route.path == wish.best.route.path && candidate.rank.isAsGood(as: wish.best.rank)
  }
}

/// How the end nodes of a class stand once moves are made.
private struct RebalancePlan {
  struct Load: Comparable, Sendable {
    var count: Int
    var id: String

    static func < (one: Load, other: Load) -> Bool { (one.count, one.id) < (other.count, other.id) }
  }

  /// A claim that may be moved.
  struct Wish {
    var name: String
    var specification: ClaimSpecification
    var best: Candidate
  }

  private(set) var counts: [String: Int] = [:]
  /// Those that may have something to give, the fullest first: by what they have, negative.
  private(set) var full = OrderedSet<Load>()
  /// Those with room, the emptiest first.
  private(set) var open = OrderedSet<Load>()
  /// Of end nodes that were looked at: what they have to give, by name.
  var movable: [String: [Wish]] = [:]
  private(set) var moves: [PlannedMove] = []
  /// How much may still be looked at.
  var looks: Int
  /// Those that have something to give, and had nowhere to give it.
  private var stuck: Set<String> = []

  init(_ nodes: [EndNodeState], looks: Int) {
    self.looks = looks
    for node in nodes {
      let load = Load(count: node.shares.count, id: node.record.id)
      counts[load.id] = load.count
      if load.count > 0 { full.insert(Load(count: -load.count, id: load.id)) }
      if node.opening.room != nil { open.insert(load) }
    }
  }

  mutating func take(_ move: PlannedMove) {
    moves.append(move)
    add(-1, to: move.from)
    add(1, to: move.to)
    // What has less now may take something of others.
    guard !stuck.isEmpty, let count = counts[move.from], open.contains(Load(count: count, id: move.from)) else {
      return
    }
    looks -= stuck.count
    for id in stuck where count + 1 < counts[id] ?? 0 {
      stuck.remove(id)
      full.insert(Load(count: -(counts[id] ?? 0), id: id))
    }
  }

  /// - Parameter isForGood: it has nothing to give.
  mutating func setAside(_ from: Load, isForGood: Bool) {
    full.remove(from)
    if !isForGood { stuck.insert(from.id) }
  }

  private mutating func add(_ difference: Int, to id: String) {
    let before = counts[id] ?? 0
    let after = before + difference
    counts[id] = after
    if full.remove(Load(count: -before, id: id)) { full.insert(Load(count: -after, id: id)) }
    if open.remove(Load(count: before, id: id)) { open.insert(Load(count: after, id: id)) }
  }
}
