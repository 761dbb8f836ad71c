import Arbitration
import Messages

/// Claims of which some are more urgent than others, and more of them than there are functions.
extension Storm {
  private mutating func rollContention(_ range: Range<Int>) -> Int { Int.random(in: range, using: &wishDice) }

  mutating func crowd() {
    let name = "crowd-\(rollContention(0..<10))"
    switch rollContention(0..<12) {
    case 0, 1:
      var specification = ClaimSpecification()
      specification.deviceClass = "ethernet"
      specification.host = Self.hostNames[rollContention(0..<4)]
      addContention(to: &specification)
      let request = CreateClaimRequest {
        $0.name = name
        $0.specification = specification
      }
      let uid = "uid-\(nextID())"
      noteAsked(request, uid)
      ask(.creation) { .claimCreated($0, request, uid: uid) }
    case 2: delete(name, cascade: false)
    case 3: ask(.other) { .tenantSet($0, SetTenantRequest { $0.name = "lab" }) }
    case 4: ask(.other) { .tenantCreated($0, CreateTenantRequest { $0.name = "spare" }) }
    case 5: ask(.other) { .tenantDeleted($0, DeleteTenantRequest { $0.name = "spare" }) }
    case 6 where hasGroups:
      createGroup((0..<3).map { _ in "crowd-\(rollContention(0..<10))" }) { storm in
        ClaimSpecification {
          $0.deviceClass = "ethernet"
          $0.host = Self.hostNames[storm.rollContention(0..<4)]
        }
      }
    default: return
    }
  }

  /// They stay as they are, so that what is looked at needs not know when somebody heard of a change.
  private static let weights = ["default": 1, "lab": 2, "shop": 1]
  private static let quotas = ["lab": 3, "shop": 2]

  mutating func makeTenants() {
    for name in ["lab", "shop"] {
      let request = CreateTenantRequest {
        $0.name = name
        $0.weight = UInt32(Self.weights[name] ?? 1)
        $0.quotas = [
          Quota {
            $0.deviceClass = "ethernet"
            $0.functions = Self.quotas[name].map { UInt32($0) }
          }
        ]
      }
      ask(.other) { .tenantCreated($0, request) }
    }
  }

  mutating func addContention(to specification: inout ClaimSpecification) {
    specification.priority = Int32([0, 0, 1, 2][rollContention(0..<4)])
    if rollContention(0..<8) == 0 { specification.preemption = .never }
    specification.tenant = ["", "lab", "lab", "shop"][rollContention(0..<4)]
  }

  /// What was asked for, whatever a broken arbiter hears.
  mutating func noteAsked(_ request: CreateClaimRequest, _ uid: String) {
    if flaw != nil { asked[uid] = request.specification }
  }

  func asked(by claim: Claim) -> ClaimSpecification {
    // What was adopted asks for less than what it was made for.
    (flaw == nil ? nil : asked[claim.uid]) ?? claim.specification ?? ClaimSpecification()
  }

  private func priority(of claim: Claim) -> Int32 { asked(by: claim).priority }

  private func tenant(of claim: Claim) -> String {
    let name = asked(by: claim).tenant
    return name.isEmpty ? "default" : name
  }

  /// Whether its tenant may have one more.
  func isWithinQuota(_ claim: Claim) -> Bool { isWithinQuota([claim]) }

  /// Whether the tenant of all of them may have as many more.
  func isWithinQuota(_ claims: [Claim]) -> Bool {
    let asking = claims.filter { $0.specification?.deviceClass == "ethernet" }
    guard isContended, let first = asking.first else { return true }
    let tenant = tenant(of: first)
    guard let quota = Self.quotas[tenant] else { return true }
    return functionsInUse(arbiter.listedClaims, of: tenant) + asking.count <= quota
  }

  private func functionsInUse(_ claims: some Sequence<Claim>, of tenant: String) -> Int {
    inUse(claims, of: tenant).count
  }

