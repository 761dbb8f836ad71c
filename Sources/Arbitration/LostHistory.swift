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
}
