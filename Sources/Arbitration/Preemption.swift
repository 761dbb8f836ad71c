import Messages

/// What others let go of for a claim that waits. Nobody of its priority, or of a lower one, is given it meanwhile.
struct Nomination: Sendable {
  var claim: String
  var priority: Int32
  var tenantClass: TenantClass
  var endNode: String
  /// What the claim will take of the end node.
  var share: Share
  /// Those that let go.
  var victims: [String]
}

/// Which claims would have to let go for another one, and what that one would get.
private struct Sacrifice {
  /// By name.
  var victims: [String]
  /// The highest first.
  var priorities: [Int32]
  var candidate: Candidate

  /// The fewest, then the lowest ones, then the better place.
  static func isBetter(_ one: Sacrifice, _ other: Sacrifice) -> Bool {
    guard one.victims.count == other.victims.count else { return one.victims.count < other.victims.count }
    guard one.priorities == other.priorities else { return one.priorities.lexicographicallyPrecedes(other.priorities) }
    return Candidate.isBetter(one.candidate, other.candidate)
  }
}

/// A claim that may have to let go.
private struct Holder {
  var name: String
  var priority: Int32
  var assignment: Assignment
  /// The youngest has had it for the shortest time.
  var age: (Int64, Int32, String)

  /// In which order they are taken where any of them would do.
  static func comesFirst(_ one: Holder, _ other: Holder) -> Bool {
    one.priority == other.priority ? one.age > other.age : one.priority < other.priority
  }

  /// The first one is the one that gives most.
  static func givesMore(_ one: Holder, _ other: Holder) -> Bool {
    let (mine, theirs) = (one.assignment.share, other.assignment.share)
    let amount = { (share: Share) in
      [share.rates.bitsPerSecond, share.rates.bytesPerSecond, share.rates.operationsPerSecond, share.sizeBytes]
    }
    guard amount(mine) == amount(theirs) else { return amount(theirs).lexicographicallyPrecedes(amount(mine)) }
    return comesFirst(one, other)
  }
}

/// A claim that nothing fits has others of strictly lower priorities let go of what they have. They do so as by any eviction; what they
/// had is kept for it until it has it, and a claim of yet higher priority may take it before.
extension Arbiter {
  /// Has others let go, if there are such. Once in an event, so that whatever comes of it does so later.
  mutating func preempt(for state: inout ClaimState) {
    let specification = state.specification
    guard specification.preemption != .never, specification.source.isEmpty,
      !changes.preemptors.contains(state.claim.name), let sacrifice = sacrifice(for: specification)
    else { return }
    changes.preemptors.insert(state.claim.name)
    let (id, path) = (sacrifice.candidate.node.record.id, sacrifice.candidate.route.path)
    state.withStatus {
      $0.preemption = Preemption {
        $0.endNode = id
        $0.path = path
        $0.claims = sacrifice.victims
        $0.since = now?.timestamp
      }
    }
    nominate(state)
    let (name, priority) = (state.claim.name, specification.priority)
    for victim in sacrifice.victims {
      let own = claims[victim]?.specification.priority ?? 0
      evict(victim, because: "claim '\(name)' of priority \(priority) needs it, and its own is \(own)")
    }
  }

  func validate(_ policy: PreemptionPolicy) throws(Refusal) {
    // One of a later version must not be taken for one that takes something away.
    guard case .unrecognized(let number) = policy else { return }
    throw Refusal(
      .invalidArgument, "the preemption policy number \(number) is not known; known ones: LOWER_PRIORITY, NEVER")
  }

  // MARK: What is kept

  mutating func nominate(_ state: ClaimState) {
    guard let nomination = nomination(of: state) else { return }
    nominations[nomination.endNode, default: []].append(nomination)
  }

  private func nomination(of state: ClaimState) -> Nomination? {
    guard let preemption = state.claim.status?.preemption, let node = endNodes[preemption.endNode] else { return nil }
    var assignment = Assignment()
    assignment.path = preemption.path
    assignment.attributes = state.specification.attributes
    if node.isBlockDevice, assignment.attributes?.block?.sizeBytes == nil {
      var block = assignment.attributes?.block ?? BlockAttributes()
      block.sizeBytes = node.sizeBytes
      assignment.attributes = assignment.attributes ?? Attributes()
      assignment.attributes?.block = block
    }
    return Nomination(
      claim: state.claim.name, priority: state.specification.priority, tenantClass: state.specification.tenantClass,
      endNode: preemption.endNode,
      share: assignment.share, victims: preemption.claims)
  }

