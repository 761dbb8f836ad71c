import Messages

/// What others let go of for a claim that waits, or what is free for one until all of its group have what they need. Nobody of its
/// priority, or of a lower one, is given it meanwhile.
struct Nomination: Sendable {
  var claim: String
  var priority: Int32
  var tenantClass: TenantClass
  var endNode: String
  /// What the claim will take of the end node.
  var share: Share
  /// Those that let go.
  var victims: [String]
  /// The one that it is a member of, if it is kept because that has its turn.
  var group = ""
  /// It is kept because the claim has its turn.
  var hasTurn = false

  /// For whom it is kept, and why.
  fileprivate var words: String {
    guard group.isEmpty else { return "group '\(group)' of priority \(priority), which has waited longest" }
    let why = hasTurn ? "which has waited longest" : "for which others let go of it"
    return "'\(claim)' of priority \(priority), \(why)"
  }
}

/// A claim that nothing fits has others of strictly lower priorities let go of what they have. They do so as by any eviction; what they
/// had is kept for it until it has it, and a claim of yet higher priority may take it before.
extension Arbiter {
  /// For one claim, however many end nodes there are in the cluster: see `Search.left`.
  private static var mostLookedAt: Int { 65_536 }

  /// Has others let go, if there are such. Once in an event, so that whatever comes of it does so later.
  mutating func preempt(for state: inout ClaimState) {
    let specification = state.specification
    var left = Self.mostLookedAt
    guard specification.preemption != .never, specification.source.isEmpty,
      !changes.preemptors.contains(state.claim.name),
      let sacrifice = sacrifice(for: specification, lookingAt: &left), !sacrifice.victims.isEmpty
    else { return }
    changes.preemptors.insert(state.claim.name)
    nominate(&state, at: KeptPlace(sacrifice.candidate), victims: sacrifice.company.map(\.name))
    letGo(sacrifice.victims, for: "claim '\(state.claim.name)'", of: specification.priority)
  }

  mutating func letGo(_ victims: [Holder], for whom: String, of priority: Int32) {
    for victim in victims {
      evict(victim.name, because: "\(whom) of priority \(priority) needs it, and its own is \(victim.priority)")
    }
  }

  func validate(_ policy: PreemptionPolicy) throws(Refusal) {
    // One of a later version must not be taken for one that takes something away.
    guard case .unrecognized(let number) = policy else { return }
    throw Refusal(
      .invalidArgument, "the preemption policy number \(number) is not known; known ones: LOWER_PRIORITY, NEVER")
  }

  // MARK: What is kept

  /// From now on.
  mutating func nominate(_ state: inout ClaimState, at place: KeptPlace, victims: [String]) {
    state.withStatus {
      $0.preemption = Preemption {
        $0.endNode = place.endNode
        $0.path = place.path
        $0.claims = victims
        $0.since = now?.timestamp
      }
    }
    nominate(state)
  }

  mutating func nominate(_ state: ClaimState) {
    guard let nomination = nomination(of: state) else { return }
    nominations[nomination.endNode, default: []].append(nomination)
  }

  private func nomination(of state: ClaimState) -> Nomination? {
    guard let preemption = state.claim.status?.preemption, let node = endNodes[preemption.endNode] else { return nil }
    return Nomination(
      claim: state.claim.name, priority: state.specification.priority, tenantClass: state.specification.tenantClass,
      endNode: preemption.endNode, share: share(of: state.specification, on: node, by: preemption.path),
      victims: preemption.claims)
  }

  /// What a claim will take of an end node.
  func share(of specification: ClaimSpecification, on node: EndNodeState, by path: Path) -> Share {
    var assignment = Assignment()
    assignment.path = path
    // Empty where it is one of several.
    assignment.host = specification.host
    assignment.attributes = specification.attributes
    if node.isBlockDevice, assignment.attributes?.block?.sizeBytes == nil {
      var block = assignment.attributes?.block ?? BlockAttributes()
      block.sizeBytes = node.sizeBytes
      assignment.attributes = assignment.attributes ?? Attributes()
      assignment.attributes?.block = block
    }
    return assignment.share
  }

