import Messages

/// What becomes free of one end node is kept for a claim that waits by itself, until that is enough for it.
struct ClaimTurn: Sendable {
  var claim: String
  var place: KeptPlace
  /// The fewest functions that there were beside it.
  var fewest: Int
  /// On the arbiter's monotonic clock. Until then it may go without less being in its way.
  var until: UInt64
  /// It has been in vain, and until then no other claim has its turn.
  var isOver = false
  /// At which revision it last looked.
  var seen: UInt64 = 0
}

/// What is known of one that is among the first to be served.
struct NextInOrder: Sendable {
  /// On the arbiter's monotonic clock: when it was looked at, or had its turn.
  var since: UInt64
  /// There are end nodes of which it waits for more than the next function that goes.
  var isShort: Bool
  /// Those of which something was kept for it, in vain.
  var tried: [String] = []
}

/// A claim may need more of one end node than becomes free there at once, and smaller ones behind it would take every piece. So one that
/// has been among the first by priority, share and age for long has its turn: it is found the end node with the fewest functions on which
/// it would fit if none of them were there, and what becomes free of that is kept for it, as if others had let go of it. One of a class
/// has its turn at a time, and none while a group has one; whoever has had fewer in vain comes first. A coordinator that begins anew
/// begins anew with this, too.
extension Arbiter {
  /// Of those that are the first to be served.
  private static var mostConsidered: Int { 256 }
  /// In end nodes.
  private static var mostLookedAt: Int { 4096 }
  /// Of the end nodes that were tried for one.
  private static var mostRemembered: Int { 16 }

  mutating func takeClaimTurns(at now: Instant) {
    for deviceClass in waiting.keys.sorted() {
      if let turn = claimTurns[deviceClass] {
        carryOn(turn, ofClass: deviceClass, at: now)
      } else if entryOfTurn(ofClass: deviceClass) == nil, let name = nextDue(ofClass: deviceClass, at: now) {
        beginTurn(of: name, ofClass: deviceClass, at: now)
      }
    }
  }

  private mutating func nextDue(ofClass deviceClass: String, at now: Instant) -> String? {
    var serving = Serving()
    var hasLooked = false
    var due: (name: String, turns: Int)?
    for _ in 0..<Self.mostConsidered {
      guard let name = nextServed(&serving, ofClass: deviceClass, nil)?.name else { break }
      // Groups have turns of their own, of what a claim is to be a part of there is one, and what others let go of is kept already.
      guard let state = claims[name], state.specification.group.isEmpty, state.specification.source.isEmpty,
        state.claim.status?.preemption == nil
      else { continue }
      let known = nextInOrder[name]
      let age = known.map { now.monotonicMilliseconds - min(now.monotonicMilliseconds, $0.since) } ?? 0
      if let known, known.isShort {
        if age >= settings.turnMilliseconds, known.tried.count < due?.turns ?? .max { due = (name, known.tried.count) }
      } else if !hasLooked, known == nil || age >= settings.turnMilliseconds {
        // One look at a time.
        hasLooked = true
        let isShort = emptiest(for: state.specification, tried: []) != nil
        nextInOrder[name] = NextInOrder(since: now.monotonicMilliseconds, isShort: isShort)
      }
    }
    return due?.name
  }

  private mutating func beginTurn(of name: String, ofClass deviceClass: String, at now: Instant) {
    guard let specification = claims[name]?.specification, let known = nextInOrder[name] else { return }
    guard let (place, functions) = emptiest(for: specification, tried: known.tried) else {
      nextInOrder[name] = NextInOrder(since: now.monotonicMilliseconds, isShort: false)
      return
    }
    claimTurns[deviceClass] = ClaimTurn(
      claim: name, place: place, fewest: functions, until: now.monotonicMilliseconds + settings.turnMilliseconds)
    self.place(name)
  }

  private mutating func carryOn(_ turn: ClaimTurn, ofClass deviceClass: String, at now: Instant) {
    if turn.until <= now.monotonicMilliseconds {
      if turn.isOver {
        claimTurns[deviceClass] = nil
        noteVain(turn, at: now)
      } else {
        endTurn(ofClass: deviceClass, at: now)
      }
    } else if !turn.isOver, turn.seen != cluster.revision {
      place(turn.claim)
    }
  }

  private mutating func noteVain(_ turn: ClaimTurn, at now: Instant) {
    var tried = nextInOrder[turn.claim]?.tried ?? []
    tried = (tried + [turn.place.endNode]).suffix(Self.mostRemembered)
    nextInOrder[turn.claim] = NextInOrder(since: now.monotonicMilliseconds, isShort: true, tried: tried)
  }

  private mutating func endTurn(ofClass deviceClass: String, at now: Instant) {
    guard let turn = claimTurns[deviceClass] else { return }
    keepNothing(in: turn)
    claimTurns[deviceClass]?.isOver = true
    claimTurns[deviceClass]?.until = now.monotonicMilliseconds + settings.turnMilliseconds
    // It says so.
    changes.openings.claims.insert(turn.claim)
  }

