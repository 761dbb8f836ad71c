import Messages

/// All members of a group get a function in one moment, or none does.
extension Arbiter {
  /// For how many members a place is looked for, in all orders, before no further one is tried: four times for the largest group, and
  /// once for each member of a small one.
  private static var mostTried: Int { 4 * mostMembers }

  /// Gives all members that are pending a function, or none of them.
  mutating func placeGroup(_ group: String) {
    let members = members(of: group)
    var pending = members.filter { $0.phase == .pending }
    for state in pending { setNominationAside(of: state) }
    if let reasons = reasonsNotToLook(for: group, members, pending) {
      if hasTurn(group) { endTurn(of: group) }
      return say(reasons, to: keepingNothing(for: pending))
    }
    let names = namesWithoutPlace(among: pending.map(\.claim.name)) { (arbiter, order) in
      arbiter.nameWithoutPlace(among: order)
    }
    // Who finds nothing by itself tells more than who finds nothing beside the others.
    let alone = names.first { name in claims[name].map { best(for: $0.specification) == nil } ?? false }
    guard let name = alone ?? names.first else { return }
    let why = reasonsWhyNot(name)
    if hasTurn(group), alone != nil, !isShortOfRoom(name, why) { endTurn(of: group) }
    keepOrPreempt(for: &pending)
    keepPlaces(forGroup: group, pending)
    say(reasons(of: pending, because: name, why + reasonOfTurn(of: group)), to: pending)
    waitingGroups[group]?.turn?.seen = cluster.revision
  }

  /// What nothing that is free changes; nil: it may be that all of them find something.
  private func reasonsNotToLook(
    for group: String, _ members: [ClaimState], _ pending: [ClaimState]
  ) -> [[PendingReason]]? {
    if let other = members.first(where: { $0.phase == .reclaiming || $0.phase == .releasing }) {
      let reason = PendingReason.group("'\(other.claim.name)' of its group '\(group)' has yet to let go of what it had")
      return Array(repeating: [reason], count: pending.count)
    }
    if let reason = holdAfterFailures(ofGroup: group) { return Array(repeating: [reason], count: pending.count) }
    guard let (name, drop) = obstacle(ofQuotaOf: pending) else { return nil }
    return reasons(of: pending, because: name, pendingReasons([drop], for: pending[0].specification))
  }

  /// Tries it in several orders: whoever has the least choice goes first.
  ///
  /// - Parameter attempt: answers who finds nothing; nil: everyone has found something.
  /// - Returns: who found nothing, of each order; nobody if one of them did.
  mutating func namesWithoutPlace(
    among names: [String], _ attempt: (inout Arbiter, [String]) -> String?
  ) -> [String] {
    var order = thoseWithLeastChoiceFirst(names)
    var obstacles: [String] = []
    var left = Self.mostTried
    while left > 0 {
      guard let name = attempt(&self, order), let index = order.firstIndex(of: name) else { return [] }
      obstacles.append(name)
      left -= index + 1
      // Among those that ask for the same it makes no difference who is the first. Each is moved once, or the orders go round.
      let specification = claims[name]?.specification
      guard order[..<index].contains(where: { claims[$0]?.specification != specification }),
        obstacles.count <= names.count
      else { break }
      order.insert(order.remove(at: index), at: 0)
    }
    return obstacles
  }

  /// Those that name the end nodes that they can have come before those that leave it open, the ones with the fewest first. Of what a
  /// condition selects only a look at all would tell how much that is.
  func thoseWithLeastChoiceFirst(_ names: [String]) -> [String] {
    let counts = names.map { name in claims[name].map { choices(of: $0.specification) } ?? Int.max }
    return names.indices.sorted { (counts[$0], $0) < (counts[$1], $1) }.map { names[$0] }
  }

  private func choices(of specification: ClaimSpecification) -> Int {
    let named = fewCandidates(for: specification)?.count ?? .max
    guard !specification.isForSeveralHosts, !specification.paths.contains(.mediated) else { return named }
    // Without what others serve there is what its host has.
    return min(named, endNodes.ids(atHost: specification.host).count)
  }

