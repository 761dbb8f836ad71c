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
    default: return
    }
  }

  mutating func addContention(to specification: inout ClaimSpecification) {
    specification.priority = Int32([0, 0, 1, 2][rollContention(0..<4)])
    if rollContention(0..<8) == 0 { specification.preemption = .never }
  }

  /// What was asked for, whatever a broken arbiter hears.
  mutating func noteAsked(_ request: CreateClaimRequest, _ uid: String) {
    if isContended { asked[uid] = request.specification }
  }

  private func asked(by claim: Claim) -> ClaimSpecification {
    // What was adopted asks for less than what it was made for.
    (flaw == nil ? nil : asked[claim.uid]) ?? claim.specification ?? ClaimSpecification()
  }

  private func priority(of claim: Claim) -> Int32 { asked(by: claim).priority }

  // MARK: What must hold

  /// By name, before an event.
  var contenders: [String: Claim] {
    Dictionary(uniqueKeysWithValues: arbiter.listedClaims.map { ($0.name, $0) })
  }

  mutating func checkContention(since before: [String: Claim], _ event: Event) {
    let claims = arbiter.listedClaims
    for claim in claims {
      guard let preemption = claim.status?.preemption, before[claim.name]?.status?.preemption != preemption else {
        continue
      }
      coverage.note(.preempted)
      checkVictims(preemption.claims, of: claim)
    }
    // Several are made one after the other there, and each for itself.
    if case .claimsApplied = event { return }
    let waited = claims.filter {
      $0.status?.phase == .pending && before[$0.name]?.uid == $0.uid && before[$0.name]?.status?.phase == .pending
    }
    for claim in claims where isGranted(claim, since: before[claim.name]) {
      for other in waited where isPassedOver(other, for: claim) {
        let problem =
          "\(claim.name) of priority \(priority(of: claim)) was given \(claim.status?.assignment?.function ?? ""), and \(other.name) of "
          + "priority \(priority(of: other)) waits and could have it, after \(event)"
        require(false, problem)
      }
    }
  }

  private mutating func checkVictims(_ victims: [String], of claim: Claim) {
    require(!victims.isEmpty, "\(claim.name) waits for others to let go, and for nobody in particular")
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

  /// By placement, in this event.
  private func isGranted(_ claim: Claim, since before: Claim?) -> Bool {
    guard let assignment = claim.status?.assignment, claim.status?.decision != nil else { return false }
    return before?.uid != claim.uid || before?.status?.assignment?.function != assignment.function
  }

  /// Whether it waits although it could have had what the other one was given: its priority is higher, or that was kept for it.
  private func isPassedOver(_ claim: Claim, for other: Claim) -> Bool {
    // What a disk is given for may depend on who controls it, and a condition on what else is so just then.
    guard let specification = claim.specification, specification.deviceClass == "ethernet",
      specification.selector.isEmpty,
      specification.hostSelector.isEmpty
    else { return false }
    let isKept = claim.status?.preemption?.endNode == other.status?.assignment?.endNode
    let (mine, theirs) = (priority(of: claim), priority(of: other))
    guard mine > theirs || (isKept && mine == theirs) else { return false }
    return arbiter.couldHave(claim.name, insteadOf: other.name)
  }

  /// Nobody waits whom a claim of a lower priority could let go for.
  mutating func checkPreemptionAtRest() {
    let claims = arbiter.listedClaims
    for claim in claims where claim.status?.phase == .pending {
      guard claim.specification?.preemption != .never, claim.specification?.deviceClass == "ethernet" else { continue }
      for other in claims where other.status?.phase == .ready && priority(of: other) < priority(of: claim) {
        guard other.specification?.evictionPolicy != .never else { continue }
        let (mine, theirs) = (priority(of: claim), priority(of: other))
        let isInTheWay = arbiter.couldHave(claim.name, insteadOf: other.name)
        require(
          !isInTheWay, "\(claim.name) of priority \(mine) waits, and \(other.name) of \(theirs) need not let go")
      }
    }
  }
}
