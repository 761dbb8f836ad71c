import Messages

/// Claims that are granted together or not at all. A group has no record of its own: it is the claims that name it, which are made in
/// one event and deleted in one.
extension Arbiter {
  /// Who asks for more means several groups.
  package static var mostMembers: Int { 256 }

  func members(of group: String) -> [ClaimState] {
    (claimsOfGroup[group] ?? []).sorted().compactMap { claims[$0] }
  }

  /// The other members of its group, by name.
  func mates(of state: ClaimState) -> [ClaimState] {
    guard state.hasGroup else { return [] }
    return members(of: state.specification.group).filter { $0.claim.name != state.claim.name }
  }

  /// The mates whose functions go when its own goes. What is on a disk stays: that another member has lost what it had is no reason
  /// to lose that as well.
  func matesThatGo(with state: ClaimState) -> [ClaimState] {
    mates(of: state).filter { ($0.phase == .preparing || $0.phase == .ready) && dataLost(with: $0).isEmpty }
  }

  // MARK: Made together

  /// Makes all claims of a request that name the group. Each is planned as one that is created, or refused.
  mutating func makeGroup(
    _ group: String, of request: ApplyClaimsRequest, uids: [String], at now: Instant, _ planned: inout [PlannedClaim]
  ) {
    let indices = request.claims.indices.filter { request.claims[$0].specification?.group == group }
    do throws(Refusal) { try validateGroup(group, indices.map { request.claims[$0] }) } catch {
      for index in indices { planned[index].refuse(error) }
      return
    }
    var problem: (index: Int, refusal: Refusal)?
    beginTrial()
    for index in indices where problem == nil {
      do throws(Refusal) { try makeMember(request.claims[index], uid: uids[index], at: now) } catch {
        problem = (index, error)
      }
    }
    if problem == nil, let first = indices.first, let refusal = refusalOfTooMany(group) { problem = (first, refusal) }
    endTrial(keeping: problem == nil)
    if let problem {
      let name = Names.shown(request.claims[problem.index].name)
      let others = Refusal(problem.refusal.code, "its group '\(group)' is not made, because of '\(name)'")
      for index in indices { planned[index].refuse(index == problem.index ? problem.refusal : others) }
      return
    }
    placeGroup(group)
    for index in indices { planned[index].action = .create }
  }

  /// A claim that waits, and has yet to say why.
  private mutating func makeMember(_ request: CreateClaimRequest, uid: String, at now: Instant) throws(Refusal) {
    if let problem = Names.problem(with: request.name, of: "claim") { throw Refusal(.invalidArgument, problem) }
    guard let specification = request.specification?.normalized else {
      throw Refusal(.invalidArgument, "claim '\(request.name)' has no specification")
    }
    if let existing = claims[request.name] {
      throw existing.phase == .releasing ? stillReleased(existing) : memberReplaced(existing, by: specification)
    }
    var (state, _) = try newClaim(request.name, specification, uid: uid, at: now)
    put(&state)
    wait(state)
  }

  func liveForDifferentTimes(_ group: String) -> Refusal {
    Refusal(
      .invalidArgument,
      "the members of group '\(group)' end together, and are to live for different times: say one time to live for all")
  }

  private func validateGroup(_ group: String, _ members: [CreateClaimRequest]) throws(Refusal) {
    if let problem = Names.problem(with: group, of: "group") { throw Refusal(.invalidArgument, problem) }
    guard members.count <= Self.mostMembers else {
      throw Refusal(
        .invalidArgument,
        "group '\(group)' has \(members.count) members, and at most \(Self.mostMembers) are granted together: make "
          + "several groups")
    }
    let names = Set(members.map(\.name))
    for member in members {
      guard let source = member.specification?.source, names.contains(source) else { continue }
      throw Refusal(
        .invalidArgument,
        "'\(Names.shown(member.name))' is to be a part of what '\(source)' has, and both are of group '\(group)': a source has "
          + "its function before its parts can have theirs, so the two are never granted together")
    }
    let specifications = members.compactMap(\.specification)
    func refuse(_ words: String) -> Refusal { Refusal(.invalidArgument, "the members of group '\(group)' \(words)") }
    guard Set(specifications.map(\.timeToLiveSeconds)).count < 2 else {
      throw liveForDifferentTimes(group)
    }
    guard Set(specifications.map(\.tenantName)).count < 2 else {
      throw refuse("are granted together, and are of different tenants: name one for all")
    }
    guard Set(specifications.map(\.priority)).count < 2 else {
      throw refuse("are granted together, and have different priorities: say one for all")
    }
    for specification in specifications { try validateUpgrade(specification) }
  }

