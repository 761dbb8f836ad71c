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
    outdo(said.physicalFunction?.controlToken, on: &state)
    endNodes[said.id] = state
    if state.record.physicalFunction?.controlToken != before.physicalFunction?.controlToken {
      changes.noteControl(said.id, of: state.controllingHost)
    }
    if let transfer = state.record.controlTransfer, transfer != before.controlTransfer {
      changes.noteControl(said.id, of: transfer.host)
    }
    if state.record != before { changes.save(RecordKey(.endNode, said.id)) }
    changes.openings.endNodes.insert(said.id)
  }

  mutating func drawToken(of id: String) -> FencingToken? {
    guard let node = endNodes[id] else { return nil }
    return drawToken(of: node)
  }

  /// - Parameter node: as it is, but for tokens drawn since.
  mutating func drawToken(of node: some WithEndNodeRecord) -> FencingToken? {
    let id = node.record.id
    guard let token = endNodes.drawToken(above: highestToken(of: node), of: id) else { return nil }
    changes.save(RecordKey(.endNode, id))
    return token
  }

  /// The tokens of a multi-root end node are drawn without asking all who may have seen higher ones: a root that has not said
  /// what it has since this coordinator began may know of a history that its store does not. All of that is older than this
  /// run, so a token that counts from the time at which it began is above it.
  func drawToken(from node: inout EndNodeState) -> FencingToken {
    _ = node.rememberToken(highestToken(of: node))
    return node.drawToken()
  }

  /// The highest one that somebody may have seen.
  func highestToken(of node: some WithEndNodeRecord) -> UInt64 {
    let lowestOfThisRun = unheardRoot(of: node) == nil ? nil : began?.lowestToken
    return max(node.record.highestToken?.value ?? 0, lowestOfThisRun ?? 0)
  }

  private func unheardRoot(of node: some WithEndNodeRecord) -> String? {
    guard node.isMultiRoot else { return nil }
    return node.record.roots.first { hosts[$0.host]?.listedEndNodes.contains(node.record.id) != true }?.host
  }

  /// A root has said what it has of its multi-root end nodes.
  mutating func noteHeard(_ host: String) {
    for id in hosts[host]?.listedEndNodes ?? []
    where endNodes[id].map({ $0.isMultiRoot && isUsable(host, asRootOf: $0) }) ?? false {
      guard endNodes[id]?.heardRoots.insert(host).inserted ?? false else { continue }
      noteIfUnused(id)
    }
  }

  /// A store that is an older copy does not know what a root was given since. So nobody is given anything of a device before
  /// all who may have something of it have said so, or are dead.
  func checkRootsAreHeard(_ node: EndNodeState) throws(Drop) {
    guard let root = silentRoot(of: node) else { return }
    throw Drop(
      .roots,
      "\(root), which has a path to \(node.record.name), has not said since the coordinator began what it has of it: "
        + reasonOfSilence(of: root, on: node))
  }

  /// A root that may have something of a multi-root end node that it has not spoken of yet; `others` do not count.
  func silentRoot(of node: EndNodeState, but others: Set<String> = []) -> String? {
    guard node.isMultiRoot else { return nil }
    return node.record.roots.lazy.map(\.host).first {
      !others.contains($0) && !node.heardRoots.contains($0) && hosts[$0]?.isDead == false
    }
  }

  func reasonOfSilence(of root: String, on node: EndNodeState) -> String {
    guard let host = hosts[root], host.isConnected else {
      return "it is disconnected; if it is off: iov host confirm-dead \(root)"
    }
    let deviceClass = node.record.deviceClass
    return host.servingPlugin(of: deviceClass) == nil
      ? "no plugin of class \(deviceClass) serves on it" : "it has yet to report all that it has"
  }

  /// A clock that is set to another age tells nothing of what was before.
  func checkClock(_ node: EndNodeState) throws(Drop) {
    guard let host = unheardRoot(of: node), let began, began.lowestToken == nil else { return }
    throw Drop(
      .controllingHost,
      "\(host) has not yet said which tokens of \(node.record.name) it has seen, and the coordinator's clock, which would do "
        + "instead, was at \(began.timestamp.minute) when it began: set the clock and start it again, or have \(host) join"
    )
  }

  /// What is left on a host of a function that its claim has elsewhere, or under a newer token, by now: only the host's own side
  /// is cleaned. Answers whether it is that.
  mutating func giveUpFormer(_ status: FunctionStatus, on host: String) -> Bool {
    let function = status.function ?? VirtualFunction()
    guard abandoned[status.recordName] == nil, status.phase == .created || status.phase == .inUse,
      let state = claimOfFunction[function.id].flatMap({ claims[$0] }), let now = state.assignment,
      let made = status.assignment, made.claimUid == now.claimUid,
      status.role == .consumer || endNodes[now.endNode]?.isMultiRoot ?? false,
      let held = status.role == .consumer ? state.consumer?.assignment?.token ?? now.token : now.token,
      function.token?.value ?? .max < held.value
    else { return false }
    var entry = WantedFunction()
    entry.assignment = made
    entry.role = status.role
    (entry.released, entry.abandoned, entry.fenced) = (true, true, true)
    guard entry.host == host else { return false }
    note(&entry)
    keepAbandoned(entry)
    return true
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

  /// A root that does not control the end node says that a higher control token than ours is in force there: of a history that
  /// this store does not know. It is cut off under a higher one.
  func outdo(_ inForce: FencingToken?, on node: inout EndNodeState) {
    let transfer = node.record.controlTransfer?.controlToken
    guard let inForce, inForce.value < node.record.tokenLimit,
      let ours = transfer ?? node.record.physicalFunction?.controlToken, inForce.value > ours.value
    else { return }
    let token = drawToken(from: &node)
    if transfer == nil {
      node.record.physicalFunction?.formerControlTokens += [ours, inForce]
      node.record.physicalFunction?.controlToken = token
    } else {
      node.record.controlTransfer?.formerControlTokens += [ours, inForce]
      node.record.controlTransfer?.controlToken = token
    }
  }

  func checkRoot(_ host: String, of node: EndNodeState) throws(Drop) {
    guard !isUsable(host, asRootOf: node) else { return }
    throw Drop(
      hosts[host]?.servingPlugin(of: node.record.deviceClass) == nil ? .plugin : .path,
      "\(host) has not yet reported all that it has, or does not find \(node.record.name) just now")
  }
}

