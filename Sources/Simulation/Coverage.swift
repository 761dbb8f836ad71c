import Arbitration
import Messages

/// What can go wrong in a storm.
public enum Fault: String, CaseIterable, Sendable {
  case messagesLost, messageDelayed, messageDuplicated, messageReordered, helloLate
  case partition, partitionFromHost, partitionToHost
  case hostCrashed, hostSwitchedOff, watchdogFired, hostFencedItself, hostForgotten
  case agentCrashed, agentPaused, agentRestartedWithJournal, agentRestartedWithoutJournal
  case pluginCrashed, pluginPaused, pluginRestartedWithLedger, pluginRestartedWithoutLedger
  case endNodeCrashed, endNodePaused, endNodeRestarted
  case coordinatorRestarted, coordinatorPaused, olderCopyRestored, slowDisk, commitsLost
  case clockDrifted, clockJumped, wallClockJumped, fenceFailed, deathConfirmedLate
  case preempted, preemptedByGroup, keptForGroup, keptForClaim, memberFailedForGood
  case functionUnhealthy, evictedAsUnhealthy
}

/// How often what happened in storms: a kind of fault, of event or of effect that never came was not tried.
public struct Coverage: Sendable {
  public private(set) var faults: [Fault: Int] = [:]
  public private(set) var events: [String: Int] = [:]
  public private(set) var effects: [String: Int] = [:]

  public init() {}

  public static let everyEvent = [
    "claimCreated", "claimDeleted", "claimRatesUpdated", "claimExtended", "claimsApplied", "claimEvicted",
    "tenantCreated", "tenantSet",
    "tenantDeleted", "cordoned",
    "uncordoned",
    "drained", "tainted", "functionCountSet", "rebalanced", "hostConfirmedDead", "fenceFailed", "hostForgotten",
    "hostRescanned", "orphanAdopted", "orphanPurged", "hostConnected", "hostDisconnected", "heartbeatReceived",
    "inventoryReported", "functionsReported", "timePassed",
  ]
  public static let everyEffect =
    RecordKey.Kind.allCases.map { "save \($0.rawValue)" } + [
      "audit granted", "audit upgraded", "audit moved", "audit in use", "audit ended", "remove host", "remove end-node",
      "remove claim", "remove tenant",
      "remove wanted-function", "send welcome", "send heartbeat",
      "send wanted",
      "send rescan", "endSession", "answer claim", "answer host", "answer orphans", "answer plan",
      "answer maintenance", "answer rebalance", "answer tenant", "refuse", "claimChanged",
      "claimGone",
      "fenceHost",
    ]

  /// What never happened.
  public var missing: [String] {
    Fault.allCases.filter { faults[$0] == nil }.map(\.rawValue) + Self.everyEvent.filter { events[$0] == nil }
      + Self.everyEffect.filter { effects[$0] == nil }
  }

  mutating func note(_ fault: Fault) { faults[fault, default: 0] += 1 }
  mutating func note(_ event: Event) { events[event.kind, default: 0] += 1 }
  mutating func note(_ effect: Effect) { effects[effect.kind, default: 0] += 1 }

  public mutating func add(_ other: Coverage) {
    faults.merge(other.faults, uniquingKeysWith: +)
    events.merge(other.events, uniquingKeysWith: +)
    effects.merge(other.effects, uniquingKeysWith: +)
  }
}

extension Event {
  fileprivate var kind: String {
    switch self {
    case .claimCreated: "claimCreated"
    case .claimDeleted: "claimDeleted"
    case .claimRatesUpdated: "claimRatesUpdated"
    case .claimExtended: "claimExtended"
    case .claimEvicted: "claimEvicted"
    case .claimsApplied: "claimsApplied"
    case .tenantCreated: "tenantCreated"
    case .tenantSet: "tenantSet"
    case .tenantDeleted: "tenantDeleted"
    case .cordoned: "cordoned"
    case .uncordoned: "uncordoned"
    case .drained: "drained"
    case .tainted: "tainted"
    case .functionCountSet: "functionCountSet"
    case .rebalanced: "rebalanced"
    case .hostConfirmedDead: "hostConfirmedDead"
    case .fenceFailed: "fenceFailed"
    case .hostForgotten: "hostForgotten"
    case .hostRescanned: "hostRescanned"
    case .orphanAdopted: "orphanAdopted"
    case .orphanPurged: "orphanPurged"
    case .hostConnected: "hostConnected"
    case .hostDisconnected: "hostDisconnected"
    case .heartbeatReceived: "heartbeatReceived"
    case .inventoryReported: "inventoryReported"
    case .functionsReported: "functionsReported"
    case .timePassed: "timePassed"
    }
  }
}

extension Effect {
  fileprivate var kind: String {
    switch self {
    case .save(let record): "save \(record.key.kind.rawValue)"
    case .remove(let key): "remove \(key.kind.rawValue)"
    case .audit(let holding):
      holding.ended != nil
        ? "audit ended"
        : holding.inUse != nil
          ? "audit in use"
          : holding.whyGranted.hasPrefix("it was upgraded")
            ? "audit upgraded"
            : holding.whyGranted.hasPrefix("its consumer keeps") ? "audit moved" : "audit granted"
    case .send(_, let message): "send \(message.word)"
    case .endSession: "endSession"
    case .answer(_, .claim): "answer claim"
    case .answer(_, .host): "answer host"
    case .answer(_, .orphans): "answer orphans"
    case .answer(_, .plan): "answer plan"
    case .answer(_, .maintenance): "answer maintenance"
    case .answer(_, .rebalance): "answer rebalance"
    case .answer(_, .tenant): "answer tenant"
    case .refuse: "refuse"
    case .claimChanged: "claimChanged"
    case .claimGone: "claimGone"
    case .fenceHost: "fenceHost"
    }
  }
}

extension CoordinatorMessage {
  fileprivate var word: String {
    switch kind {
    case .welcome: "welcome"
    case .heartbeat: "heartbeat"
    case .wanted: "wanted"
    case .rescan: "rescan"
    case .statistics: "statistics"
    case nil: "nothing"
    }
  }
}