  /// Not pending for ever: what all end nodes together can never give.
  private func refusalOfTooMany(_ group: String) -> Refusal? {
    func refuse(_ count: Int, of deviceClass: String, _ words: String) -> Refusal {
      Refusal(
        .invalidArgument, "group '\(group)' asks for \(count) functions of class \(deviceClass) at once, and \(words)")
    }
    if let refusal = refusalOfMoreThanQuota(group) { return refusal }
    // By what end nodes they select; then also by what they need there, and then by where they can use it.
    for (choice, count) in membersCounted(of: group, by: \.endNodeChoice) {
      guard let (nodes, most) = shortage(of: count, of: choice, { $0.functionLimit }) else { continue }
      return refuse(count, of: choice.deviceClass, "\(nodes) \(most)")
    }
    // However few functions each has.
    for (choice, hosts) in hostsCounted(of: group) {
      guard let (nodes, most) = shortage(of: hosts, of: choice, { $0.hostLimit }) else { continue }
      return Refusal(
        .invalidArgument,
        "group '\(group)' is used on \(hosts) hosts at once, and \(nodes) \(most) to serve")
    }
    for (need, count) in membersCounted(of: group, by: \.endNodeNeed) {
      guard let (nodes, most) = shortage(of: count, of: need, { $0.most(of: need) }) else { continue }
      return refuse(count, of: need.deviceClass, "\(nodes) room for \(most) of them\(need.wordsOfNeed)")
    }
    for (need, count) in membersCounted(of: group, by: \.needWithPlace) {
      guard let (nodes, most) = shortage(of: count, of: need, { $0.most(of: need, byTheirPaths: true) }) else {
        continue
      }
      return refuse(count, of: need.deviceClass, "\(nodes) \(most)\(need.wordsOfNeed)")
    }
    return nil
  }

  /// More of something together than its tenant may ever have, although each for itself asks for less.
  private func refusalOfMoreThanQuota(_ group: String) -> Refusal? {
    let ofClasses = Dictionary(grouping: members(of: group).map(\.specification), by: \.tenantClass)
    for (key, specifications) in ofClasses.sorted(by: { $0.key.deviceClass < $1.key.deviceClass }) {
      guard let quota = quota(of: key) else { continue }
      let rates = specifications.map { $0.attributes?.minimumRates ?? MinimumRates() }
      let limits: [(unit: String, limit: UInt64?, asked: [UInt64])] = [
        ("functions", quota.functions.map { UInt64($0) }, [UInt64(specifications.count)]),
        ("bit/s", quota.bitsPerSecond, rates.map(\.bitsPerSecond)),
        ("operations per second", quota.operationsPerSecond, rates.map(\.operationsPerSecond)),
        ("bytes per second", quota.bytesPerSecond, rates.map(\.bytesPerSecond)),
      ]
      for (unit, limit, asked) in limits {
        let sum = UInt64(addingUpTo: asked)
        guard let limit, sum.map({ $0 > limit }) ?? true else { continue }
        return Refusal(
          .invalidArgument,
          "group '\(group)' asks for \(sum.map { "\($0)" } ?? "more than \(UInt64.max)") \(unit) of class \(key.deviceClass) at once, "
            + "and the quota of tenant '\(key.tenant)' is \(limit)")
      }
    }
    return nil
  }

  /// Those that are alike in something, in the order of the members. What is a part of another claim's needs nothing more.
  private func membersCounted(
    of group: String, by likeness: (ClaimSpecification) -> ClaimSpecification
  ) -> [(ClaimSpecification, Int)] {
    var kinds: [(specification: ClaimSpecification, count: Int)] = []
    for member in members(of: group) where member.specification.source.isEmpty {
      let kind = likeness(member.specification)
      if let known = kinds.firstIndex(where: { $0.specification == kind }) {
        kinds[known].count += 1
      } else {
        kinds.append((kind, 1))
      }
    }
    return kinds
  }

  /// How many hosts those name that select the same end nodes.
  private func hostsCounted(of group: String) -> [(ClaimSpecification, Int)] {
    var kinds: [(specification: ClaimSpecification, hosts: Set<String>)] = []
    for member in members(of: group) {
      let specification = member.specification
      guard specification.source.isEmpty, !specification.isForSeveralHosts else { continue }
      if let known = kinds.firstIndex(where: { $0.specification == specification.endNodeChoice }) {
        kinds[known].hosts.insert(specification.host)
      } else {
        kinds.append((specification.endNodeChoice, [specification.host]))
      }
    }
    return kinds.map { ($0.specification, $0.hosts.count) }
  }

