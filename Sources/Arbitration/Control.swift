import Messages

/// Who drives an end node: one host, by a control token.
extension Arbiter {
  /// All end nodes that a host controls.
  func controls(for host: String) -> [WantedControl] {
    endNodes.ids(atHost: host).compactMap { wantedControl(of: $0, by: host) }
  }

  /// What a host is told that controls an end node, or is to control it; nil if it is another one.
  func wantedControl(of id: String, by host: String) -> WantedControl? {
    guard let node = endNodes[id], var control = node.wantedControl(of: host) else { return nil }
    control.unused = isUnused(node)
    return control
  }

  /// With the last part its host lets go of the device. If it had to keep somebody out then, it does so as soon as there is
  /// nobody more.
  mutating func noteIfUnused(_ id: String) {
    guard endNodes.multiRoot.contains(id), let node = endNodes[id], isUnused(node) else { return }
    changes.noteControl(id, of: node.controllingHost)
  }

  /// Whether a multi-root end node is nobody's, and nobody has to be kept out.
  private func isUnused(_ node: EndNodeState) -> Bool {
    node.isMultiRoot && node.shares.isEmpty && node.record.controlTransfer == nil && silentRoot(of: node) == nil
      && !hasCutOff(from: node.record.id)
  }

  /// Control goes to another host that has the end node, if nothing of it is in use and the former one cannot drive it:
  /// it is dead or forgotten, or it is there, its plugin serves, and it does not find the end node any more. Else two
  /// hosts say that they have one identity, and nobody can tell which one is meant.
  mutating func moveControl(of id: String) {
    guard let state = endNodes[id], !state.conflicting.isEmpty, state.shares.isEmpty else { return }
    // Among roots it moves by the device's own means.
    guard !state.isMultiRoot || state.record.roots.count < 2 else { return }
    guard hasLostControl(state.controllingHost, of: state.record) else { return }
    let claimants = state.conflicting.keys.sorted().filter { isServing(id, of: state.record.deviceClass, on: $0) }
    // Of two that say so, neither is believed.
    guard claimants.count == 1, let host = claimants.first, let said = state.conflicting[host] else { return }
    endNodes[id]?.conflicting[host] = nil
    takeControlled(said, from: host)
  }

  /// Before the first part of a multi-root end node: what is registered there for parts is the control token, which must be
  /// above the tokens of all who had the whole device before, so that none of them can come back too late.
  mutating func renewControl(of id: String) {
    guard var state = endNodes[id], state.isMultiRoot, state.shares.isEmpty,
      let former = state.record.physicalFunction?.controlToken, former.value < highestToken(of: state)
    else { return }
    state.record.physicalFunction?.formerControlTokens.append(former)
    let token = drawToken(from: &state)
    state.record.physicalFunction?.controlToken = token
    endNodes[id] = state
    changes.save(RecordKey(.endNode, id))
    changes.noteControl(id, of: state.controllingHost)
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
    if let known, known.isUnhealthy != state.isUnhealthy, state.record.makesFunctionsAnew(since: known.record) {
      state.flapping.excuse(isUnhealthy: state.isUnhealthy)
    }
    let inForce = said.physicalFunction?.controlToken?.value ?? 0
    let ours = known?.record.physicalFunction?.controlToken?.value ?? 0
    let isMoved = known.map { $0.controllingHost != host } ?? true
    // A control token above ours is in force: of a history that this store does not know, and no lower one is obeyed.
    if isMoved || ours == 0 || (inForce > ours && inForce < said.tokenLimit) {
      endTransfer(of: &state, outdoneBy: inForce)
      let token = drawToken(from: &state)
      if state.isMultiRoot, let former = state.record.physicalFunction?.controlToken {
        state.record.physicalFunction?.formerControlTokens.append(former)
      }
      state.record.physicalFunction?.controlToken = token
      changes.noteControl(said.id, of: host)
    }
    endNodes[said.id] = state
    changes.openings.endNodes.insert(said.id)
    if state.record != known?.record { changes.save(RecordKey(.endNode, said.id)) }
  }

  /// A transfer under a lower token than the controlling host's is one that ended in the history that was lost.
  private mutating func endTransfer(of node: inout EndNodeState, outdoneBy inForce: UInt64) {
    guard let transfer = node.record.controlTransfer, let token = transfer.controlToken, token.value < inForce else {
      return
    }
    node.record.physicalFunction?.formerControlTokens += transfer.formerControlTokens + [token]
    node.record.controlTransfer = nil
    changes.tellAnew(transfer.host)
  }

  /// What the host says, with what only the coordinator decides: names, roots, control and tokens.
  private func merged(_ said: EndNode, into known: EndNode?, from host: String) -> EndNode {
    var node = said
    let root = said.root(of: host)
    let isMultiRoot = said.capabilities?.multiRoot ?? false
    node.roots = [root] + (isMultiRoot ? known?.roots.filter { $0.host != host } ?? [] : [])
    node.name = root.localName.isEmpty ? said.id : "\(host)/\(root.localName)"
    // It stays what it is called when another root controls it: claims name it.
    if isMultiRoot, let known, known.roots.count > 1 || known.physicalFunction?.controllingHost == host {
      node.name = known.name
    }
    node.controlTransfer = known?.controlTransfer
    node.cordon = known?.cordon
    node.taints = known?.taints ?? []
    node.wantedFunctions = known?.wantedFunctions
    node.used = nil
    var physicalFunction = said.physicalFunction ?? PhysicalFunction()
    let inForce = physicalFunction.controlToken?.value ?? 0
    physicalFunction.controllingHost = host
    physicalFunction.controlToken = known?.physicalFunction?.controlToken
    let isInForce = inForce > 0 && inForce == known?.physicalFunction?.controlToken?.value
    physicalFunction.formerControlTokens = isInForce ? [] : known?.physicalFunction?.formerControlTokens ?? []
    node.physicalFunction = physicalFunction
    let read = [inForce, said.highestToken?.value ?? 0].filter { $0 < node.tokenLimit }
    var token = FencingToken()
    token.value = max(read.max() ?? 0, known?.highestToken?.value ?? 0)
    node.highestToken = token
    return node
  }
}

extension EndNodeState {
  /// What a host is told that controls the end node, or is to control it; nil if it is another one.
  func wantedControl(of host: String) -> WantedControl? {
    var control = WantedControl()
    control.endNode = record.id
    control.deviceClass = record.deviceClass
    control.functionCount = record.wantedFunctions
    if let transfer = record.controlTransfer, transfer.host == host {
      control.controlToken = transfer.controlToken
      control.formerControlTokens = transfer.formerControlTokens
      return control
    }
    guard controllingHost == host else { return nil }
    control.controlToken = record.physicalFunction?.controlToken
    control.formerControlTokens = record.physicalFunction?.formerControlTokens ?? []
    return control
  }
}

extension FencingToken {
  /// Numbers from here on are kept free, so that a peer's nonsense cannot make a counter overflow.
  static var limit: UInt64 { .max / 2 }
}
