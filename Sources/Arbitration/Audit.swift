import Messages

/// What is written down of who held what. A holding is one token of one function: it begins when a host is told to set the function
/// up for its claim, and ends when it is proven that nobody can use it under that token any more. Nothing is decided by it, so the
/// arbiter keeps none of it: each effect says what is news, and whoever stores them puts them together.
extension Arbiter {
  mutating func noteGranted(
    _ assignment: Assignment, to state: ClaimState, _ decision: PlacementDecision? = nil, because why: String = ""
  ) {
    changes.holdings.append(
      Holding(of: assignment, for: state) {
        $0.granted = now?.timestamp
        $0.decision = decision
        $0.whyGranted = why
      })
  }

  mutating func noteInUse(_ assignment: Assignment, by state: ClaimState) {
    changes.holdings.append(Holding(of: assignment, for: state) { $0.inUse = now?.timestamp })
  }

  /// What was proven of the host that had it.
  mutating func noteEnded(_ entry: WantedFunction, of state: ClaimState, _ proof: String) {
    guard entry.role == .direct || entry.role == .server, let assignment = entry.assignment else { return }
    changes.holdings.append(
      Holding(of: assignment, for: state) {
        $0.ended = now?.timestamp
        $0.whyEnded = "\(cause(of: state)); \(proof)"
      })
  }

  private func cause(of state: ClaimState) -> String {
    let reason = state.claim.status?.pending.first { PendingReason.causes.contains($0.filter) }?.message
    switch state.phase {
    case .releasing: return reason ?? "the claim was deleted"
    case .reclaiming: return reason ?? "it was lost"
    default: return "the claim goes on with it under another token"
    }
  }
}

extension Holding {
  init(of assignment: Assignment, for state: ClaimState, _ body: (inout Holding) -> Void) {
    self.init {
      $0.function = assignment.function
      $0.token = assignment.token
      $0.endNode = assignment.endNode
      $0.deviceClass = assignment.deviceClass
      $0.claim = assignment.claim
      $0.claimUid = assignment.claimUid
      $0.tenant = state.specification.tenantName
      $0.host = assignment.host
      $0.controllingHost = assignment.controllingHost
      $0.path = assignment.path
      $0.consumer = assignment.consumer
      body(&$0)
    }
  }
}
