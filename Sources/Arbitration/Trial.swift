import Messages

/// What is tried and taken back, with the real decisions and without a copy of the tables: those remember what their entries were
/// before, and everything else that a claim can change stands here.
struct Trial {
  fileprivate var cluster: Cluster
  fileprivate var situation: UInt64
  fileprivate var usesRevision: UInt64
  fileprivate var changes: Changes
  /// By class.
  fileprivate var rounds: [String: WaitingList.Round]
  /// Claims that began to wait or ceased to, in order.
  var waiting: [(deviceClass: String, entry: WaitingList.Entry, isWaiting: Bool)] = []
}

extension Arbiter {
  /// A trial inside a trial is a part of it.
  mutating func beginTrial() {
    noteServedClasses()
    trials.append(
      Trial(
        cluster: cluster, situation: situation, usesRevision: usesRevision, changes: changes,
        rounds: waiting.mapValues(\.round)))
    forEachTable(.begin)
  }

  /// Ends the last one that began.
  ///
  /// - Parameter keeping: what was tried is as it is to be, and its effects are yet to be taken.
  mutating func endTrial(keeping: Bool) {
    guard let trial = trials.popLast() else { return }
    forEachTable(.end(keeping: keeping))
    guard !keeping else {
      if !trials.isEmpty { trials[trials.count - 1].waiting += trial.waiting }
      return
    }
    cluster = trial.cluster
    situation = trial.situation
    // With the rounds, which know it.
    usesRevision = trial.usesRevision
    changes = trial.changes
    for change in trial.waiting.reversed() {
      if change.isWaiting {
        remove(change.entry, ofClass: change.deviceClass)
      } else {
        insert(change.entry, ofClass: change.deviceClass)
      }
    }
    for (deviceClass, round) in trial.rounds { waiting[deviceClass]?.round = round }
  }

  private mutating func forEachTable(_ step: TrialStep) {
    step.take(&hosts)
    step.take(&endNodes)
    step.take(&claims)
    step.take(&abandoned)
    step.take(&fencers)
    step.take(&claimsOfSource)
    step.take(&claimsOfGroup)
    step.take(&waitingGroups)
    step.take(&queuesOfGroups)
    step.take(&claimTurns)
    step.take(&nextInOrder)
    step.take(&groupFailures)
    step.take(&ailments)
    step.take(&unhealthyPlaces)
    step.take(&heldUp)
    step.take(&evicting)
    step.take(&expiries)
    step.take(&upgrades)
    step.take(&holders)
    step.take(&tenants)
    step.take(&uses)
    step.take(&usesOfClass)
    step.take(&claimsOfTenant)
    step.take(&nominations)
    step.take(&abandonedWithShare)
    step.take(&abandonedOfEndNode)
    step.take(&claimOfFunction)
    step.take(&functionsOfPeers)
    step.take(&claimOfMAC)
    step.take(&claimOfInterface)
    step.take(&claimsOfOpenInterface)
    step.take(&claimOfVNI)
    step.take(&stoppedByGeometry)
    step.take(&selectors)
    step.take(&hostSelectors)
  }
}

private enum TrialStep {
  case begin
  case end(keeping: Bool)

  func take(_ table: inout some Triable) {
    switch self {
    case .begin: table.beginTrial()
    case .end(let keeping): table.endTrial(keeping: keeping)
    }
  }
}
