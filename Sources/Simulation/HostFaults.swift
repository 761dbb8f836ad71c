import Arbitration
import Messages

/// What goes wrong on a host in a harsh storm.
extension StormHost {
  var isStalled: Bool { isStalledToHost || isStalledToCoordinator }
  var canSend: Bool { !toCoordinator.isEmpty && !isStalledToCoordinator }
  var canHear: Bool { !toHost.isEmpty && !isStalledToHost && !isPaused }

  mutating func reportInventory() {
    if let session = welcomedSession, !isPaused { toCoordinator.append(.inventoryReported(session, inventory)) }
  }

  func canStep(_ entry: WantedFunction) -> Bool {
    guard let assignment = entry.assignment, entry.released || !hasOldWords else { return false }
    return canStep(entry.role == .consumer ? "" : assignment.endNode, assignment.deviceClass)
  }

  func canStep(_ function: Function) -> Bool {
    canStep(function.role == .consumer ? "" : function.assignment.endNode, function.assignment.deviceClass)
  }

  func canStep(_ endNode: String, _ deviceClass: String) -> Bool {
    !isPaused && !failedPlugins.contains(deviceClass) && !pausedPlugins.contains(deviceClass)
      && !goneEndNodes.contains(endNode) && !hungEndNodes.contains(endNode)
  }

  /// Nothing can be said of a function whose device is gone.
  func isOutOfReach(_ assignment: Assignment, _ role: Role) -> Bool {
    role != .consumer && goneEndNodes.contains(assignment.endNode)
  }

  /// The process goes; what it set up stays.
  mutating func failPlugin(_ deviceClass: String) {
    pausedPlugins.remove(deviceClass)
    failedPlugins.insert(deviceClass)
    reportInventory()
  }

  mutating func restartPlugin(_ deviceClass: String, keepingLedger: Bool) {
    pausedPlugins.remove(deviceClass)
    failedPlugins.remove(deviceClass)
    if !keepingLedger { loseLedger(deviceClass) }
    reportInventory()
    hasReportedAll = false
  }

  /// What the plugin knew of tokens. What is in use it finds again at the devices.
  private mutating func loseLedger(_ deviceClass: String) {
    spent = spent.filter { !$0.key.contains("/\(deviceClass)/") }
    for (index, node) in endNodes.enumerated() where node.deviceClass == deviceClass {
      highestTokens[node.id] = nil
      controlsInForce[node.id] = nil
      forgetFunctionCount(of: index)
    }
  }

  /// A card takes its functions with it; on a disk they lie still.
  mutating func loseEndNode(_ id: String) {
    hungEndNodes.remove(id)
    goneEndNodes.insert(id)
    for (key, function) in functions where function.role != .consumer && function.assignment.endNode == id {
      functions[key]?.isInUse = false
      if function.assignment.deviceClass == "ethernet" { functions[key] = nil }
      if function.role != .server { cutParts(of: function.id) }
    }
    reportInventory()
  }

  mutating func hangEndNode(_ id: String) {
    hungEndNodes.insert(id)
    reportInventory()
  }

  mutating func restartEndNode(_ id: String) {
    goneEndNodes.remove(id)
    hungEndNodes.remove(id)
    reportInventory()
  }

  mutating func stall(toHost: Bool, toCoordinator: Bool, until end: UInt64 = .max) {
    isStalledToHost = toHost
    isStalledToCoordinator = toCoordinator
    stalledUntil = end
  }

  mutating func endFaults() {
    stall(toHost: false, toCoordinator: false)
    isPaused = false
    failedPlugins = []
    pausedPlugins = []
    goneEndNodes = []
    hungEndNodes = []
    failedForGood = []
  }
}
