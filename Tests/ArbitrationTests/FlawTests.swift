import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// A storm that finds nothing proves something only if it finds what is there.
@Suite struct BrokenArbiters {
  @Test(arguments: Flaw.allCases)
  func areFoundOutByStorms(flaw: Flaw) throws {
    var found: UInt64?
    for seed in flaw.firstSeed..<flaw.firstSeed + 200 where found == nil {
      if try isFoundOut(flaw, by: seed, isHarsh: flaw.isOfHarshStorms, steps: flaw.steps) { found = seed }
    }
    #expect(found != nil, "\(flaw.rawValue) comes through two hundred storms unnoticed")
  }

  @Test func areNotSeenWhereThereAreNone() throws {
    for seed in UInt64(1)...40 {
      try #expect(!isFoundOut(nil, by: seed, isHarsh: false, steps: 120), "seed \(seed)")
      try #expect(!isFoundOut(nil, by: seed, isHarsh: true, steps: 600), "harsh seed \(seed)")
    }
  }

  private func isFoundOut(_ flaw: Flaw?, by seed: UInt64, isHarsh: Bool, steps: Int) throws -> Bool {
    guard !isHarsh || seed % 4 == 2 else { return false }
    let isContended = isHarsh || flaw?.isOfContention ?? (seed % 4 == 2)
    var storm = try Storm(seed: seed, isHarsh: isHarsh, isContended: isContended, flaw: flaw)
    for _ in 0..<steps where storm.failures.isEmpty { storm.act() }
    guard storm.failures.isEmpty else { return true }
    storm.heal()
    if isHarsh { _ = storm.outlastUpgrades() }
    guard !isHarsh else { return !storm.failures.isEmpty }
    let isUnfinished = storm.arbiter.listedClaims.contains { ![.ready, .pending].contains($0.status?.phase) }
    let hasUnknown = storm.arbiter.listedOrphans.contains { !$0.releasing }
    guard storm.hasForgotten || (!isUnfinished && !hasUnknown) else { return true }
    for claim in storm.arbiter.listedClaims { storm.delete(claim.name, cascade: true) }
    storm.settle()
    for function in Set(storm.arbiter.listedOrphans.compactMap { $0.status?.function?.id }).sorted().reversed() {
      storm.send(.orphanPurged(CallID(0), PurgeOrphanRequest { $0.function = function }))
      storm.settle()
    }
    storm.check()
    let isLeftOver =
      !storm.arbiter.listedClaims.isEmpty || !storm.arbiter.listedOrphans.isEmpty
      || storm.hosts.values.contains { !$0.functions.isEmpty }
      || storm.store.keys.contains { $0.kind == .claim || $0.kind == .wantedFunction }
    return isLeftOver || !storm.failures.isEmpty
  }
}
