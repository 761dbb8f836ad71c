import Messages

/// Who drives an end node: one host, by a control token.
extension Arbiter {
  /// All end nodes that a host controls.
  func controls(for host: String) -> [WantedControl] {
    endNodes.values.filter { $0.controllingHost == host }.map(\.wantedControl).sorted { $0.endNode < $1.endNode }
  }

  /// Control goes to another host that has the end node, if nothing of it is in use and the former one cannot drive it:
  /// it is dead or forgotten, or it is there, its plugin serves, and it does not find the end node any more. Else two
  /// hosts say that they have one identity, and nobody can tell which one is meant.
  mutating func moveControl(of id: String) {
    guard let state = endNodes[id], !state.conflicting.isEmpty, state.shares.isEmpty else { return }
    guard hasLostControl(state.controllingHost, of: state.record) else { return }
    let claimants = state.conflicting.keys.sorted().filter { isServing(id, of: state.record.deviceClass, on: $0) }
    // Of two that say so, neither is believed.
    guard claimants.count == 1, let host = claimants.first, let said = state.conflicting[host] else { return }
    endNodes[id]?.conflicting[host] = nil
    takeControlled(said, from: host)
  }

  private func hasLostControl(_ host: String, of node: EndNode) -> Bool {
    guard let controller = hosts[host], !controller.isDead else { return true }
    return controller.isConnected && controller.hasReportedInventory
      && controller.servingPlugin(of: node.deviceClass) != nil && !controller.listedEndNodes.contains(node.id)
  }

  private func isServing(_ id: String, of deviceClass: String, on host: String) -> Bool {
    guard let state = hosts[host] else { return false }
    return state.isConnected && state.hasReportedInventory && state.listedEndNodes.contains(id)
      && state.servingPlugin(of: deviceClass) != nil
  }

  /// What the controlling host says of an end node.
  mutating func takeControlled(_ said: EndNode, from host: String) {
    let known = endNodes[said.id]
    var state = known ?? EndNodeState(record: EndNode())
    state.record = merged(said, into: known?.record, from: host)
    let inForce = said.physicalFunction?.controlToken?.value ?? 0
    let ours = known?.record.physicalFunction?.controlToken?.value ?? 0
    let isMoved = known.map { $0.controllingHost != host } ?? true
    // A control token above ours is in force: of a history that this store does not know, and no lower one is obeyed.
    if isMoved || ours == 0 || (inForce > ours && inForce < FencingToken.limit) {
      let token = state.drawToken()
      state.record.physicalFunction?.controlToken = token
      changes.noteControl(said.id, of: host)
    }
    endNodes[said.id] = state
    changes.openings.endNodes.insert(said.id)
    if known?.record.deviceClass != said.deviceClass {
      if let known { endNodesOfClass[known.record.deviceClass]?.removeAll { $0 == said.id } }
      index(said.id, ofClass: said.deviceClass)
    }
    if state.record != known?.record { changes.save(RecordKey(.endNode, said.id)) }
  }

  /// What the host says, with what only the coordinator decides: names, roots, control and tokens.
  private func merged(_ said: EndNode, into known: EndNode?, from host: String) -> EndNode {
    var node = said
    var root = said.roots.first { $0.host == host || $0.host.isEmpty } ?? Root()
    root.host = host
    node.roots = [root]
    node.name = root.localName.isEmpty ? said.id : "\(host)/\(root.localName)"
    node.used = nil
    var physicalFunction = said.physicalFunction ?? PhysicalFunction()
    let inForce = physicalFunction.controlToken?.value ?? 0
    physicalFunction.controllingHost = host
    physicalFunction.controlToken = known?.physicalFunction?.controlToken
    node.physicalFunction = physicalFunction
    let read = [inForce, said.highestToken?.value ?? 0].filter { $0 < FencingToken.limit }
    var token = FencingToken()
    token.value = max(read.max() ?? 0, known?.highestToken?.value ?? 0)
    node.highestToken = token
    return node
  }
}

extension EndNodeState {
  var wantedControl: WantedControl {
    var control = WantedControl()
    control.endNode = record.id
    control.deviceClass = record.deviceClass
    control.controlToken = record.physicalFunction?.controlToken
    return control
  }
}

extension FencingToken {
  /// Numbers from here on are kept free, so that a peer's nonsense cannot make a counter overflow.
  static var limit: UInt64 { .max / 2 }
}
