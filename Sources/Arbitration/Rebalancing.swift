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
    let nodes = endNodes.ids(ofClass: deviceClass).filter { id in
      endNodes[id].map { hosts[$0.controllingHost] != nil } ?? false
    }
    var counts = Dictionary(uniqueKeysWithValues: nodes.map { ($0, endNodes[$0]?.shares.count ?? 0) })
    var movable: [String: [String]] = [:]
    for id in nodes { movable[id] = movableClaims(of: id) }
    var moves: [PlannedMove] = []
    while moves.count < limit, let move = nextMove(nodes, counts, movable) {
      counts[move.from, default: 0] -= 1
      counts[move.to, default: 0] += 1
      movable[move.from]?.removeAll { $0 == move.claim }
      moves.append(move)
    }
    let loads = nodes.compactMap { endNodes[$0] }.map { node in
      EndNodeLoad {
        $0.endNode = node.record.id
        $0.name = node.record.name
        $0.functions = UInt32(clamping: node.shares.count)
        $0.functionsAfter = UInt32(clamping: counts[node.record.id] ?? 0)
      }
    }
    let fewest = nodes.filter { endNodes[$0]?.room != nil }.compactMap { counts[$0] }.min()
    let fixed = nodes.compactMap { counts[$0] }.map { $0 - (fewest ?? $0) - 1 }.filter { $0 > 0 }.reduce(0, +)
    return (moves, loads.sorted { ($0.name, $0.endNode) < ($1.name, $1.endNode) }, fixed)
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
  private mutating func nextMove(
    _ nodes: [String], _ counts: [String: Int], _ movable: [String: [String]]
  ) -> PlannedMove? {
    let full = nodes.filter { movable[$0]?.isEmpty == false }.sorted { (counts[$1] ?? 0, $0) < (counts[$0] ?? 0, $1) }
    let open = nodes.filter { endNodes[$0]?.room != nil }.sorted { (counts[$0] ?? 0, $0) < (counts[$1] ?? 0, $1) }
    for from in full {
      for to in open where (counts[to] ?? 0) + 1 < counts[from] ?? 0 {
        let limit = Int(endNodes[to]?.record.capacity?.functions ?? 0)
        guard limit == 0 || counts[to] ?? 0 < limit else { continue }
        if let claim = (movable[from] ?? []).first(where: { canMove($0, to: to) }) {
          return PlannedMove(claim: claim, from: from, to: to)
        }
      }
    }
    return nil
  }

  /// By a path that it prefers no less than the one that it has.
  private mutating func canMove(_ name: String, to id: String) -> Bool {
    guard let state = claims[name], let assignment = state.assignment else { return false }
    let specification = state.specification.used(alsoOn: assignment.host)
    guard let best = best(for: specification), let node = endNodes[id], isSelected(node, by: specification),
      let candidate = try? candidate(node, for: specification), candidate.route.path == best.route.path,
      // Placement looks at the load last.
      candidate.rank.isAsGood(as: best.rank)
    else { return false }
    let preference = state.specification.paths.firstIndex(of: assignment.path) ?? 0
    return candidate.preference <= preference
  }
}
