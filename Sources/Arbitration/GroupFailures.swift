import Messages

/// A member of a group that cannot be set up for good keeps all of them from being ready. It is evicted with its mates, and the group
/// is tried elsewhere at once. Where it failed it is not tried again for a while, and for twice as long after each further failure. A
/// coordinator that begins anew begins anew with this, too.
extension Arbiter {
  /// What a host says of a member of a group that it will never set up; nil if it may, or has: what was in use waits for its host.
  func failureForGood(of state: ClaimState) -> (entry: WantedFunction, error: FunctionError)? {
    guard state.hasGroup, state.phase == .preparing, let assignment = state.assignment, assignment.arrival == nil,
      assignment.isAsGranted
    else { return nil }
    for entry in [state.controlling, state.consumer].compactMap({ $0 }) {
      guard !entry.released, let status = report(of: entry), status.phase != .inUse, let error = status.error,
        error.permanent, error.highestToken == nil
      else { continue }
      return (entry, error)
    }
    return nil
  }

  mutating func endSetUp(of state: ClaimState, _ entry: WantedFunction, because error: FunctionError) {
    guard let assignment = state.assignment else { return }
    let words = "\(error.step) on \(entry.host): \(error.message)"
    if let now {
      groupFailures[state.specification.group, default: FailedPlaces()].note(
        endNode: assignment.endNode, host: entry.role == .server ? nil : assignment.host,
        "'\(state.claim.name)' of its group failed there for good: \(words)", at: now, settings)
    }
    // Before its eviction changes what they say.
    let others = mates(of: state).filter { isNobodysYet($0, as: state) }.map(\.claim.name)
    let why = "its function failed for good: \(words)"
    evict(state.claim.name, because: why)
    for name in others { evict(name, because: wordsOfMate(state, "was evicted: \(why)")) }
  }

  /// Whether a mate was granted its function in the moment in which one was that has never been in use. Nobody was told that it is
  /// ready since, so that there is nothing of anybody's on its disk.
  private func isNobodysYet(_ mate: ClaimState, as state: ClaimState) -> Bool {
    guard mate.phase == .preparing, let granted = state.claim.status?.decision?.at else { return false }
    return mate.claim.status?.decision?.at == granted && mate.assignment?.isAsGranted ?? false
  }

  mutating func endGroupHolds(at now: Instant) {
    guard !groupFailures.isEmpty else { return }
    for group in groupFailures.keys.sorted() {
      guard groupFailures.change(group, { !$0.endHolds(at: now).isEmpty }) ?? false else { continue }
      if let name = members(of: group).first(where: { $0.phase == .pending })?.claim.name {
        changes.openings.claims.insert(name)
      }
    }
  }

  mutating func forgetFailures(ofGroup group: String) {
    if groupFailures[group] != nil { groupFailures[group] = nil }
  }

  // MARK: In placement

  /// That the group is not tried anywhere for a while; nil: it is.
  func holdAfterFailures(ofGroup group: String) -> PendingReason? {
    guard let failures = groupFailures[group], failures.isHeld,
      let next = failures.places.min(by: { $0.heldUntil < $1.heldUntil })
    else { return nil }
    return .group(
      "it has failed in \(failures.places.count) places, and is tried again at \(next.until.minute); of the last one, "
        + "\(endNodes[failures.places.last?.endNode ?? ""]?.record.name ?? ""): \(failures.places.last?.words ?? "")")
  }

  func checkFailures(on host: HostState, of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    let (id, name) = (node.record.id, host.record.name)
    guard let place = failedPlaces(for: specification).first(where: { $0.endNode == id && ($0.host ?? name) == name })
    else { return }
    throw Drop(.failed, "\(node.record.name): \(place.words); it is tried there again at \(place.until.minute)")
  }

  /// The end nodes that are not tried on a host for that.
  func endNodesThatFailed(on host: String, for specification: ClaimSpecification) -> [String] {
    failedPlaces(for: specification).filter { $0.host == host }.map(\.endNode).sorted()
  }

  private func failedPlaces(for specification: ClaimSpecification) -> [FailedPlaces.Place] {
    let ofGroup = specification.group.isEmpty ? [] : groupFailures[specification.group]?.places ?? []
    return ofGroup + placesFoundUnhealthy(for: specification)
  }
}

extension Assignment {
  /// Whether its hosts have only ever been told of it as it was granted: whoever takes over what is there does so under another token.
  fileprivate var isAsGranted: Bool {
    takesOver.isEmpty && function == String(joining: [endNode, "/", String(token?.value ?? 0)])
  }
}
