import Arbitration
import Messages

/// Functions in use that are unhealthy for a while, in storms in which functions are taken away from claims. Their dice are their own.
extension Storm {
  mutating func fallIll() {
    guard rollHealth(0..<20) == 0, let host = Self.hostNames.randomElement(using: &healthDice) else { return }
    if rollHealth(0..<3) == 0 {
      hosts[host]?.ailments = [:]
      return
    }
    let inUse = hosts[host]?.functions.filter { $0.value.isInUse }.keys.sorted() ?? []
    guard let key = inUse.randomElement(using: &healthDice) else { return }
    coverage.note(.functionUnhealthy)
    hosts[host]?.ailments[key] = ["it has no carrier", "it reads errors"].randomElement(using: &healthDice)
  }

  private mutating func rollHealth(_ range: Range<Int>) -> Int { Int.random(in: range, using: &healthDice) }

  mutating func addHealthWish(to specification: inout ClaimSpecification) {
    guard rollHealth(0..<3) == 0, specification.mayLoseFunction else { return }
    specification.unhealthySeconds = UInt32(rollHealth(0..<40))
  }

  // MARK: What must hold

  /// Looks at a claim before it is stored: nothing is taken from who has not said so.
  mutating func checkHealth(of claim: Claim) {
    guard let specification = claim.specification,
      claim.status?.pending.first?.message.hasPrefix("was evicted: its function was unhealthy") ?? false
    else { return }
    coverage.note(.evictedAsUnhealthy)
    require(
      specification.unhealthySeconds != nil && specification.mayLoseFunction,
      "\(claim.name) was evicted as unhealthy, and its claim does not say so")
  }

  /// Where nothing is wrong any more, nothing is said to be.
  mutating func checkHealthAtRest() {
    for claim in arbiter.listedClaims where claim.status?.phase == .ready {
      let health = claim.status?.health
      require(health?.state != .unhealthy, "\(claim.name) is told as unhealthy: \(health?.message ?? "")")
    }
  }
}

extension ClaimSpecification {
  /// Told a second time.
  fileprivate var mayLoseFunction: Bool {
    switch evictionPolicy {
    case .deadline, .drain, .anyTime: true
    case .unspecified: deviceClass == "ethernet"
    case .never, .unrecognized: false
    }
  }
}