extension EndNode {
  /// No token from here on is believed: of a multi-root end node because its device could not hold it.
  var tokenLimit: UInt64 { capabilities?.multiRoot ?? false ? 1 << 40 : FencingToken.limit }

  /// The root that a host says it is.
  func root(of host: String) -> Root {
    var root = roots.first { $0.host == host || $0.host.isEmpty } ?? Root()
    root.host = host
    return root
  }
}

extension Instant {
  /// 2024-01-01T00:00:00Z, which is before any run there was.
  private static var firstSecond: Int64 { 1_704_067_200 }

  /// Above all tokens of runs that began before. What is registered at a device holds 40 bits of token: seconds in the upper
  /// 32, which last until the year 2160, and 256 tokens for each of them. A run draws fewer, for behind each is something done at
  /// the device. Nil if the clock is set to another time than that: such a token could be neither registered nor taken back.
  var lowestToken: UInt64? { UInt32(exactly: wallMilliseconds / 1000 - Self.firstSecond).map { UInt64($0) << 8 } }
}

extension WithEndNodeRecord {
  var isMultiRoot: Bool { record.capabilities?.multiRoot ?? false }

  /// Whether what another host says can be of this very device, so that both are its roots.
  func isSameDevice(as said: EndNode) -> Bool {
    isMultiRoot && said.capabilities?.multiRoot ?? false && said.deviceClass == record.deviceClass
      && said.capacity?.sizeBytes == record.capacity?.sizeBytes
  }

  /// What falls by one fence: the device knows hosts, not functions; and what is served falls with what it is served from.
  func fenceDomain(of function: String, drivenBy host: String) -> String {
    isServed ? record.id : isMultiRoot ? "\(record.id)@\(host)" : function
  }
}
