import Arbitration
import Messages

/// What a storm came to.
public struct StormReport: Sendable {
  public let seed: UInt64
  public let steps: Int
  /// What has happened that must never happen; the first ones.
  public let failures: [String]
  public let coverage: Coverage
  /// How many seconds without faults it took until nothing changed any more.
  public let roundsToRest: Int
  /// Of all effects; equal for two runs of one seed in one process.
  public let effects: Int?
}

extension Storm {
  /// A harsh storm, every second one with file servers: some steps, then no faults any more, then the end of all claims.
  ///
  /// - Parameter isMaintained: whether operators take part; nil: in two of three.
  public static func run(
    seed: UInt64, steps: Int, isMaintained: Bool? = nil, isRecorded: Bool = false
  ) -> StormReport {
    do {
      var storm = try Storm(
        seed: seed, hasFileServers: seed % 2 == 0, isHarsh: true, isMaintained: isMaintained ?? (seed % 3 != 0),
        isContended: seed % 4 == 2, isRecorded: isRecorded)
      var taken = 0
      while taken < steps, storm.failures.isEmpty {
        storm.act()
        taken += 1
      }
      let rounds = storm.failures.isEmpty ? storm.end() : 0
      return storm.report(steps: taken, rounds: rounds)
    } catch {
      return StormReport(
        seed: seed, steps: 0, failures: [error.message], coverage: Coverage(), roundsToRest: 0, effects: nil)
    }
  }

  private func report(steps: Int, rounds: Int) -> StormReport {
    StormReport(
      seed: seed, steps: steps, failures: failures, coverage: coverage, roundsToRest: rounds,
      effects: recorder.map { $0.finalize() })
  }

  /// Nothing breaks any more: all that can be granted is, and all that is released goes.
  @discardableResult
  mutating func end() -> Int {
    var rounds = heal()
    if isMaintained || hasGroups { rounds = max(rounds, outlastHolds()) }
    if hasPlacements { rounds = max(rounds, outlastUpgrades()) }
    rounds = max(rounds, outlastTurns())
    checkClaimsAtRest()
    if isMaintained {
      checkHealthAtRest()
      checkDrainsAtRest()
      checkFunctionCountsAtRest()
      endMaintenance()
      rounds = max(rounds, settle())
      rounds = max(rounds, outlastTurns())
      checkClaimsAtRest()
    }
    for claim in arbiter.listedClaims { delete(claim.name, cascade: true) }
    // The parts of an orphan go before it.
    for function in Set(arbiter.listedOrphans.compactMap { $0.status?.function?.id }).sorted().reversed() {
      purge(function)
    }
    settle()
    check()
    checkNothingIsLeft()
    return rounds
  }

  private mutating func purge(_ function: String) {
    // Where a claim of another history has it under the same token, that one lets go first.
    if arbiter.listedClaims.contains(where: { $0.status?.assignment?.function == function }) { settle() }
    let parts = arbiter.listedOrphans.filter { $0.status?.function?.id == function }
    // Where two hosts have it in one role, of histories that did not know of each other, the operator has to name them.
    let roles = parts.map { $0.status?.recordName ?? "" }
    let hosts = Set(roles).count == roles.count ? [""] : parts.map(\.host)
    for host in hosts {
      let request = PurgeOrphanRequest {
        $0.function = function
        $0.host = host
      }
      send(.orphanPurged(CallID(0), request))
      settle()
    }
  }