  /// "the 2 end nodes that it selects have", and how much together; nil if that is enough, or if there are none yet.
  private func shortage(
    of count: Int, of specification: ClaimSpecification, _ limit: (EndNodeState) -> UInt64?
  ) -> (nodes: String, most: UInt64)? {
    var (nodes, most) = (0, UInt64(0))
    for id in candidates(for: specification) {
      guard let node = endNodes[id], isEverSelected(node, by: specification), node.isWithinReach(of: specification)
      else { continue }
      guard let limit = limit(node), limit < count - Int(most) else { return nil }
      nodes += 1
      most += limit
    }
    guard nodes > 0 else { return nil }
    let place = specification.wordsOfReach
    return (
      nodes == 1
        ? "the only end node that it selects\(place) has" : "the \(nodes) end nodes that it selects\(place) have", most
    )
  }

  // MARK: Ready together

  /// One that keeps it from being ready. What is ready is so until its host says otherwise, also while that one is away.
  func unattachedMate(of state: ClaimState) -> String? {
    mates(of: state).first { $0.phase != .ready && !isAttached($0) }?.claim.name
  }

  mutating func settleAttachedGroups() {
    while let group = changes.attachedGroups.popFirst() { settle(claimsOfGroup[group] ?? []) }
  }

  // MARK: Gone together

  /// - Parameter what: what happened to the claim, as it follows its name.
  mutating func evictMates(of state: ClaimState, because what: String) {
    for mate in matesThatGo(with: state) { evict(mate.claim.name, because: wordsOfMate(state, what)) }
  }

  func wordsOfMate(_ state: ClaimState, _ what: String) -> String {
    "'\(state.claim.name)' of its group '\(state.specification.group)' \(what)"
  }

  // MARK: What is not done to one alone

  func memberMadeAlone(_ name: String, of group: String) -> Refusal {
    Refusal(
      .invalidArgument,
      "claim '\(Names.shown(name))' is to be of group '\(Names.shown(group))', and the members of a group are made together: "
        + "apply all of them at once")
  }

  func newMember(_ name: String, of group: String) -> Refusal {
    let members = members(of: group)
    if let first = members.first, members.allSatisfy({ $0.phase == .releasing }) { return stillReleased(first) }
    return Refusal(
      .failedPrecondition,
      "group '\(group)' has the members that it was made with, \(Names.list(members.map(\.claim.name))), and "
        + "'\(Names.shown(name))' is none of them: delete the group and make it anew, or name another group")
  }

  /// What was deleted has its name, and is of its group, until its hosts have let go. Members are deleted together, and told of as one.
  func stillReleased(_ existing: ClaimState) -> Refusal {
    Refusal(
      .aborted,
      (existing.hasGroup ? "group '\(existing.specification.group)'" : "it")
        + " is being released; apply again once it is gone")
  }

  func memberReplaced(_ existing: ClaimState, by specification: ClaimSpecification) -> Refusal {
    Refusal(
      .failedPrecondition,
      existing.hasGroup
        ? "it is of group '\(existing.specification.group)', of which no member is made anew by itself: delete the group, and "
          + "make it anew"
        : "there is a claim '\(existing.claim.name)' already, which is not of group '\(Names.shown(specification.group))': delete "
          + "it, or choose another name")
  }

  func memberDeletedAlone(_ state: ClaimState, _ mates: [ClaimState]) -> Refusal {
    Refusal(
      .failedPrecondition,
      "claim '\(state.claim.name)' is of group '\(state.specification.group)', of which none is without the others "
        + "(\(Names.list(mates.map(\.claim.name)))): delete all of them: --whole-group")
  }
}

extension ClaimState {
  var hasGroup: Bool { !specification.group.isEmpty }
}

extension ClaimSpecification {
  /// What says which end nodes it chooses among.
  fileprivate var endNodeChoice: ClaimSpecification {
    ClaimSpecification {
      $0.deviceClass = deviceClass
      $0.endNode = endNode
      $0.selector = selector
    }
  }

  /// The same, and what of an end node each takes.
  fileprivate var endNodeNeed: ClaimSpecification {
    var result = endNodeChoice
    result.attributes = Attributes {
      $0.block = BlockAttributes {
        $0.sizeBytes = attributes?.block?.sizeBytes
        $0.minOperationsPerSecond = attributes?.block?.minOperationsPerSecond
        $0.minBytesPerSecond = attributes?.block?.minBytesPerSecond
      }
      $0.ethernet = EthernetAttributes {
        $0.minTransmitBitsPerSecond = attributes?.ethernet?.minTransmitBitsPerSecond
        $0.queues = attributes?.ethernet?.queues
      }
    }
    return result
  }

  /// The same, and where each is used, by which paths, where that leaves fewer end nodes. Labels of hosts may change, so that a
  /// condition leaves all hosts open, and so do racks.
  fileprivate var needWithPlace: ClaimSpecification {
    var result = endNodeNeed
    guard hostSelector.isEmpty || !hosts.isEmpty else { return result }
    result.host = host
    result.hosts = hosts
    result.allowedPaths = allowedPaths.isEmpty ? [] : paths.sorted { $0.rawValue < $1.rawValue }
    if isForOwnHostOnly { result.locality = Locality { $0.within = .host } }
    return result
  }

