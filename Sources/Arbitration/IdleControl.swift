import Messages

/// Parts of a multi-root end node are fastest on the host that controls it. While nothing of it is in use, control is nobody's
/// loss: it goes to the host of the first claim that gains by it.
extension Arbiter {
  /// Whether a claim is to wait for control of an end node to reach its own host, instead of being served by another one. What
  /// is not under way yet sets out now.
  mutating func waitsForControl(_ state: ClaimState, insteadOf best: Candidate) -> Bool {
    guard best.route.path == .mediated, !endNodes.multiRoot.isEmpty else { return false }
    let host = state.specification.host
    let idle = ownCandidates(for: state.specification).compactMap { endNodes[$0] }
      .filter { canGain(state, from: $0, insteadOf: best) }
    guard !idle.contains(where: { $0.record.controlTransfer?.host == host }) else { return true }
    guard idle.contains(where: { $0.record.id == best.node.record.id }) else { return false }
    transferControl(of: best.node.record.id, to: host)
    return true
  }

  /// Whether a claim would get a function of an end node by a path that it prefers, if its own host controlled that.
  private func canGain(_ state: ClaimState, from node: EndNodeState, insteadOf best: Candidate) -> Bool {
    let specification = state.specification
    guard node.isMultiRoot, node.shares.isEmpty, isUsable(specification.host, asRootOf: node),
      isSelected(node, by: specification.endNode), (try? checkFitness(of: node, for: specification)) != nil,
      (try? checkRootsAreHeard(node)) != nil
    else { return false }
    let own = try? route(to: state, by: specification.host, from: node)
    return own.map { $0.preference < best.preference } ?? false
  }
}
