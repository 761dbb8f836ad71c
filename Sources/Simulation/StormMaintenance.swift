import Arbitration
import Messages

/// Operators who take functions away from claims. Their dice are their own, so that storms without them stay as they are.
extension Storm {
  mutating func maintain() {
    guard Int.random(in: 0..<12, using: &maintenanceDice) == 0 else { return }
    evictAny()
  }

  private mutating func evictAny() {
    let name = "claim-\(Int.random(in: 0..<7, using: &maintenanceDice))"
    let discardsData = Int.random(in: 0..<4, using: &maintenanceDice) > 0
    let before = arbiter.claim(named: name)
    ask(.other) { .claimEvicted($0, claim: name, why: "somebody needs it", discardsData: discardsData) }
    checkEviction(of: before, discardsData)
  }

  /// What it has on a disk is taken from nobody without a word, and a claim whose function is taken stays.
  private mutating func checkEviction(of before: Claim?, _ discardsData: Bool) {
    guard let before, let held = before.status?.assignment else { return }
    let after = arbiter.claim(named: before.name)
    require(after?.uid == before.uid, "\(before.name) was evicted, and is no more")
    guard before.status?.phase == .ready || before.status?.phase == .preparing else { return }
    let isKept = !discardsData && held.attributes?.block != nil && !held.isForFileServer
    let hasKept = after?.status?.phase == before.status?.phase && after?.status?.assignment?.function == held.function
    if isKept { require(hasKept, "\(before.name) lost what it has on a disk") }
    let isGoing = after?.status?.phase == .reclaiming || after?.status?.assignment?.token != held.token
    if discardsData { require(isGoing, "\(before.name) was evicted and keeps \(held.function)") }
  }
}

extension Claim {
  var isBeingEvicted: Bool {
    status?.phase == .reclaiming && status?.pending.contains { $0.filter == "evicted" } ?? false
  }
}