  /// Whether a function that another host serves is out of the question.
  fileprivate var isForOwnHostOnly: Bool {
    locality?.within == .host || locality?.within == .numaNode || !paths.contains(.mediated)
  }

  /// " and a can use on the path direct"; "" if that was not asked.
  fileprivate var wordsOfReach: String {
    guard !host.isEmpty || !hosts.isEmpty else { return "" }
    let own = isForOwnHostOnly && paths.contains(.mediated) ? ", as one of its own," : ""
    let all = paths.map(\.word).joined(separator: " or ")
    return " and \(hostWords) can use\(own)" + (allowedPaths.isEmpty ? "" : " on the path \(all)")
  }

  /// ", with 4096 bytes each"; "" if it takes no more than a function.
  fileprivate var wordsOfNeed: String {
    let minima = attributes?.minimumRates ?? MinimumRates()
    let words = [
      attributes?.block?.sizeBytes.map { "\($0) bytes" },
      minima.bitsPerSecond > 0 ? "at least \(minima.bitsPerSecond) bit/s" : nil,
      minima.operationsPerSecond > 0 ? "at least \(minima.operationsPerSecond) operations per second" : nil,
      minima.bytesPerSecond > 0 ? "at least \(minima.bytesPerSecond) bytes per second" : nil,
      minima.queues > 0 ? "\(minima.queues) queues" : nil,
    ].compactMap(\.self)
    return words.isEmpty ? "" : ", with \(words.joined(separator: " and ")) each"
  }
}

extension EndNodeState {
  /// Nil: no limit.
  fileprivate var functionLimit: UInt64? {
    guard let limit = record.capacity?.functions, limit > 0 else { return nil }
    return UInt64(limit)
  }

  /// Nil: any number.
  fileprivate var hostLimit: UInt64? {
    guard let limit = record.capacity?.hosts, limit > 0 else { return nil }
    return UInt64(limit)
  }

  /// Whether one of the hosts that the specification names, if it names any, can ever use a function of it.
  fileprivate func isWithinReach(of specification: ClaimSpecification) -> Bool {
    let named = specification.hosts.isEmpty ? [specification.host] : specification.hosts
    guard named != [""] else { return true }
    return named.contains { host in
      (isOwn(host) && specification.paths != [.mediated])
        || (!specification.isForOwnHostOnly && (host != controllingHost || record.roots.count > 1))
    }
  }

  /// Nil: some path has no limit of its own, or there is none yet.
  private func limit(ofPaths paths: [Path]) -> UInt64? {
    let known = paths.filter { has($0) }
    guard !known.isEmpty else { return nil }
    var sum: UInt64 = 0
    for path in known {
      guard let limit = offer(on: path).functions else { return nil }
      // More of its own are on their way.
      sum += UInt64(path == .direct ? max(limit, record.wantedFunctions ?? 0) : limit)
    }
    return sum
  }

  /// How many of what the specification takes are there at most if nobody else has anything; nil: no limit.
  fileprivate func most(of specification: ClaimSpecification, byTheirPaths: Bool = false) -> UInt64? {
    let capacity = record.capacity ?? Capacity()
    let minima = specification.attributes?.minimumRates ?? MinimumRates()
    var amounts = [
      (capacity.bitsPerSecond, minima.bitsPerSecond), (capacity.operationsPerSecond, minima.operationsPerSecond),
      (capacity.bytesPerSecond, minima.bytesPerSecond), (UInt64(capacity.queues), minima.queues),
    ]
    // Without a size it is the whole.
    if isBlockDevice { amounts.append((sizeBytes, specification.attributes?.block?.sizeBytes ?? sizeBytes)) }
    let paths = byTheirPaths ? limit(ofPaths: specification.paths) : nil
    let limits = amounts.filter { $0 > 0 && $1 > 0 }.map { $0 / $1 } + [functionLimit, paths].compactMap(\.self)
    return limits.min()
  }
}

extension UInt64 {
  /// The sum; nil: it is more than a number can be.
  fileprivate init?(addingUpTo numbers: [UInt64]) {
    self = 0
    for number in numbers {
      let (sum, isTooMuch) = addingReportingOverflow(number)
      guard !isTooMuch else { return nil }
      self = sum
    }
  }
}

extension PendingReason {
  static let group = "group"

  static func group(_ message: String) -> PendingReason {
    PendingReason {
      $0.filter = group
      $0.message = message
    }
  }
}

extension PlannedClaim {
  fileprivate mutating func refuse(_ refusal: Refusal) {
    action = .refuse
    self.refusal = refusal.message
  }
}
