import Messages

/// A store that is an older copy knows a claim as it was. What a host has of it under a newer token was given to it since, in the
/// history that was lost: the claim goes on from there.
extension Arbiter {
  /// Answers whether it is that. Tokens of one function change on multi-root end nodes alone.
  mutating func takeLater(_ status: FunctionStatus, from host: String) -> Bool {
    guard abandoned[status.recordName] == nil, status.phase == .created || status.phase == .inUse,
      status.role != .consumer, !status.isSpent,
      let name = claimOfFunction[status.function?.id ?? ""], var state = claims[name],
      state.phase == .preparing || state.phase == .ready, let known = state.assignment,
      let node = endNodes[known.endNode], node.isMultiRoot,
      var assignment = status.assignment, assignment.claimUid == known.claimUid,
      let token = assignment.token, token == status.function?.token, token.value > known.token?.value ?? .max,
      // What another root serves than the one that controls the device here is cut off as soon as that one has control.
      assignment.path == .direct || host == node.controllingHost
    else { return false }
    if let former = state.controlling { giveUp(former, of: state, isFenced: true) }
    if let former = state.consumer { giveUp(former, of: state) }
    state.consumer = nil
    assignment.extent = assignment.extent ?? known.extent
    takeShare(of: assignment)
    adopt(status, of: assignment, on: host, by: &state)
    let connection = orphans(of: assignment.function, on: assignment.host).last {
      $0.role == .consumer && $0.function?.token == token
    }
    if let connection { adopt(connection, of: assignment, on: assignment.host, by: &state) }
    state.prepare(assignment)
    put(&state)
    return true
  }

  /// Histories that did not know of each other may have drawn one token for two claims. A host that has a function for the other one
  /// has nothing under it for this one, which goes on with another function. What is there is an orphan: a release would take it
  /// from whoever it was made for.
  mutating func disown(_ entry: WantedFunction, of name: String, _ status: FunctionStatus) {
    guard entry.role != .consumer else { return refuse(entry, status) }
    guard var state = claims[name] else { return }
    noteOrphan(status, on: entry.host)
    let other = status.assignment?.claim ?? ""
    let words =
      "\(entry.host) has \(entry.functionID) for the claim '\(other)' of a history that this store does not know"
    state.controlling = nil
    let isStaying = state.phase == .preparing || state.phase == .ready
    if isStaying {
      state.withStatus {
        $0.phase = .reclaiming
        $0.pending = [.reclaiming(words)]
      }
    }
    claims[name] = state
    drop(entry, of: state, because: words)
    changes.tellAnew(entry.host)
    if isStaying { reclaim(state, because: words) } else { settle(name) }
  }

  /// The other claim's connection holds nothing, and ends as one whose token is spent.
  private mutating func refuse(_ entry: WantedFunction, _ status: FunctionStatus) {
    var status = status
    status.phase = .unspecified
    status.error = FunctionError {
      $0.step = "connect"
      $0.message = "it is connected for another claim under the same token"
      $0.highestToken = entry.assignment?.token
    }
    hosts.note(status, entry.recordName, of: entry.host)
  }
}

extension FunctionStatus {
  /// Whether its host has it for another claim.
  func isAnothers(than entry: WantedFunction) -> Bool {
    guard phase == .created || phase == .inUse || phase == .scrubbing, let made = assignment?.claimUid else {
      return false
    }
    return !made.isEmpty && made != entry.assignment?.claimUid
  }
}
