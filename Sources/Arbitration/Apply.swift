import Messages

/// Claims as somebody has them written down: those that are new are made, rates are changed in place, and what cannot be changed is
/// made anew, if that is asked for. A plan is the same decision, taken back.
extension Arbiter {
  /// Of the state that a plan is made on.
  public var planRevision: String { "\(cluster.epoch).\(cluster.revision).\(situation)" }

  /// What `applyClaims` would do now.
  public mutating func planClaims(_ request: ApplyClaimsRequest, at now: Instant) throws(Refusal) -> ClaimPlan {
    let before = self.now
    self.now = now
    defer { self.now = before }
    let order = try order(of: request)
    var plan = ClaimPlan()
    plan.revision = planRevision
    beginTrial()
    let uids = request.claims.indices.map(Self.plannedUID)
    plan.claims = carryOut(request, order, uids: uids, at: now)
    for index in plan.claims.indices {
      plan.claims[index].upgrade = claims[plan.claims[index].name].map { upgradeWords(of: $0, at: now) } ?? ""
    }
    plan.others = othersTried(beside: request)
    tryReplacements(&plan, request, at: now)
    foresee(&plan)
    endTrial(keeping: false)
    for index in plan.claims.indices { plan.claims[index].forgetWhatIsDrawn() }
    return plan
  }

  /// All of it, or nothing.
  mutating func applyClaims(
    _ request: ApplyClaimsRequest, uids: [String], at now: Instant
  ) throws(Refusal) -> ClaimPlan {
    let found = planRevision
    guard request.planRevision.isEmpty || request.planRevision == found else {
      throw Refusal(
        .aborted,
        "the plan was made on the revision \(Names.shown(request.planRevision)), and the state is at \(found) by now, so that it may come to "
          + "something else: nothing was done; make a new plan")
    }
    let order = try order(of: request)
    beginTrial()
    var plan = ClaimPlan()
    plan.claims = carryOut(request, order, uids: uids, at: now)
    let problems = problems(in: plan)
    guard problems.isEmpty else {
      endTrial(keeping: false)
      throw Refusal(.failedPrecondition, "nothing was done. " + problems.joined(separator: "\n"))
    }
    plan.others = othersTried(beside: request)
    endTrial(keeping: true)
    plan.revision = planRevision
    return plan
  }

  /// Each once, whomever it concerns: of a large group all but one are refused because of that one.
  private func problems(in plan: ClaimPlan) -> [String] {
    var refusals: [String] = []
    var names: [String: [String]] = [:]
    for claim in plan.claims where !claim.refusal.isEmpty {
      if names[claim.refusal] == nil { refusals.append(claim.refusal) }
      names[claim.refusal, default: []].append(claim.name)
    }
    let shown = refusals.prefix(16).map { refusal in
      let concerned = names[refusal] ?? []
      return (concerned.count == 1 ? "claim '\(concerned[0])'" : "claims \(Names.list(concerned))") + ": \(refusal)"
    }
    return refusals.count > 16 ? shown + ["and \(refusals.count - 16) more refusals"] : shown
  }

  // MARK: One claim after the other

  private mutating func carryOut(
    _ request: ApplyClaimsRequest, _ order: ApplyOrder, uids: [String], at now: Instant
  ) -> [PlannedClaim] {
    var planned = request.claims.map { claim in
      PlannedClaim {
        $0.name = claim.name
        $0.specification = claim.specification.map { $0.problemOfLength == nil ? $0.normalized : $0 }
        $0.former = claims[claim.name]?.specification
      }
    }
    // What extends one member extends all of its group.
    var times: [String: Set<UInt32>] = [:]
    for specification in request.claims.compactMap(\.specification) where !specification.group.isEmpty {
      times[specification.group, default: []].insert(specification.timeToLiveSeconds)
    }
    // They decide between claims of one instant, which wait in the order of the request.
    let uids = uids.sorted()
    for index in order.places where index < uids.count && planned[index].action == .unspecified {
      if let refusal = order.refusals[index] {
        planned[index].action = .refuse
        planned[index].refusal = refusal
        continue
      }
      if let group = request.claims[index].specification?.group, !group.isEmpty, claimsOfGroup[group] == nil {
        makeGroup(group, of: request, uids: uids, at: now, &planned)
        settleConsequences()
        continue
      }
      do throws(Refusal) {
        if let group = request.claims[index].specification?.group, times[group]?.count ?? 0 > 1 {
          throw liveForDifferentTimes(group)
        }
        try carryOut(request.claims[index], uid: uids[index], replace: request.replace, at: now, &planned[index])
      } catch {
        planned[index].action = .refuse
        planned[index].refusal = error.message
      }
      // As after an event of its own.
      settleConsequences()
    }
    for index in planned.indices { planned[index].claim = claims[planned[index].name]?.claim ?? planned[index].claim }
    return planned
  }

