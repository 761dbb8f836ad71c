import Messages

/// Parts of a multi-root end node are fastest on the host that controls it. While nothing of it is in use, control is nobody's
/// loss: it goes to the host of the first claim that gains by it.
extension Arbiter {
  /// Whether a claim is to wait for control of an end node to reach its own host, instead of being served by another one. What
  /// is not under way yet sets out now.
  mutating func waitsForControl(_ state: ClaimState, insteadOf best: Candidate) -> Bool {
    guard best.route.path == .mediated, !endNodes.multiRoot.isEmpty else { return false }
    let specification = state.specification
    let known =
      specification.isForSeveralHosts
      ? Array(endNodes.multiRoot) : Array(endNodes.ids(atHost: specification.host))
    let underWay = known.compactMap { endNodes[$0] }.filter {
      $0.record.controlTransfer != nil && isCandidate($0, for: specification)
    }
    let node = endNodes[best.record.id]
    // To put many hosts in order takes long.
    guard !underWay.isEmpty || node?.isMultiRoot ?? false else { return false }
    let choice = choice(for: specification)
    for node in underWay {
      guard let host = node.record.controlTransfer?.host else { continue }
      if gainingHosts(of: state, from: node, insteadOf: best, choice).contains(host) { return true }
    }
    guard let node, let host = gainingHosts(of: state, from: node, insteadOf: best, choice).first
    else { return false }
    transferControl(of: node.record.id, to: host)
    return true
  }

  /// The hosts on which a claim would get a function of an end node by a path that it prefers, if they controlled that.
  private func gainingHosts(
    of state: ClaimState, from node: EndNodeState, insteadOf best: Candidate, _ choice: HostChoice
  ) -> [String] {
    let specification = state.specification
    guard node.isMultiRoot, node.shares.isEmpty, isSelected(node, by: specification),
      (try? checkRootsAreHeard(node)) != nil
    else { return [] }
    return choice.roots(of: node).filter { host in
      guard isUsable(host, asRootOf: node), let root = hosts[host]?.record, root.cordon == nil,
        root.taints.allSatisfy(specification.isAdmitted),
        (try? checkFitness(of: node, for: specification.used(on: host))) != nil
      else { return false }
      let own = try? route(to: state, on: host, by: host, from: node)
      return own.map { $0.preference < best.preference } ?? false
    }
  }
}
