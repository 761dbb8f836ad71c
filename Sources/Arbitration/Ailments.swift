import Messages

/// What is remembered of a function that is unhealthy, or was of late.
struct Ailment {
  /// What its hosts say; it is told only where it does not change too often.
  var found: FunctionHealth
  var flapping = Flapping()
  /// Since when it is told as unhealthy in this run, on the arbiter's monotonic clock.
  var unhealthySince: UInt64?
  /// When it is looked at next although nobody says anything; nil: never.
  var due: UInt64?
}

/// The ailments of claims' functions, those that are due first in order.
struct Ailments: Triable {
  private struct Due: Comparable {
    var time: UInt64
    var name: String

    static func < (one: Due, other: Due) -> Bool { (one.time, one.name) < (other.time, other.name) }
  }

  private var ofClaim = Table<String, Ailment>()
  private var ordered = OrderedSet<Due>()

  var isEmpty: Bool { ofClaim.isEmpty }

  subscript(name: String) -> Ailment? {
    get { ofClaim[name] }
    set {
      let (before, after) = (due(ofClaim[name], name), due(newValue, name))
      if before != after {
        if let before { ordered.remove(before) }
        if let after { ordered.insert(after) }
      }
      ofClaim[name] = newValue
    }
  }

  mutating func remove(_ name: String) { if ofClaim[name] != nil { self[name] = nil } }

  /// What a claim has no more is not unhealthy any more.
  mutating func follow(_ state: ClaimState) {
    guard !ofClaim.isEmpty, state.claim.status?.health == nil || !state.isSetUp else { return }
    remove(state.claim.name)
  }

  func nextDue(until time: UInt64) -> String? {
    ordered.first(after: nil).flatMap { $0.time <= time ? $0.name : nil }
  }

  private func due(_ ailment: Ailment?, _ name: String) -> Due? { ailment?.due.map { Due(time: $0, name: name) } }

  mutating func beginTrial() { ofClaim.beginTrial() }

  mutating func endTrial(keeping: Bool) {
    if !keeping {
      for name in Array(ofClaim.tried) {
        if let due = due(ofClaim[name], name) { ordered.remove(due) }
        if let due = due(ofClaim.former(name), name) { ordered.insert(due) }
      }
    }
    ofClaim.endTrial(keeping: keeping)
  }
}

extension ClaimState {
  /// Whether its hosts are to have its function.
  var isSetUp: Bool { phase == .preparing || phase == .ready }
}