  /// It waits no more.
  mutating func forgetTurn(of state: ClaimState) {
    let name = state.claim.name
    if !nextInOrder.isEmpty { nextInOrder[name] = nil }
    guard !claimTurns.isEmpty, let turn = claimTurns[state.specification.deviceClass], turn.claim == name else {
      return
    }
    claimTurns[state.specification.deviceClass] = nil
    if !turn.isOver { keepNothing(in: turn) }
  }

  /// The turn that it has.
  func turn(of state: ClaimState) -> ClaimTurn? {
    guard !claimTurns.isEmpty, let turn = claimTurns[state.specification.deviceClass] else { return nil }
    return turn.claim == state.claim.name && !turn.isOver ? turn : nil
  }

  /// The claims that have their turn.
  package var claimsWithTurn: Set<String> { Set(claimTurns.values.filter { !$0.isOver }.map(\.claim)) }

  // MARK: What is kept

  /// Of the end node that it was found, as long as it would fit there. What was kept before was set aside.
  mutating func keepPlace(inTurnOf name: String) {
    guard !claimTurns.isEmpty, let state = claims[name], state.phase == .pending, let turn = turn(of: state), let now
    else { return }
    let deviceClass = state.specification.deviceClass
    // What others let go of for it may be elsewhere, and is kept already.
    guard state.claim.status?.preemption == nil, obstacle(ofQuotaOf: state.specification) == nil,
      let node = endNodes[turn.place.endNode],
      isOpen(node),
      (try? candidate(node.emptied, for: state.specification, on: choiceOfTurn(for: state.specification))) != nil
    else { return endTurn(ofClass: deviceClass, at: now) }
    nominations[turn.place.endNode, default: []].append(
      Nomination(
        claim: name, priority: state.specification.priority, tenantClass: state.specification.tenantClass,
        endNode: turn.place.endNode, share: share(of: state.specification, on: node, by: turn.place.path), victims: [],
        hasTurn: true))
    let until = now.monotonicMilliseconds + settings.turnMilliseconds
    let (count, revision) = (node.shares.count, cluster.revision)
    _ = claimTurns.change(deviceClass) { turn in
      turn.seen = revision
      guard count < turn.fewest else { return }
      (turn.fewest, turn.until) = (count, until)
    }
  }

  private mutating func keepNothing(in turn: ClaimTurn) {
    let id = turn.place.endNode
    // What others let go of for it is kept on.
    nominations[id]?.removeAll { $0.claim == turn.claim && $0.hasTurn }
    if nominations[id]?.isEmpty ?? false { nominations[id] = nil }
    noteFreed([id])
    // It counted in its tenant's quota.
    if let key = claims[turn.claim]?.specification.tenantClass, quota(of: key) != nil {
      changes.openings.tenants.insert(key)
    }
  }

  func reasonOfTurn(of state: ClaimState) -> [PendingReason] {
    guard let turn = turn(of: state) else { return [] }
    let name = endNodes[turn.place.endNode]?.record.name ?? turn.place.endNode
    return [
      PendingReason {
        $0.filter = "turn"
        $0.message = "what becomes free of \(name) is kept for it, which has waited longest"
      }
    ]
  }

  // MARK: Where

  private func choiceOfTurn(for specification: ClaimSpecification) -> HostChoice {
    choice(for: specification, atMost: Self.mostExplained)
  }

  /// Of those where it would fit if there were no functions the one with the fewest, or that was tried longest ago if all were. Nil also
  /// where the next function that goes will do, as that is anybody's in the order of all.
  private mutating func emptiest(
    for specification: ClaimSpecification, tried: [String]
  ) -> (place: KeptPlace, functions: Int)? {
    noteServedClasses()
    guard obstacle(ofQuotaOf: specification) == nil, isHostOpen(to: specification) else { return nil }
    let choice = choiceOfTurn(for: specification)
    var best: (place: KeptPlace, tried: Int, functions: Int)?
    for node in nodesOfTurn(for: specification, on: choice) where isSelected(node, by: specification) && isOpen(node) {
      var withFreeFunction = node
      withFreeFunction.record.capacity?.functions = 0
      guard (try? candidate(withFreeFunction, for: specification, on: choice)) == nil else { return nil }
      let (last, functions) = (tried.lastIndex(of: node.record.id) ?? -1, node.shares.count)
      guard (last, functions) < best.map({ ($0.tried, $0.functions) }) ?? (.max, .max),
        let candidate = try? candidate(node.emptied, for: specification, on: choice)
      else { continue }
      best = (KeptPlace(candidate), last, functions)
    }
    return best.map { ($0.place, $0.functions) }
  }

  /// What it names, or its hosts have, comes first. Of very many others not all are looked at, and other ones each time.
  private func nodesOfTurn(for specification: ClaimSpecification, on choice: HostChoice) -> some Sequence<EndNodeState>
  {
    let own = fewCandidates(for: specification).map(Array.init) ?? ids(atHostsOf: choice)
    let all = Array(candidates(for: specification))
    let first = all.count > Self.mostLookedAt ? Int((now?.monotonicMilliseconds ?? 0) % UInt64(all.count)) : 0
    let ids = own.prefix(Self.mostLookedAt) + (all.dropFirst(first) + all.prefix(first)).prefix(Self.mostLookedAt)
    return ids.filter { isCandidate($0, for: specification) }.compactMap { endNodes[$0] }
  }
}