  private mutating func carryOut(
    _ request: CreateClaimRequest, uid: String, replace: Bool, at now: Instant, _ planned: inout PlannedClaim
  ) throws(Refusal) {
    guard let existing = claims[request.name] else {
      if let group = request.specification?.group, !group.isEmpty { throw newMember(request.name, of: group) }
      planned.claim = try createClaim(request, uid: uid, at: now)
      planned.action = .create
      return
    }
    guard let asked = request.specification?.normalized else {
      throw Refusal(.invalidArgument, "it has no specification")
    }
    guard existing.phase != .releasing else { throw stillReleased(existing) }
    guard asked != existing.specification else {
      // Another member of its group may have been extended before it.
      return planned.action = asked == planned.former ? .unchanged : .update
    }
    if let change = existing.specification.change(to: asked, of: request.name) {
      if asked.upgrade, !existing.specification.upgrade {
        try validateUpgrade(asked)
        try validateFitness(of: asked)
      }
      if change.namesRates { planned.claim = try updateRates(change) }
      if asked.upgrade != existing.specification.upgrade { planned.claim = setUpgrade(of: request.name, asked.upgrade) }
      if asked.timeToLiveSeconds != existing.specification.timeToLiveSeconds {
        planned.claim = try extendClaim(
          ExtendClaimRequest {
            $0.name = request.name
            $0.timeToLiveSeconds = asked.timeToLiveSeconds
          }, at: now)
      }
      planned.action = .update
      return
    }
    guard existing.specification.group.isEmpty, asked.group.isEmpty else { throw memberReplaced(existing, by: asked) }
    // Before the former one is released for it.
    try validateReplacement(of: existing, by: asked)
    planned.action = .replace
    guard replace else {
      planned.refusal =
        "only rates, the time to live and whether it is upgraded can be changed in place: apply it with `replace`, which releases what it has"
        + (existing.assignment?.holdsData ?? false ? ", and the data with it" : "") + ", or delete it"
      return
    }
    planned.claim = try deleteClaim(DeleteClaimRequest { $0.name = request.name })
  }

  /// What is wrong with the new one whatever becomes of the former.
  private mutating func validateReplacement(
    of existing: ClaimState, by specification: ClaimSpecification
  ) throws(Refusal) {
    // Names that the former one has are free for the new one.
    var other = specification
    let held = existing.assignment?.attributes ?? existing.specification.attributes
    if other.attributes?.ethernet?.macAddress == held?.ethernet?.macAddress {
      other.attributes?.ethernet?.macAddress = nil
    }
    if other.consumer?.interfaceName == existing.specification.consumer?.interfaceName {
      other.consumer?.interfaceName = ""
    }
    try validate(other, of: existing.claim.name)
    // For as long as it is looked at: the former one may state the same condition, and keeps its own. No claim has such a name.
    let owner = "/\(existing.claim.name)"
    keepSelectors(of: specification, for: owner)
    defer { dropSelectors(of: specification, for: owner) }
    try validateFitness(of: specification)
  }

  // MARK: Plans

  private static func plannedUID(_ index: Int) -> String { "planned-\(1_000_000 + index)" }

  /// What those that are replaced would get if their hosts had let go now, and nothing else had happened.
  private mutating func tryReplacements(_ plan: inout ClaimPlan, _ request: ApplyClaimsRequest, at now: Instant) {
    for (index, planned) in plan.claims.enumerated() where planned.action == .replace && planned.refusal.isEmpty {
      if let state = claims[planned.name] {
        forget(lettingGo(state))
        settleConsequences()
      }
      do throws(Refusal) {
        plan.claims[index].claim = try createClaim(request.claims[index], uid: Self.plannedUID(index), at: now)
        settleConsequences()
      } catch {
        plan.claims[index].refusal = error.message
      }
    }
  }

  /// As if its hosts had let go of what it has.
  private mutating func lettingGo(_ before: ClaimState) -> ClaimState {
    var state = before
    for entry in [state.controlling, state.consumer].compactMap({ $0 }) { drop(entry, of: state) }
    (state.controlling, state.consumer) = (nil, nil)
    heldUp.remove(state.claim.name)
    return state
  }

  /// Those who let go may have others let go in their turn, and so on.
  private static var mostRounds: Int { 16 }