  /// Nothing is kept for it for the moment: it may take that itself.
  mutating func setNominationAside(of state: ClaimState) {
    if state.hasGroup { setPlaceAside(of: state.claim.name, inGroup: state.specification.group) }
    if let turn = turn(of: state) { setNominationAside(of: turn.claim, at: turn.place.endNode) }
    guard let id = state.claim.status?.preemption?.endNode else { return }
    setNominationAside(of: state.claim.name, at: id)
  }

  mutating func setNominationAside(of claim: String, at id: String) {
    nominations[id]?.removeAll { $0.claim == claim }
    if nominations[id]?.isEmpty ?? false { nominations[id] = nil }
  }

  /// Nothing is kept for it any more, so that others may have it.
  mutating func endNomination(of state: inout ClaimState) {
    guard let id = state.claim.status?.preemption?.endNode else { return }
    setNominationAside(of: state)
    state.withStatus { $0.preemption = nil }
    changes.openings.endNodes.insert(id)
    changes.openings.isKeptFreed = true
  }

  /// Those that have yet to let go for a claim.
  func victimsOnTheirWay(for state: ClaimState) -> [String] {
    guard let preemption = state.claim.status?.preemption, let node = endNodes[preemption.endNode] else { return [] }
    return preemption.claims.filter { isOnItsWay($0, from: node) }
  }

  func reasonOfPreemption(of state: ClaimState) -> [PendingReason] {
    let victims = victimsOnTheirWay(for: state)
    guard let id = state.claim.status?.preemption?.endNode, !victims.isEmpty else { return [] }
    return [.preemption(victims, of: endNodes[id]?.record.name ?? id)]
  }

  private func isOnItsWay(_ victim: String, from node: EndNodeState) -> Bool {
    guard let state = claims[victim], let assignment = state.assignment, assignment.endNode == node.record.id,
      state.phase == .reclaiming || state.phase == .releasing
    else { return false }
    return node.shares[assignment.function] != nil
  }

  /// Whether enough is left for those for whom others let go of it.
  func checkKept(in node: EndNodeState, for specification: ClaimSpecification, by path: Path) throws(Drop) {
    guard !nominations.isEmpty else { return }
    // What its tenant's quota does not allow one any more is no place of its own.
    let kept = (nominations[node.record.id] ?? []).filter {
      $0.priority >= specification.priority && !isUsedUp($0.tenantClass)
    }
    guard let first = kept.first else { return }
    let drop = Drop(
      .priority,
      "what is free of \(node.record.name) is kept for \(first.words)")
    // Where it will lie is not known yet.
    guard !node.isBlockDevice else { throw drop }
    var later = node
    for nomination in kept {
      for victim in nomination.victims where isOnItsWay(victim, from: node) {
        if let function = claims[victim]?.assignment?.function { later.freeShare(function) }
      }
      later.takeShare("kept for \(nomination.claim)", nomination.share)
    }
    do throws(Drop) {
      try checkRoom(on: later.offer(on: path), in: later)
      try checkRoom(in: later, for: specification)
    } catch { throw drop }
  }
}

extension KeptPlace {
  init(_ candidate: Candidate) {
    self.init()
    endNode = candidate.record.id
    path = candidate.route.path
  }
}

extension PendingReason {
  static func whoHasYetToLetGo(_ victims: [String]) -> String {
    "\(Names.list(victims.map { "'\($0)'" })) \(victims.count == 1 ? "has" : "have") yet to let go"
  }

  fileprivate static func preemption(_ victims: [String], of node: String) -> PendingReason {
    PendingReason {
      $0.filter = "preemption"
      $0.message = "\(whoHasYetToLetGo(victims)) of what it takes of \(node) for it"
    }
  }
}