  private func inUse(_ claims: some Sequence<Claim>, of tenant: String) -> [Claim] {
    claims.filter {
      $0.status?.assignment != nil && $0.specification?.deviceClass == "ethernet" && self.tenant(of: $0) == tenant
    }
  }

  /// Of cards, the functions and the rate.
  struct Amount {
    var functions = 0.0
    var bits = 0.0

    init() {}

    init(of claims: [Claim]) {
      functions = Double(claims.count)
      for claim in claims { bits += Double(claim.promisedBitsPerSecond) }
    }

    /// Those numbers of both that are the lower ones.
    func atMost(_ other: Amount) -> Amount {
      var result = self
      (result.functions, result.bits) = (min(functions, other.functions), min(bits, other.bits))
      return result
    }

    func part(of all: Amount) -> Double { max(functions / max(1, all.functions), bits / max(1, all.bits)) }
  }

  /// There are no others than those with limits.
  private var cards: Amount {
    var result = Amount()
    for node in arbiter.listedEndNodes where node.deviceClass == "ethernet" {
      result.functions += Double(node.capacity?.functions ?? 0)
      result.bits += Double(node.capacity?.bitsPerSecond ?? 0)
    }
    return result
  }

  // MARK: What must hold

  /// What there was before an event.
  struct Contenders {
    var claims: [String: Claim] = [:]
    var cards = Amount()
    /// For which what becomes free is kept.
    var groups: Set<String> = []
    var claimsWithTurn: Set<String> = []
  }

  var contenders: Contenders {
    Contenders(
      claims: Dictionary(uniqueKeysWithValues: arbiter.listedClaims.map { ($0.name, $0) }), cards: cards,
      groups: arbiter.groupsWithTurn, claimsWithTurn: arbiter.claimsWithTurn)
  }

  mutating func checkContention(since former: Contenders, _ event: Event) {
    let before = former.claims
    let claims = arbiter.listedClaims
    for (tenant, quota) in Self.quotas {
      let used = functionsInUse(claims, of: tenant)
      require(used <= quota, "claims of tenant \(tenant) have \(used) functions, and its quota is \(quota)")
    }
    for claim in claims {
      guard let preemption = claim.status?.preemption, before[claim.name]?.status?.preemption != preemption else {
        continue
      }
      coverage.note(.preempted)
      if !asked(by: claim).group.isEmpty { coverage.note(.preemptedByGroup) }
      checkVictims(preemption.claims, of: claim)
    }
    for claim in claims where claim.status?.phase == .reclaiming && before[claim.name]?.status?.phase != .reclaiming {
      checkVictim(claim)
    }
    // Several are made one after the other there, and each for itself.
    if case .claimsApplied = event { return }
    let waited = claims.filter {
      $0.status?.phase == .pending && before[$0.name]?.uid == $0.uid && before[$0.name]?.status?.phase == .pending
    }
    let granted = claims.filter { isGranted($0, since: before[$0.name]) }
    for claim in granted {
      for other in waited where isPassedOver(other, for: claim, granted, former) {
        let problem =
          "\(claim.name) of \(tenant(of: claim)), priority \(priority(of: claim)), was given \(claim.status?.assignment?.function ?? ""), and "
          + "\(other.name) of \(tenant(of: other)), priority \(priority(of: other)), waits and could have it, after \(event)"
        require(false, problem)
      }
    }
  }

  private mutating func checkVictims(_ victims: [String], of claim: Claim) {
    let mates = members(ofGroupOf: claim).compactMap { arbiter.claim(named: $0) }
    let isForSomebody = !(victims + mates.flatMap { $0.status?.preemption?.claims ?? [] }).isEmpty
    require(isForSomebody, "\(claim.name) waits for others to let go, and for nobody in particular")
    for name in victims {
      guard let victim = arbiter.claim(named: name) else {
        require(false, "\(name) is gone by having let go for \(claim.name)")
        continue
      }
      let (its, own) = (priority(of: victim), priority(of: claim))
      require(its < own, "\(name) of priority \(its) let go for \(claim.name) of priority \(own)")
      require(victim.specification?.evictionPolicy != .never, "\(name) let go for \(claim.name), and says never")
    }
    require(claim.specification?.preemption != .never, "others let go for \(claim.name), which is to wait")
  }

