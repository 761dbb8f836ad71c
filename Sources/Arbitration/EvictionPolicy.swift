import Messages

/// What a drain does with a claim's function.
enum DrainFate {
  /// It is being let go of.
  case isGoing(String)
  case leaves
  case leavesWhereItFits
  /// Until the deadline, or something else, changes that.
  case isLeft(String)
  /// Whatever time passes.
  case stays(String)
}

extension Arbiter {
  func fate(of state: ClaimState, at target: Maintained, _ drain: Drain) -> DrainFate {
    guard state.phase == .preparing || state.phase == .ready else {
      return .isGoing(state.claim.status?.pending.last?.message ?? "it is being let go of")
    }
    if case .host(let host) = target, let node = endNodeTakenOver(with: state, from: host) {
      let words = "another host takes over \(node.record.name), and serves it from there"
      if drain.isDue { return .isLeft(words) }
      return drain.remainingMilliseconds == nil
        ? .stays("at a deadline \(words), and there is none") : .isLeft("at the deadline \(words)")
    }
    let losing = drain.discardData ? [] : dataLost(with: state)
    let policy = policy(of: state, discardsData: drain.discardData)
    guard policy != .never || (drain.force && losing.isEmpty) else {
      return .stays(
        losing.isEmpty
          ? "its claim says that it is never to be taken away; delete the claim, or drain with --force"
          : "what \(Names.list(losing)) \(losing.count == 1 ? "has" : "have") on a disk would be lost; delete the claim, or drain "
            + "with --discard-data")
    }
    if drain.isDue { return .leaves }
    if policy == .drain || policy == .anyTime { return .leavesWhereItFits }
    let until = "its claim allows it to be taken away at the deadline"
    return drain.remainingMilliseconds == nil ? .stays("\(until), and there is none") : .isLeft(until)
  }

  /// What holds for a claim together with those that would go with it: the others of its group, and those that have it as their
  /// source.
  func policy(of state: ClaimState, discardsData: Bool = false) -> EvictionPolicy {
    let all = [state] + matesThatGo(with: state)
    return all.map { ownPolicy(of: $0, discardsData: discardsData) }.min { $0.rawValue < $1.rawValue } ?? .never
  }

  func ownPolicy(of state: ClaimState, discardsData: Bool = false) -> EvictionPolicy {
    let parts = claims(from: state.claim.name).filter { $0.assignment?.endNode == state.assignment?.function }
    let own = state.specification.evictionPolicy
    let holdsData = !discardsData && !dataLost(with: state).isEmpty
    let mine = own == .unspecified ? (holdsData ? .never : .drain) : own
    return parts.map { ownPolicy(of: $0, discardsData: discardsData) }.reduce(mine) {
      $0.rawValue < $1.rawValue ? $0 : $1
    }
  }

  /// The end node that lets a claim keep its function where it is, because another host comes to control it; nil: none does.
  private func endNodeTakenOver(with state: ClaimState, from host: String) -> EndNodeState? {
    guard let assignment = state.assignment, assignment.path == .mediated, assignment.controllingHost == host,
      let node = endNodes[assignment.endNode], nextController(of: node) != nil
    else { return nil }
    return node
  }

  func validate(_ policy: EvictionPolicy) throws(Refusal) {
    // One of a later version must not be taken for one that lets the function go.
    guard case .unrecognized(let number) = policy else { return }
    throw Refusal(
      .invalidArgument,
      "the eviction policy number \(number) is not known; known ones: NEVER, DEADLINE, DRAIN, ANY_TIME")
  }
}