  /// Where those go who were told to let go, who gets what they had, and who has to let go for them.
  private mutating func foresee(_ plan: inout ClaimPlan) {
    for _ in 0..<Self.mostRounds {
      let leaving = claims.tried.compactMap { claims[$0] }.filter { $0.phase == .reclaiming }
      guard !leaving.isEmpty else { break }
      for state in leaving.sorted(by: { $0.claim.name < $1.claim.name }) {
        waitAgain(lettingGo(state))
      }
      settleConsequences()
    }
    let asked = Set(plan.claims.map(\.name))
    for index in plan.claims.indices { plan.claims[index].foresee(claims[plan.claims[index].name]) }
    for index in plan.others.indices { plan.others[index].foresee(claims[plan.others[index].name]) }
    let known = asked.union(plan.others.map(\.name))
    for name in claims.tried.filter({ !known.contains($0) }).sorted() {
      guard let before = claims.former(name) else { continue }
      var other = PlannedClaim {
        $0.name = name
        $0.former = before.specification
        $0.claim = before.claim
      }
      other.foresee(claims[name])
      if other.later != nil { plan.others.append(other) }
    }
  }

  /// Claims that were not asked for, and are in another phase or have another function.
  private func othersTried(beside request: ApplyClaimsRequest) -> [PlannedClaim] {
    let asked = Set(request.claims.map(\.name))
    return claims.tried.filter { !asked.contains($0) }.sorted().compactMap { name in
      let (before, after) = (claims.former(name), claims[name])
      guard before?.claim.differs(from: after?.claim) ?? (after != nil) else { return nil }
      return PlannedClaim {
        $0.name = name
        $0.former = before?.specification
        $0.claim = after?.claim ?? before?.claim
      }
    }
  }
}

extension PlannedClaim {
  fileprivate mutating func foresee(_ state: ClaimState?) {
    if refusal.isEmpty, let claim, claim.differs(from: state?.claim) { later = state?.claim }
  }

  /// The uid of a claim that is yet to be made, and what is derived from it.
  fileprivate mutating func forgetWhatIsDrawn() {
    guard action == .create || action == .replace else { return }
    claim = claim?.withoutWhatIsDrawn
    later = later?.withoutWhatIsDrawn
  }
}

extension Claim {
  /// Whether another state of it is of another phase, or has another function.
  fileprivate func differs(from other: Claim?) -> Bool {
    status?.phase != other?.status?.phase || status?.assignment?.function != other?.status?.assignment?.function
  }

  fileprivate var withoutWhatIsDrawn: Claim {
    var claim = self
    claim.uid = ""
    if var assignment = claim.status?.assignment {
      assignment.claimUid = ""
      if claim.specification?.attributes?.ethernet?.macAddress == nil {
        assignment.attributes?.ethernet?.macAddress = nil
      }
      assignment.mediation?.vni = 0
      assignment.mediation?.exportName = ""
      claim.status?.assignment = assignment
    }
    return claim
  }
}

extension ClaimSpecification {
  /// The change of rates that makes another one of it, which may name none; nil if that one differs in more than rates, the time
  /// to live and whether it is upgraded.
  fileprivate func change(to other: ClaimSpecification, of claim: String) -> UpdateClaimRatesRequest? {
    var request = UpdateClaimRatesRequest()
    request.name = claim
    let (ethernet, theirs) = (attributes?.ethernet, other.attributes?.ethernet)
    request.maxTransmitBitsPerSecond = change(ethernet?.maxTransmitBitsPerSecond, theirs?.maxTransmitBitsPerSecond)
    request.maxReceiveBitsPerSecond = change(ethernet?.maxReceiveBitsPerSecond, theirs?.maxReceiveBitsPerSecond)
    let (block, wanted) = (attributes?.block, other.attributes?.block)
    request.maxReadOperationsPerSecond = change(block?.maxReadOperationsPerSecond, wanted?.maxReadOperationsPerSecond)
    request.maxWriteOperationsPerSecond = change(
      block?.maxWriteOperationsPerSecond, wanted?.maxWriteOperationsPerSecond)
    request.maxReadBytesPerSecond = change(block?.maxReadBytesPerSecond, wanted?.maxReadBytesPerSecond)
    request.maxWriteBytesPerSecond = change(block?.maxWriteBytesPerSecond, wanted?.maxWriteBytesPerSecond)
    request.burstFactor = change(block?.burstFactor, wanted?.burstFactor)
    request.burstSeconds = change(block?.burstSeconds, wanted?.burstSeconds)
    var result = self
    result.timeToLiveSeconds = other.timeToLiveSeconds
    result.upgrade = other.upgrade
    var changed = attributes ?? Attributes()
    changed.setRates(request)
    result.attributes = changed
    return result.normalized == other ? request : nil
  }

  /// Zero removes a limit.
  private func change<Rate: FixedWidthInteger>(_ one: Rate?, _ other: Rate?) -> Rate? {
    one == other ? nil : other ?? 0
  }
}