  /// Grants all of them, or answers which one found nothing beside those before it.
  mutating func nameWithoutPlace(among names: [String]) -> String? {
    beginTrial()
    for name in names {
      // Control that one alone would wait for would come too late for the others.
      guard let best = claims[name].flatMap({ best(for: $0.specification) }), grant(best, toMember: name) else {
        endTrial(keeping: false)
        return name
      }
    }
    endTrial(keeping: true)
    return nil
  }

  /// Answers whether it has it.
  mutating func grant(_ candidate: Candidate, toMember name: String) -> Bool {
    guard var state = claims[name] else { return false }
    endNomination(of: &state)
    grant(candidate, to: &state)
    guard state.phase != .pending else { return false }
    stopWaiting(state)
    put(&state)
    return true
  }

  /// Which one's tenant may not have as much as all of them ask for together.
  func obstacle(ofQuotaOf pending: [ClaimState]) -> (name: String, drop: Drop)? {
    var seen: Set<TenantClass> = []
    for (index, state) in pending.enumerated() where seen.insert(state.specification.tenantClass).inserted {
      let others = pending[(index + 1)...].map(\.specification)
      if let drop = obstacle(ofQuotaOf: state.specification, beside: others) { return (state.claim.name, drop) }
    }
    return nil
  }

  // MARK: What is kept for all of them

  private mutating func keepOrPreempt(for pending: inout [ClaimState]) {
    guard pending.allSatisfy({ victimsOnTheirWay(for: $0).isEmpty }) else {
      for state in pending { nominate(state) }
      return
    }
    pending = keepingNothing(for: pending)
    preempt(for: &pending)
  }

  private mutating func keepingNothing(for pending: [ClaimState]) -> [ClaimState] {
    pending.map { before in
      var state = before
      endNomination(of: &state)
      return state
    }
  }

  /// Nothing is kept for the claim, or for those that are to get something together with it.
  mutating func setNominationsAside(with state: ClaimState) {
    for state in [state] + mates(of: state) { setNominationAside(of: state) }
  }

  // MARK: What they say

  private func reasonOfTurn(of group: String) -> [PendingReason] {
    hasTurn(group) ? [.group("what becomes free is kept for its group '\(group)', which has waited longest")] : []
  }

  /// Whether what others let go of may help it. Of very many end nodes not all are looked at.
  private func isShortOfRoom(_ name: String, _ why: [PendingReason]) -> Bool {
    guard let specification = claims[name]?.specification else { return false }
    return candidates(for: specification).count > Self.mostExplained
      || why.contains { reason in Filter.allCases.contains { $0.name == reason.filter && $0.isOfUse } }
  }

  private mutating func reasonsWhyNot(_ name: String) -> [PendingReason] {
    guard let specification = claims[name]?.specification else { return [] }
    guard best(for: specification) == nil else {
      return [.group("what it could have is what the others of its group '\(specification.group)' need, too")]
    }
    return self.reasons(of: specification)
  }

  /// - Parameters:
  ///   - name: who finds nothing.
  ///   - why: what that one says.
  private func reasons(of pending: [ClaimState], because name: String, _ why: [PendingReason]) -> [[PendingReason]] {
    let victims = pending.lazy.map { (name: $0.claim.name, victims: self.victimsOnTheirWay(for: $0)) }
    let waited = victims.first { !$0.victims.isEmpty }
    return pending.map { state in
      let own = reasonOfPreemption(of: state)
      guard own.isEmpty else { return own + (state.claim.name == name ? why : []) }
      let together = "all of its group '\(state.specification.group)' get a function at once"
      if let waited {
        return [.group("\(together), and \(PendingReason.whoHasYetToLetGo(waited.victims)) for '\(waited.name)'")]
      }
      return state.claim.name == name ? why : [.group("\(together), and '\(name)' finds none")]
    }
  }

  private mutating func say(_ reasons: [[PendingReason]], to pending: [ClaimState]) {
    for (before, reasons) in zip(pending, reasons) {
      var state = before
      let all = state.eviction + reasons
      state.withStatus { $0.pending = all }
      if state.claim.status != claims[state.claim.name]?.claim.status { put(&state) }
    }
  }

  /// Whether it is the one by which its group looks again.
  func looksAgain(_ name: String) -> Bool {
    guard let state = claims[name], state.hasGroup else { return true }
    return members(of: state.specification.group).first { $0.phase == .pending }?.claim.name == name
  }
}
