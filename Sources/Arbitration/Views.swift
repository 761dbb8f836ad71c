import Messages

/// What can be read of the state, in an order that does not depend on hashing.
extension Arbiter {
  /// Whether no index names anything: where there are no claims, none must.
  package var hasEmptyIndexes: Bool {
    claimOfMAC.isEmpty && claimOfVNI.isEmpty && claimOfFunction.isEmpty && claimOfInterface.isEmpty
      && claimsOfOpenInterface.isEmpty && evicting.isEmpty && functionsOfPeers.isEmpty && upgrades.isEmpty
      && holders.isEmpty && uses.isEmpty && usesOfClass.isEmpty && claimsOfTenant.isEmpty && claimsOfGroup.isEmpty
      && waitingGroups.isEmpty && queuesOfGroups.isEmpty && claimTurns.isEmpty && nextInOrder.isEmpty
      && groupFailures.isEmpty && nominations.isEmpty
      && ailments.isEmpty
      && (abandoned.isEmpty ? abandonedOfEndNode.isEmpty : true) && claimsOfSource.isEmpty && endNodes.served.isEmpty
      && selectors.isEmpty && hostSelectors.isEmpty
  }

  public func claim(named name: String) -> Claim? { claims[name]?.claim }

  /// By name.
  public var listedClaims: [Claim] { claims.values.map(\.claim).sorted { $0.name < $1.name } }

  /// By name.
  public var listedHosts: [Host] { hosts.all.map { shown($0) }.sorted { $0.name < $1.name } }

  public func host(named name: String) -> Host? { hosts[name].map { shown($0) } }

  /// The one that the host has now; nil: it is disconnected.
  public func session(ofHost name: String) -> SessionID? {
    guard let state = hosts[name], state.isConnected else { return nil }
    return state.session
  }

  /// By name, then by id: a name follows a device's local name, which two devices may have had in turn.
  /// Without what is served from claims: nobody can choose it.
  public var listedEndNodes: [EndNode] {
    endNodes.all.filter { isShown($0) }.map { shown($0) }.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
  }

  /// Of the one that has this name or id; of several, the lowest.
  public func idOfEndNode(named name: String) -> String? {
    endNodes.ids(named: name).first { id in endNodes[id].map { isShown($0) } ?? false }
  }

  /// All that the end node is called that somebody means by a name.
  public func names(ofEndNode name: String) -> Set<String> {
    guard let id = idOfEndNode(named: name), let node = endNodes[id] else { return [name] }
    return [name, id, node.record.name]
  }

  /// With what each host last reported; nil: nobody has it.
  public func function(withID id: String) -> AssignedFunction? {
    claimOfFunction[id].flatMap { claims[$0] }.flatMap { function(of: $0) }
  }

  public func assignment(ofFunction id: String) -> Assignment? {
    claimOfFunction[id].flatMap { claims[$0]?.assignment }
  }

  private func function(of state: ClaimState) -> AssignedFunction? {
    guard let assignment = state.assignment else { return nil }
    var function = AssignedFunction()
    function.assignment = assignment
    function.releasing = state.phase == .releasing || state.phase == .reclaiming
    function.reports = [state.controlling, state.consumer, fencers[assignment.function]].compactMap { $0 }.compactMap {
      entry in
      guard let status = hosts[entry.host]?.reports[entry.recordName] else { return nil }
      var report = HostFunctionStatus()
      report.host = entry.host
      report.status = status
      return report
    }
    return function
  }
}
