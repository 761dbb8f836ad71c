import Arbitration
import Messages

/// Callers who look at a plan before they carry it out: it must come to what the plan says, or be refused as stale.
extension Storm {
  /// Not where operators take part, who have storms of their own.
  var plansClaims: Bool { isHarsh && seed % 4 == 1 && !isMaintained }

  private mutating func pick(_ range: Range<Int>) -> Int { Int.random(in: range, using: &planDice) }

  mutating func planAndApply() {
    // Somebody may have waited, and the state be another one.
    if let kept = keptPlan, pick(0..<3) == 0 { return apply(kept.request, kept.plan) }
    let request = wanted()
    let now = Instant(monotonicMilliseconds: now + 1, wallMilliseconds: 1_800_000_000_000 + Int64(now + 1) + wallOffset)
    do {
      let plan = try arbiter.planClaims(request, at: now)
      if pick(0..<3) == 0 { keptPlan = (request, plan) } else { apply(request, plan) }
    } catch {
      require(false, "a plan of \(request) was refused: \(error.message)")
    }
  }

  mutating func wanted() -> ApplyClaimsRequest {
    var request = ApplyClaimsRequest()
    request.replace = pick(0..<2) == 0
    var names: Set<String> = []
    for _ in 0..<pick(1..<4) {
      let name = "claim-\(pick(0..<7))"
      guard names.insert(name).inserted else { continue }
      var specification = arbiter.claim(named: name)?.specification ?? ClaimSpecification()
      if specification.deviceClass.isEmpty || pick(0..<3) == 0 {
        specification = anySpecification()
      } else {
        change(&specification)
      }
      request.claims.append(
        CreateClaimRequest {
          $0.name = name
          $0.specification = specification
        })
    }
    return request
  }

  mutating func anySpecification() -> ClaimSpecification {
    var specification = ClaimSpecification()
    specification.deviceClass = pick(0..<2) == 0 ? "ethernet" : "sata"
    if pick(0..<2) == 0 {
      specification.host = Self.hostNames[pick(0..<4)]
    } else {
      specification.hosts = ["a", Self.hostNames[pick(1..<4)]]
    }
    guard specification.deviceClass == "sata" else { return specification }
    if hasFileServers, pick(0..<3) == 0 { specification.source = "claim-\(pick(0..<7))" }
    let size: UInt64? = pick(0..<3) == 0 ? nil : specification.source.isEmpty ? 1 << 28 : 1 << 26
    specification.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
    return specification
  }

  /// Nothing, or a rate of a network: the storm's disks keep none.
  private mutating func change(_ specification: inout ClaimSpecification) {
    guard specification.deviceClass == "ethernet", pick(0..<2) == 0 else { return }
    var attributes = specification.attributes ?? Attributes()
    var ethernet = attributes.ethernet ?? EthernetAttributes()
    ethernet.maxTransmitBitsPerSecond = UInt64(pick(0..<3)) * 1_000_000
    attributes.ethernet = ethernet
    specification.attributes = attributes
  }

  private mutating func apply(_ request: ApplyClaimsRequest, _ plan: ClaimPlan) {
    keptPlan = nil
    var request = request
    request.planRevision = plan.revision
    let isStale = plan.revision != arbiter.planRevision
    let uids = request.claims.map { _ in "uid-\(nextID())" }
    let call = CallID(nextID())
    // Those of which the former one goes, if it is carried out.
    let replaced = plan.claims.filter { $0.action == .replace }.map(\.name)
    requests[call] = isStale || replaced.isEmpty ? .creation : .deletion(replaced)
    if !isStale { plans[call] = plan.atOnce { arbiter.claim(named: $0) } }
    send(.claimsApplied(call, request, uids: uids))
  }

  mutating func takeApplied(_ applied: ClaimPlan, to call: CallID) {
    if unplanned.remove(call) != nil {
      for claim in applied.claims.compactMap(\.claim) { acknowledge(claim) }
      return
    }
    guard let plan = plans.removeValue(forKey: call) else {
      return require(false, "a stale plan was carried out: \(applied)")
    }
    for (planned, done) in zip(plan.claims, applied.claims) {
      require(
        planned.refusal.isEmpty,
        "\(planned.name) was refused by the plan (\(planned.refusal)) and not when it was applied")
      require(
        planned.action == done.action && (planned.action == .replace || planned.outcome == done.outcome),
        "\(planned.name) was planned as \(planned) and came to \(done)")
      if done.action == .create, let claim = done.claim { acknowledge(claim) }
    }
    let others = { (plan: ClaimPlan) in plan.others.map { "\($0.name) \($0.outcome)" } }
    require(others(plan) == others(applied), "others were planned as \(others(plan)) and came to \(others(applied))")
  }

  mutating func noteRefused(_ call: CallID, _ refusal: Refusal) {
    guard let plan = plans.removeValue(forKey: call) else { return }
    require(
      plan.claims.contains { !$0.refusal.isEmpty }, "a plan without a refusal was refused: \(refusal.message)")
  }
}

extension ClaimPlan {
  /// Without the others to whom something happens only once somebody has let go.
  fileprivate func atOnce(_ present: (_ name: String) -> Claim?) -> ClaimPlan {
    var plan = self
    plan.others.removeAll { $0.later != nil && $0.claim == present($0.name) }
    return plan
  }
}

extension PlannedClaim {
  /// What it comes to, but for what is drawn.
  fileprivate var outcome: [String] {
    let (status, assignment) = (claim?.status, claim?.status?.assignment)
    let reasons = status?.pending.map(\.message) ?? []
    return [
      "\(status?.phase ?? .unspecified)", assignment?.function ?? "", assignment?.host ?? "",
      "\(assignment?.path ?? .unspecified)", "\(claim?.revision ?? 0)",
    ] + reasons
  }
}