  private mutating func checkClaimsAtRest() {
    if isContended { checkPreemptionAtRest() }
    checkSharesAtRest()
    for claim in arbiter.listedClaims {
      let phase = claim.status?.phase
      if let specification = claim.specification, let host = claim.status?.assignment?.host {
        let meant = hosts(meantBy: specification)
        require(meant.contains(host), "\(claim.name) is used on \(host) and may be on \(meant)")
      }
      require(!isOverdue(claim), "\(claim.name) was to end at \(claim.expires?.seconds ?? 0)")
      // Where an orphan lies in the way, it is for a person to say what becomes of it.
      let isNamed = claim.status?.pending.contains { $0.message.contains("orphan") } ?? false
      let isInTheWay = !arbiter.listedOrphans.isEmpty && (claim.status?.error?.step == "geometry" || isNamed)
      require(
        phase == .ready || phase == .pending || isInTheWay || isCrowdedOut(claim) || waitsForMates(claim),
        "\(claim.name) hangs, \(phase ?? .unspecified): \(claim.status?.pending ?? [])")
      guard phase == .pending, !isInTheWay, isWithinQuota(claim) else { continue }
      if let specification = claim.specification, specification.group.isEmpty, let node = roomFor(specification) {
        require(false, "\(claim.name) is pending and would fit on \(node): \(claim.status?.pending ?? [])")
      }
    }
    if arbiter.listedOrphans.isEmpty { checkGroupsAtRest() }
  }

  /// Whether there is no room for it at the device, because an orphan was adopted, and it says who has that.
  private func isCrowdedOut(_ claim: Claim) -> Bool {
    guard hasForgotten, let assignment = claim.status?.assignment else { return false }
    let role: Role = assignment.path == .mediated ? .server : .direct
    let name = WantedFunction.recordName(role, assignment.function, assignment.token)
    guard hosts[assignment.controllingHost]?.crowdedOut.contains(name) ?? false else { return false }
    let holders = arbiter.listedClaims.filter {
      $0.uid != claim.uid && $0.status?.assignment?.endNode == assignment.endNode
    }
    let words = claim.status?.pending.map(\.message).joined() ?? ""
    return holders.contains { words.contains("'\($0.name)'") }
  }

  /// What is held counts as used, or it would be given to others as well.
  private mutating func checkSharesAtRest() {
    let held = arbiter.listedClaims.filter { $0.status?.phase == .ready }.compactMap(\.status?.assignment)
    for node in arbiter.listedEndNodes {
      let parts = held.filter { $0.endNode == node.id }
      let (functions, bytes) = (parts.count, parts.reduce(0) { $0 + $1.sizeBytes })
      require(
        Int(node.used?.functions ?? 0) >= functions && node.used?.sizeBytes ?? 0 >= bytes,
        "\(functions) functions and \(bytes) B of \(node.id) are held, and \(node.used ?? Capacity()) counts as used")
    }
  }

  private func isOverdue(_ claim: Claim) -> Bool {
    guard let expires = claim.expires, arbiter.claimsOfSource[claim.name]?.isEmpty ?? true else { return false }
    let age = now - (arbiter.began?.monotonicMilliseconds ?? now)
    let latest = min(instant.wallMilliseconds, arbiter.countedTime(at: instant).wallMilliseconds)
    return age > 2 * Arbiter.secondsBeforeAnythingEnds * 1000 && expires.seconds * 1000 + 10_000 < latest
  }

  private mutating func checkNothingIsLeft() {
    let claims = arbiter.listedClaims.map { "\($0.name) (\($0.status?.phase ?? .unspecified))" }
    require(claims.isEmpty, "claims are left over: \(claims)")
    require(arbiter.listedOrphans.isEmpty, "orphans are left over")
    require(hosts.values.allSatisfy { $0.functions.isEmpty }, "functions are left over on their hosts")
    require(arbiter.listedEndNodes.allSatisfy { $0.used == Capacity() }, "end nodes are in use by nobody")
    require(
      !store.keys.contains { $0.kind == .claim || $0.kind == .wantedFunction }, "the store holds what is gone")
    // A whole one that was cleaned for a lost host is kept from that host for good.
    let keeper = arbiter.listedEndNodes.first { $0.id == sharedID }?.physicalFunction?.controllingHost ?? ""
    let isKept = device.holder == keeper && device.key == hosts[keeper]?.controlsInForce[sharedID]
    require(!isKept, "\(keeper) keeps the shared device, of which nothing is in use")
    require(arbiter.hasEmptyIndexes, "an index of the arbiter holds what is gone")
  }
}