  /// Nothing is kept for it for the moment: it may take that itself.
  mutating func setNominationAside(of state: ClaimState) {
    guard let id = state.claim.status?.preemption?.endNode else { return }
    nominations[id]?.removeAll { $0.claim == state.claim.name }
    if nominations[id]?.isEmpty ?? false { nominations[id] = nil }
  }

  /// Nothing is kept for it any more, so that others may have it.
  mutating func endNomination(of state: inout ClaimState) {
    guard let id = state.claim.status?.preemption?.endNode else { return }
    setNominationAside(of: state)
    state.withStatus { $0.preemption = nil }
    changes.openings.endNodes.insert(id)
  }

  /// Those that have yet to let go for a claim.
  func victimsOnTheirWay(for state: ClaimState) -> [String] {
    guard let preemption = state.claim.status?.preemption, let node = endNodes[preemption.endNode] else { return [] }
    return preemption.claims.filter { isOnItsWay($0, from: node) }
  }

  func reasonOfPreemption(of state: ClaimState) -> [PendingReason] {
    let victims = victimsOnTheirWay(for: state)
    guard let id = state.claim.status?.preemption?.endNode, !victims.isEmpty else { return [] }
    return [.preemption(victims, of: endNodes[id]?.record.name ?? id)]
  }

  private func isOnItsWay(_ victim: String, from node: EndNodeState) -> Bool {
    guard let state = claims[victim], let assignment = state.assignment, assignment.endNode == node.record.id,
      state.phase == .reclaiming || state.phase == .releasing
    else { return false }
    return node.shares[assignment.function] != nil
  }

  /// Whether enough is left for those for whom others let go of it.
  func checkKept(in node: EndNodeState, for specification: ClaimSpecification, by path: Path) throws(Drop) {
    guard !nominations.isEmpty else { return }
    let kept = (nominations[node.record.id] ?? []).filter { $0.priority >= specification.priority }
    guard let first = kept.first else { return }
    let drop = Drop(
      .priority,
      "what is free of \(node.record.name) is kept for '\(first.claim)' of priority \(first.priority), for which others let go of it"
    )
    // Where it will lie is not known yet.
    guard !node.isBlockDevice else { throw drop }
    var later = node
    for nomination in kept {
      for victim in nomination.victims where isOnItsWay(victim, from: node) {
        if let function = claims[victim]?.assignment?.function { later.freeShare(function) }
      }
      later.takeShare("kept for \(nomination.claim)", nomination.share)
    }
    do throws(Drop) {
      try checkRoom(on: later.offer(on: path), in: later)
      try checkRoom(in: later, for: specification)
    } catch { throw drop }
  }

  // MARK: Who lets go

  /// The fewest claims, of the lowest priorities, without which it would be granted; nil if that would not help, or others let go
  /// of enough already.
  private mutating func sacrifice(for specification: ClaimSpecification) -> Sacrifice? {
    noteServedClasses()
    let choice = choice(for: specification)
    let (deviceClass, priority) = (specification.deviceClass, specification.priority)
    var best: Sacrifice?
    var seen: Set<String> = []
    let few = fewCandidates(for: specification).map { Set($0) }
    let own = few == nil ? Set(choice.hosts.flatMap { endNodes.ids(atHost: $0) }) : []
    // Those with a direct path come first, so that of equal ones they are taken.
    for isOwn in own.isEmpty ? [false] : [true, false] {
      for place in holders.places(ofClass: deviceClass, below: priority) {
        if let best, best.victims.count == 1, best.priorities[0] <= place.priority, !isOwn { break }
        guard few?.contains(place.endNode) ?? (!isOwn || own.contains(place.endNode)),
          seen.insert(place.endNode).inserted, let node = endNodes[place.endNode], !node.isServed,
          isInUse(node, insteadOf: specification, on: choice)
        else { continue }
        let left = node.without(letGoSoon(of: node))
        guard (try? candidate(left, for: specification, on: choice)) == nil else { return nil }
        guard let sacrifice = sacrifice(at: left, for: specification, on: choice) else { continue }
        if best.map({ Sacrifice.isBetter(sacrifice, $0) }) ?? true { best = sacrifice }
      }
    }
    return best
  }

