import Arbitration
import Messages

/// The audit says who holds what, and no two hold one function.
extension Storm {
  mutating func note(_ holding: Holding) {
    audit.take(holding)
    hasAuditChanged = true
  }

  /// Looked at between the transactions of the store.
  mutating func checkAudit() {
    for problem in audit.problems where !hasForgotten { require(false, "the audit: \(problem)") }
    guard hasAuditChanged, commits.isEmpty, flaw == nil else { return }
    hasAuditChanged = false
    var held: Set<HoldingBook.Key> = []
    for case .wantedFunction(let entry) in store.values where !entry.abandoned {
      guard entry.role == .direct || entry.role == .server, let assignment = entry.assignment else { continue }
      held.insert(HoldingBook.Key(assignment.function, assignment.token))
    }
    let open = audit.openKeys
    require(held == open, "held are \(held.subtracting(open)), in the audit are \(open.subtracting(held))")
  }
}