  /// Whoever lets go with another one, as one of its group or a part of it, may be in nobody's list.
  private mutating func checkVictim(_ claim: Claim) {
    for reason in claim.status?.pending ?? [] {
      let words = reason.message.split(separator: " ")
      guard let place = words.lastIndex(of: "needs"), place > 0, let most = Int32(words[place - 1]) else { continue }
      let own = priority(of: claim)
      require(own < most, "\(claim.name) of priority \(own) has let go: \(reason.message)")
      require(claim.specification?.evictionPolicy != .never, "\(claim.name) says never: \(reason.message)")
    }
  }

  /// By placement, in this event.
  private func isGranted(_ claim: Claim, since before: Claim?) -> Bool {
    guard let assignment = claim.status?.assignment, claim.status?.decision != nil else { return false }
    return before?.uid != claim.uid || before?.status?.assignment?.function != assignment.function
  }

  /// Whether it waits although it could have had what the other one was given, and was to be served before: by its priority, because
  /// that was kept for it, by its tenant's share, or by its age.
  private func isPassedOver(
    _ claim: Claim, for other: Claim, _ granted: [Claim], _ former: Contenders
  ) -> Bool {
    let before = former.claims
    // What a disk is given for may depend on who controls it, and a condition on what else is so just then.
    guard let specification = claim.specification, specification.deviceClass == "ethernet",
      specification.selector.isEmpty, specification.hostSelector.isEmpty,
      // It takes what all of its group need, or nothing.
      specification.group.isEmpty
    else { return false }
    // What is kept for one that is moved is nobody else's, however urgent: it has let go of what it had for that.
    let upgrade = before[other.name]?.status?.upgrade
    guard upgrade?.better == nil, upgrade?.former == nil else { return false }
    // It may have begun to be kept after the other one was served, and what others have yet to let go of is kept all the same.
    let kept = before[claim.name]?.status?.preemption?.endNode
    let isKept =
      kept != nil && kept == other.status?.assignment?.endNode && !waitsForVictims(claim)
      && !isTakenByMoreUrgent(kept, from: claim, granted)
    let (mine, theirs) = (priority(of: claim), priority(of: other))
    // What was kept for the other one, or for one of its group, was nobody's of its own priority.
    let wasKept =
      former.groups.contains(other.specification?.group ?? "") || former.claimsWithTurn.contains(other.name)
      || ([other.name] + members(ofGroupOf: other)).contains {
        before[$0]?.status?.preemption?.endNode == other.status?.assignment?.endNode
      }
    let isFirst = mine == theirs && !wasKept && (isKept || isFurtherBelow(claim, other, granted, former))
    guard mine > theirs || isFirst else { return false }
    return arbiter.couldHave(claim.name, insteadOf: other.name)
  }

  private func waitsForVictims(_ claim: Claim) -> Bool {
    guard let preemption = claim.status?.preemption else { return false }
    return preemption.claims.compactMap { arbiter.claim(named: $0)?.status }.contains {
      ($0.phase == .reclaiming || $0.phase == .releasing) && $0.assignment?.endNode == preemption.endNode
    }
  }

  /// One of a higher priority, whose condition came true by what was given in the same event, may take what was kept. So may a group,
  /// for which one place more is enough.
  private func isTakenByMoreUrgent(_ endNode: String?, from claim: Claim, _ granted: [Claim]) -> Bool {
    granted.contains {
      $0.status?.assignment?.endNode == endNode && priority(of: $0) > priority(of: claim)
        && !(asked(by: $0).selector.isEmpty && asked(by: $0).group.isEmpty)
    }
  }

