import Arbitration
import Messages

/// What must hold of claims that are moved to better paths.
extension Storm {
  /// Between two upgrades of one claim.
  static var upgradeInterval: UInt64 { 15_000 }

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
    guard let node = roomBeside(specification, on: assignment.host) else { return }
    require(
      false,
      "\(claim.name) is served by \(assignment.controllingHost) and could have a function of its own host's \(node)")
  }
}
