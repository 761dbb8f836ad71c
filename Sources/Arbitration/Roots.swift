import Messages

/// End nodes that several hosts see as one device, and that keep apart by themselves who may use them. Each of those hosts is
/// a root: the whole device can be used on any of them, its parts are cut and served by the controlling one.
extension Arbiter {
  /// What a root that does not control the end node says of it.
  mutating func takeRoot(_ said: EndNode, from host: String) {
    guard var state = endNodes[said.id] else { return }
    let before = state.record
    state.conflicting[host] = nil
    let root = said.root(of: host)
    if let index = state.record.roots.firstIndex(where: { $0.host == host }) {
      state.record.roots[index] = root
    } else {
      state.record.roots.append(root)
    }
    for token in [said.highestToken, said.physicalFunction?.controlToken] { _ = state.rememberToken(token?.value ?? 0) }
    state.outdo(said.physicalFunction?.controlToken)
    endNodes[said.id] = state
    if state.record.physicalFunction?.controlToken != before.physicalFunction?.controlToken {
      changes.noteControl(said.id, of: state.controllingHost)
    }
    if state.record != before { changes.save(RecordKey(.endNode, said.id)) }
    changes.openings.endNodes.insert(said.id)
  }

  /// Its plugin serves and does not find the end node any more.
  mutating func dropRoot(_ host: String, of id: String) {
    guard var state = endNodes[id], state.controllingHost != host, state.record.isRoot(host) else { return }
    state.record.roots.removeAll { $0.host == host }
    endNodes[id] = state
    changes.save(RecordKey(.endNode, id))
  }

  /// Whether a root can be told to use the end node, or to fence on it. All that is on it is known, so that no token is drawn
  /// that is in use there.
  func isUsable(_ host: String, asRootOf node: EndNodeState) -> Bool {
    guard let state = hosts[host], node.record.isRoot(host) else { return false }
    return state.isConnected && state.hasReportedInventory && state.hasReportedFunctionsInSession
      && state.listedEndNodes.contains(node.record.id) && state.servingPlugin(of: node.record.deviceClass) != nil
  }

  func checkRoot(_ host: String, of node: EndNodeState) throws(Drop) {
    guard !isUsable(host, asRootOf: node) else { return }
    throw Drop(
      hosts[host]?.servingPlugin(of: node.record.deviceClass) == nil ? .plugin : .path,
      "\(host) has not yet reported all that it has, or does not find \(node.record.name) just now")
  }
}

extension EndNode {
  /// The root that a host says it is.
  func root(of host: String) -> Root {
    var root = roots.first { $0.host == host || $0.host.isEmpty } ?? Root()
    root.host = host
    return root
  }
}

extension EndNodeState {
  var isMultiRoot: Bool { record.capabilities?.multiRoot ?? false }

  /// A root that does not control the end node says that a higher control token than ours is in force there: of a history that
  /// this store does not know. It is cut off under a higher one.
  mutating func outdo(_ inForce: FencingToken?) {
    guard let inForce, inForce.value < FencingToken.limit, record.controlTransfer == nil,
      let ours = record.physicalFunction?.controlToken, inForce.value > ours.value
    else { return }
    record.physicalFunction?.formerControlTokens += [ours, inForce]
    let token = drawToken()
    record.physicalFunction?.controlToken = token
  }

  /// Whether what another host says can be of this very device, so that both are its roots.
  func isSameDevice(as said: EndNode) -> Bool {
    isMultiRoot && said.capabilities?.multiRoot ?? false && said.deviceClass == record.deviceClass
      && said.capacity?.sizeBytes == record.capacity?.sizeBytes
  }

  /// What falls by one fence: the device knows hosts, not functions.
  func fenceDomain(of function: String, drivenBy host: String) -> String {
    isMultiRoot ? "\(record.id)@\(host)" : function
  }
}