  /// Of one priority: whether its tenant had less of its share whenever in the event the other one was granted.
  private func isFurtherBelow(
    _ claim: Claim, _ other: Claim, _ granted: [Claim], _ former: Contenders
  ) -> Bool {
    let (mine, theirs) = (tenant(of: claim), tenant(of: other))
    guard mine != theirs else { return isOlder(claim, other) }
    let (before, after) = (former.claims.values, arbiter.listedClaims)
    let most = [Amount(of: inUse(before, of: mine)), Amount(of: inUse(after, of: mine))]
    let own = Set(granted.filter { tenant(of: $0) == theirs }.map(\.name))
    let least = Amount(of: inUse(before, of: theirs)).atMost(
      Amount(of: inUse(after, of: theirs).filter { !own.contains($0.name) }))
    // What there is may be other than before the event.
    return [former.cards, cards].allSatisfy { cards in
      let (share, others) = (most.map { $0.part(of: cards) }.max() ?? 0, least.part(of: cards))
      return share / Double(Self.weights[mine] ?? 1) * 1.000001 < others / Double(Self.weights[theirs] ?? 1)
    }
  }

  private func isOlder(_ one: Claim, _ other: Claim) -> Bool {
    let age = { (claim: Claim) in (claim.created?.seconds ?? 0, claim.created?.nanoseconds ?? 0, claim.uid) }
    return age(one) < age(other)
  }

  /// Nobody waits whom a claim of a lower priority could let go for.
  mutating func checkPreemptionAtRest() {
    let claims = arbiter.listedClaims
    for claim in claims where claim.status?.phase == .pending {
      guard claim.specification?.preemption != .never, claim.specification?.deviceClass == "ethernet",
        claim.specification?.group.isEmpty ?? true
      else { continue }
      for other in claims where other.status?.phase == .ready && priority(of: other) < priority(of: claim) {
        guard other.specification?.evictionPolicy != .never else { continue }
        let (mine, theirs) = (priority(of: claim), priority(of: other))
        let isInTheWay = arbiter.couldAllHave([claim.name], insteadOf: [other.name] + members(ofGroupOf: other))
        require(
          !isInTheWay, "\(claim.name) of priority \(mine) waits, and \(other.name) of \(theirs) need not let go")
      }
    }
    for members in groups { checkPreemptionAtRest(for: members, among: claims) }
  }

  /// Nor a group for which claims of lower priorities could let go.
  private mutating func checkPreemptionAtRest(for members: [Claim], among claims: [Claim]) {
    let pending = members.filter { $0.status?.phase == .pending }
    guard let first = pending.first, isWithinQuota(pending),
      pending.allSatisfy({ $0.specification?.preemption != .never && $0.specification?.deviceClass == "ethernet" })
    else { return }
    let lower = claims.filter { $0.status?.phase == .ready && priority(of: $0) < priority(of: first) }
    // Those of a group go together, or not at all.
    let staying = Set(claims.filter { $0.specification?.evictionPolicy == .never }.map { asked(by: $0).group })
    let others = lower.filter { claim in
      let group = asked(by: claim).group
      return claim.specification?.deviceClass == "ethernet" && claim.specification?.evictionPolicy != .never
        && (group.isEmpty || !staying.contains(group))
    }
    let areInTheWay = !others.isEmpty && arbiter.couldAllHave(pending.map(\.name), insteadOf: others.map(\.name))
    let (mine, theirs) = (pending.map(\.name), others.map(\.name))
    let words = "\(mine) of priority \(priority(of: first)) wait, and \(theirs) need not let go"
    require(!areInTheWay, words)
  }
}

extension Claim {
  fileprivate var promisedBitsPerSecond: UInt64 {
    status?.assignment?.attributes?.ethernet?.minTransmitBitsPerSecond ?? 0
  }
}