  /// Whether nothing but what others have is in the way.
  private func isInUse(_ node: EndNodeState, insteadOf specification: ClaimSpecification, on choice: HostChoice) -> Bool
  {
    guard isSelected(node, by: specification) else { return false }
    do throws(Drop) { _ = try candidate(node, for: specification, on: choice) } catch { return error.filter >= .path }
    return true
  }

  private func sacrifice(
    at node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) -> Sacrifice? {
    let eligible = node.shares.keys.compactMap { holder(of: $0, below: specification.priority) }
    guard !eligible.isEmpty else { return nil }
    return sacrifice(of: eligible.sorted(by: Holder.comesFirst), of: node, for: specification, on: choice)
  }

  private func sacrifice(
    of eligible: [Holder], of node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) -> Sacrifice? {
    let others = { (gone: [Holder]) -> Candidate? in
      try? self.candidate(node.without(gone.map(\.assignment.function)), for: specification, on: choice)
    }
    var best: Sacrifice?
    for ceiling in Set(eligible.map(\.priority)).sorted() {
      let allowed = eligible.filter { $0.priority <= ceiling }
      guard let gone = fewest(of: allowed, leaving: others), let candidate = others(gone) else { continue }
      let sacrifice = Sacrifice(
        victims: gone.map(\.name).sorted(), priorities: gone.map(\.priority).sorted(by: >), candidate: candidate)
      if best.map({ Sacrifice.isBetter(sacrifice, $0) }) ?? true { best = sacrifice }
      if gone.count == 1 { break }
    }
    return best
  }

  /// One if one will do; else those that give most, less those that turn out not to be needed.
  private func fewest(of allowed: [Holder], leaving others: ([Holder]) -> Candidate?) -> [Holder]? {
    guard others(allowed) != nil else { return nil }
    if let one = allowed.first(where: { others([$0]) != nil }) { return [one] }
    var gone: [Holder] = []
    for holder in allowed.sorted(by: Holder.givesMore) {
      gone.append(holder)
      if gone.count > 1, others(gone) != nil { break }
    }
    for holder in gone.sorted(by: { Holder.comesFirst($1, $0) }) where gone.count > 1 {
      let without = gone.filter { $0.name != holder.name }
      if others(without) != nil { gone = without }
    }
    return gone
  }

  private func holder(of function: String, below priority: Int32) -> Holder? {
    guard let state = claimOfFunction[function].flatMap({ claims[$0] }), let assignment = state.assignment,
      mayBePreempted(state, by: priority)
    else { return nil }
    let created = state.claim.created ?? Timestamp()
    return Holder(
      name: state.claim.name, priority: state.specification.priority, assignment: assignment,
      age: (created.seconds, created.nanoseconds, state.claim.uid))
  }

  /// With all that is from it.
  private func mayBePreempted(_ state: ClaimState, by priority: Int32) -> Bool {
    guard state.phase == .preparing || state.phase == .ready, state.specification.priority < priority,
      policy(of: state) != .never
    else { return false }
    return claims(from: state.claim.name).filter { $0.assignment?.endNode == state.assignment?.function }.allSatisfy {
      mayBePreempted($0, by: priority)
    }
  }

  /// What hosts that are there are letting go of already, and will be free without anybody's doing.
  private func letGoSoon(of node: EndNodeState) -> [String] {
    node.shares.keys.filter { function in
      guard let state = claimOfFunction[function].flatMap({ claims[$0] }), state.claim.status?.error == nil,
        state.phase == .reclaiming || state.phase == .releasing
      else { return false }
      return [state.controlling, state.consumer].compactMap { $0 }.allSatisfy { hosts[$0.host]?.isConnected ?? false }
    }
  }
}

extension EndNodeState {
  fileprivate func without(_ functions: [String]) -> EndNodeState {
    guard !functions.isEmpty else { return self }
    var node = self
    for function in functions { node.freeShare(function) }
    return node
  }
}

extension ClaimSpecification {
  /// Whether what it holds may have to be let go of for others at all.
  func isPreemptible(with assignment: Assignment) -> Bool {
    switch evictionPolicy {
    case .never: false
    case .unspecified: !assignment.holdsData
    default: true
    }
  }
}

extension PendingReason {
  fileprivate static func preemption(_ victims: [String], of node: String) -> PendingReason {
    PendingReason {
      $0.filter = "preemption"
      $0.message =
        "\(Names.list(victims.map { "'\($0)'" })) \(victims.count == 1 ? "has" : "have") yet to let go of what it takes of \(node) for it"
    }
  }
}
