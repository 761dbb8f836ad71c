import Arbitration
import Messages

/// Claims that are granted together: seen from outside, all of them have something or none does.
extension Storm {
  /// In the storms whose wishes are the richest.
  var hasGroups: Bool { isHarsh && seed % 4 == 2 }

  mutating func createGroup() {
    createGroup((0..<3).map { _ in "claim-\(Int.random(in: 0..<7, using: &wishDice))" }) { $0.anySpecification() }
  }

  /// Of those that there are not.
  mutating func createGroup(_ names: [String], of specification: (inout Storm) -> ClaimSpecification) {
    let group = "group-\(nextID())"
    let names = Set(names).subtracting(arbiter.listedClaims.map(\.name))
    var common = ClaimSpecification()
    if isContended { addContention(to: &common) }
    let request = ApplyClaimsRequest {
      $0.claims = names.sorted().map { name in
        CreateClaimRequest {
          $0.name = name
          $0.specification = specification(&self)
          $0.specification?.group = group
          $0.specification?.priority = common.priority
          $0.specification?.preemption = common.preemption
          $0.specification?.tenant = common.tenant
        }
      }
    }
    guard !request.claims.isEmpty else { return }
    let uids = request.claims.map { _ in "uid-\(nextID())" }
    for (member, uid) in zip(request.claims, uids) { noteAsked(member, uid) }
    let call = CallID(nextID())
    requests[call] = .creation
    unplanned.insert(call)
    send(.claimsApplied(call, request, uids: uids))
  }

  /// Now and then a host says of what a member was granted, and has never used, that it will never set it up. By the token alone, so
  /// that it takes no dice.
  mutating func failMembers(on host: String) {
    guard mayFailMembers else { return }
    for entry in hosts[host]?.wanted.values.sorted(by: { $0.recordName < $1.recordName }) ?? [] {
      guard let assignment = entry.assignment, let token = assignment.token?.value, token % 3 == 1, !entry.released,
        assignment.endNode != sharedID || entry.role == .consumer,
        let claim = arbiter.claim(named: assignment.claim), !asked(by: claim).group.isEmpty,
        claim.status?.phase == .preparing, claim.status?.assignment?.function == assignment.function,
        claim.status?.assignment?.arrival == nil, hosts[host]?.functions[entry.recordName] == nil,
        hosts[host]?.failedForGood.insert(entry.recordName).inserted ?? false
      else { continue }
      coverage.note(.memberFailedForGood)
    }
  }

  /// The claims that go with one that is deleted.
  func claims(goingWith name: String, cascade: Bool) -> [String] {
    var going: [String] = []
    var left = [name]
    while let next = left.popLast() {
      guard !going.contains(next) else { continue }
      going.append(next)
      left += arbiter.claim(named: next).map { members(ofGroupOf: $0) } ?? []
      if cascade { left += (arbiter.claimsOfSource[next] ?? []).sorted() }
    }
    return going
  }

  func members(ofGroupOf claim: Claim) -> [String] {
    let group = asked(by: claim).group
    return group.isEmpty ? [] : arbiter.listedClaims.filter { asked(by: $0).group == group }.map(\.name)
  }

  var groups: [[Claim]] {
    let members = arbiter.listedClaims.filter { !asked(by: $0).group.isEmpty }
    return Dictionary(grouping: members) { asked(by: $0).group }.sorted { $0.key < $1.key }.map(\.value)
  }

  /// Looked at after each event: what happens to one happens to all in the same one.
  mutating func checkGroups() {
    guard hasGroups else { return }
    if !arbiter.isNothingKeptForGroups { coverage.note(.keptForGroup) }
    for members in groups {
      let phases = Set(members.map { $0.status?.phase ?? .unspecified })
      require(
        !phases.contains(.releasing) || phases.count == 1,
        "some of a group are deleted and others are not: \(members.map(\.words))")
      // What is on a disk stays when another one has lost what it had.
      let granted = members.filter { $0.isGranted && $0.status?.assignment?.attributes?.block == nil }
      let isPartial = !phases.isDisjoint(with: [.pending, .reclaiming])
      require(
        granted.isEmpty || !isPartial,
        "some of a group have what they need and others do not: \(members.map(\.words))")
      let kept = Set(members.filter { $0.status?.phase == .pending }.map { $0.status?.preemption != nil })
      require(kept.count < 2, "something is kept for some of a group and not for others: \(members.map(\.words))")
    }
  }

  /// Much longer than it takes hosts and arbiter to come to rest.
  static var groupTurn: UInt64 { 30_000 }

  /// Until nothing is kept for a group or a claim that has its turn: no turn lasts for ever, and after each that was in vain there is a while without
  /// one. Answers in how many rounds all came to rest.
  mutating func outlastTurns() -> Int {
    var (passed, rounds) = (0, 0)
    // One turn is longer by as many times as there are members.
    let most = Int(Self.groupTurn / 1000) * groups.reduce(4) { $0 + $1.count + 2 }
    repeat {
      while !arbiter.isNothingKeptInTurns, passed < most {
        for name in Self.hostNames { sendHeartbeat(name) }
        for name in Self.hostNames { exchange(name) }
        pass(1000)
        passed += 1
      }
      rounds = max(rounds, settle())
    } while !arbiter.isNothingKeptInTurns && passed < most
    let names = arbiter.groupsWithTurn.union(arbiter.claimsWithTurn).sorted()
    require(arbiter.isNothingKeptInTurns, "what is kept for \(names) is kept for ever")
    return rounds
  }

  /// What it has on a disk stays while the others of its group have nothing, and it is not ready without them.
  func waitsForMates(_ claim: Claim) -> Bool {
    guard claim.isGranted, claim.status?.assignment?.attributes?.block != nil else { return false }
    return members(ofGroupOf: claim).contains { arbiter.claim(named: $0)?.status?.phase == .pending }
  }

  /// Where nothing breaks any more, what has room for all of them has all of them.
  mutating func checkGroupsAtRest() {
    for members in groups {
      let pending = members.filter { $0.status?.phase == .pending }
      guard isWithinQuota(pending) else { continue }
      let nodes = pending.compactMap { claim in claim.specification.flatMap { roomFor($0) } }
      guard !pending.isEmpty, nodes.count == pending.count, Set(nodes).count == nodes.count else { continue }
      require(false, "a group is pending and would fit on \(nodes): \(members.map(\.words))")
    }
  }
}

extension Claim {
  fileprivate var isGranted: Bool { status?.phase == .preparing || status?.phase == .ready }
  fileprivate var words: String { "\(name) \(status?.phase ?? .unspecified) \(status?.pending.map(\.message) ?? [])" }
}
