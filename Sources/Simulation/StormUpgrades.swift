import Arbitration
import Messages

/// What must hold of claims that are moved to better paths.
extension Storm {
  /// Between two upgrades of one claim.
  static var upgradeInterval: UInt64 { 15_000 }

  private mutating func rollQuiet(_ range: Range<Int>) -> Int { Int.random(in: range, using: &wishDice) }

  /// A claim is moved where two hosts work for some seconds and nobody waits for what it is to get. That hardly ever comes about by
  /// itself where something breaks all the time, and there are more claims than functions.
  mutating func beginQuiet() {
    guard hasPlacements, quietSteps == 0, rollQuiet(0..<(flaw?.quiet ?? 250)) == 0 else { return }
    quietSteps = rollQuiet(20..<60)
    endFaults()
    for name in Self.hostNames where hosts[name]?.session == nil { connect(name) }
  }

  /// Tenants and operators go on.
  mutating func passQuietStep() {
    quietSteps -= 1
    calm()
    switch rollQuiet(0..<6) {
    case 0: create("claim-\(rollQuiet(0..<7))", for: Self.hostNames[rollQuiet(0..<4)])
    case 1: createNearCard()
    case 2: makeWay()
    default: return
    }
  }

  /// Only there is one path better than another.
  private mutating func createNearCard() {
    var specification = ClaimSpecification()
    specification.deviceClass = "ethernet"
    specification.host = rollQuiet(0..<2) == 0 ? "a" : "c"
    specification.allowedPaths = [.directSoftware, .mediated]
    specification.upgrade = true
    if isContended { addContention(to: &specification) }
    let request = CreateClaimRequest {
      $0.name = "claim-\(rollQuiet(0..<7))"
      $0.specification = specification
    }
    let uid = "uid-\(nextID())"
    asksForUpgrade.insert(uid)
    noteAsked(request, uid)
    ask(.creation) { .claimCreated($0, request, uid: uid) }
  }

  /// Those who wait give up, and so does one of those who have a better path.
  private mutating func makeWay() {
    let claims = arbiter.listedClaims.filter { $0.specification?.deviceClass == "ethernet" }
    let candidates = claims.filter { asksForUpgrade.contains($0.uid) && $0.isReadyElsewhere }
    guard let host = candidates.randomElement(using: &wishDice)?.status?.assignment?.host else { return }
    let neighbour = claims.filter { $0.status?.assignment?.controllingHost == host }.randomElement(using: &wishDice)
    let waiting = claims.filter { $0.status?.phase == .pending }
    for claim in waiting + [neighbour].compactMap({ $0 }) { delete(claim.name, cascade: false) }
  }

  /// Nothing moves without being asked, nor again too soon.
  mutating func checkUpgrade(of claim: Claim) {
    guard let upgrade = claim.status?.upgrade, upgrade.better != nil else { return }
    require(asksForUpgrade.contains(claim.uid), "\(claim.name) is upgraded, and nobody asked for it")
    // Each is told of once.
    guard upgradeCounts[claim.uid] != upgrade.count else { return }
    upgradeCounts[claim.uid] = upgrade.count
    if let last = upgraded[claim.uid], !hasForgotten {
      let age = now - last
      require(age >= Self.upgradeInterval, "\(claim.name) is upgraded \(age) ms after the last time")
    }
    upgraded[claim.uid] = now
  }

  /// Until all that may be upgraded, and can, is. Answers in how many rounds all came to rest.
  mutating func outlastUpgrades() -> Int {
    if hasPlacements { makeWay() }
    var longest = 0
    // One more may open the way for the next.
    for _ in 0..<4 {
      longest = max(longest, outlastHolds())
    }
    for claim in arbiter.listedClaims where asksForUpgrade.contains(claim.uid) { checkPath(of: claim) }
    return longest
  }

  /// Told by what the devices have, as everything here.
  private mutating func checkPath(of claim: Claim) {
    guard claim.status?.phase == .ready, let assignment = claim.status?.assignment, assignment.path == .mediated,
      var specification = claim.specification
    else { return }
    (specification.host, specification.hosts, specification.hostSelector) = (assignment.host, [], "")
    specification.attributes?.ethernet?.macAddress = nil
    guard arbiter.isNothingKeptInTurns, let node = roomBeside(specification, on: assignment.host) else { return }
    require(
      false,
      "\(claim.name) is served by \(assignment.controllingHost) and could have a function of its own host's \(node)")
  }
}

extension Claim {
  fileprivate var isReadyElsewhere: Bool { status?.phase == .ready && status?.assignment?.path == .mediated }
}
