import Messages

/// Control of a multi-root end node goes to another root when the host that has it is lost. The new controller takes it at the
/// device, where the former one is cut off from then on, and serves what that one served: the same functions in the same
/// place, under new tokens. Until it has reported its control as in force, nothing changes.
extension Arbiter {
  mutating func moveLostControls(at now: Instant) {
    for id in endNodes.multiRoot.sorted() {
      guard let node = endNodes[id] else { continue }
      serveAnew(id)
      let isStuck = node.record.controlTransfer.map { isLost($0.host, at: now) } ?? isControlLost(of: node, at: now)
      let isUnderWay = node.record.controlTransfer != nil
      if !isStuck, !isUnderWay, isToBeHandedOver(node), let host = nextController(of: node) {
        transferControl(of: id, to: host)
        continue
      }
      guard isStuck, isUnderWay || isWorthMoving(node) else { continue }
      let able = node.record.roots.map(\.host).filter { isUsable($0, asRootOf: node) && canTakeOver(node, by: $0) }
      // What is in use needs somebody, also one that is cordoned.
      guard let host = able.first(where: { hosts[$0]?.record.cordon == nil }) ?? able.first else { continue }
      transferControl(of: id, to: host)
    }
  }

  /// Its host is lost, or is there and does not find the device.
  private func isControlLost(of node: EndNodeState, at now: Instant) -> Bool {
    let name = node.controllingHost
    guard !isLost(name, at: now) else { return true }
    guard let host = hosts[name], host.isConnected, host.hasReportedInventory else { return false }
    return host.servingPlugin(of: node.record.deviceClass) != nil && !host.listedEndNodes.contains(node.record.id)
  }

  /// What a host without its coordinator uses by itself stays as it is, as long as nobody else needs the device.
  private func isWorthMoving(_ node: EndNodeState) -> Bool {
    guard let host = hosts[node.controllingHost], !host.isDead else { return true }
    // Somebody has the whole device: there are no parts to serve.
    guard !node.shares.values.contains(where: { $0.path == .direct }) else { return false }
    return node.shares.isEmpty
      || node.shares.contains { function, share in share.path == .mediated || livePart(function) == nil }
  }

  /// Its host is cordoned: where nothing is in use of it, and where that is to leave.
  private func isToBeHandedOver(_ node: EndNodeState) -> Bool {
    guard let cordon = hosts[node.controllingHost]?.record.cordon else { return false }
    return node.shares.isEmpty || cordon.drain?.isDue ?? false
  }

  /// The root that can have the end node with all that is on it in the place of a host that is cordoned.
  func nextController(of node: EndNodeState) -> String? {
    guard node.isMultiRoot, silentRoot(of: node) == nil,
      !node.shares.values.contains(where: { $0.path == .direct })
    else { return nil }
    return node.record.roots.map(\.host).first {
      $0 != node.controllingHost && hosts[$0]?.record.cordon == nil && isUsable($0, asRootOf: node)
        && canTakeOver(node, by: $0)
    }
  }

  /// The claim that uses a part of an end node and has not let go of it.
  private func livePart(_ function: String) -> ClaimState? {
    guard let state = claimOfFunction[function].flatMap({ claims[$0] }), let entry = state.controlling, !entry.released,
      entry.assignment?.path != .direct
    else { return nil }
    return state
  }

  /// A claim that allows no path by which the new controller could serve it keeps its function where it is, and control with
  /// it: what is on a disk is its claim's. What no claim stands behind is not touched either.
  private func canTakeOver(_ node: EndNodeState, by host: String) -> Bool {
    node.shares.keys.allSatisfy { function in
      if let state = livePart(function) { return (try? route(to: state, by: host, from: node)) != nil }
      return claimOfFunction[function] != nil || abandonedWithShare[function] != nil
    }
  }

  /// - Parameter consumer: where the function is used; nil: where it is used now.
  func route(
    to state: ClaimState, on consumer: String? = nil, by host: String, from node: EndNodeState
  ) throws(Drop) -> Candidate {
    var node = node
    node.record.physicalFunction?.controllingHost = host
    guard let consumer = hosts[consumer ?? state.host] else { throw Drop(.host, "its host is not known") }
    var closed: [String] = []
    for (preference, path) in state.specification.paths.enumerated() where path != .direct {
      do throws(Drop) {
        let route = try route(by: path, from: node, to: consumer)
        try checkOffer(node.offer(on: path), of: node, for: state.specification)
        return Candidate(node: node, host: consumer.record.name, route: route, preference: preference)
      } catch {
        closed.append(error.message)
      }
    }
    throw Drop(.path, closed.joined(separator: ", "))
  }

  mutating func transferControl(of id: String, to host: String) {
    var transfer = ControlTransfer()
    transfer.host = host
    transfer.formerControlTokens = endNodes[id]?.controlTokens ?? []
    transfer.controlToken = drawToken(of: id)
    let former = endNodes[id]?.record.controlTransfer?.host
    endNodes[id]?.record.controlTransfer = transfer
    changes.noteControl(id, of: host)
    if let former, former != host { changes.tellAnew(former) }
  }

  /// Whether a report of a root ends the transfer of control to it.
  func endsTransfer(_ said: EndNode, from host: String) -> Bool {
    guard let transfer = endNodes[said.id]?.record.controlTransfer, transfer.host == host else { return false }
    return said.physicalFunction?.controlToken == transfer.controlToken
  }

  mutating func endTransfer(_ said: EndNode, from host: String) {
    guard var known = endNodes[said.id]?.record, let transfer = known.controlTransfer else { return }
    known.physicalFunction?.controlToken = transfer.controlToken
    known.physicalFunction?.controllingHost = host
    known.physicalFunction?.formerControlTokens = []
    known.controlTransfer = nil
    let former = endNodes[said.id]?.controllingHost ?? ""
    endNodes[said.id]?.record = known
    changes.save(RecordKey(.endNode, said.id))
    takeControlled(said, from: host)
    if hosts[former]?.listedEndNodes.contains(said.id) == false, hosts[former]?.isConnected ?? false {
      dropRoot(former, of: said.id)
    }
    serveAnew(said.id, all: true)
  }

  // MARK: Functions of the former controller

  /// Parts that a host had that does not control the end node any more. With `all`, also those of the host that has got control
  /// back: what it had registered at the device was cut off meanwhile.
  private mutating func serveAnew(_ id: String, all: Bool = false) {
    guard let node = endNodes[id] else { return }
    for function in node.shares.keys.sorted() {
      guard let name = claimOfFunction[function], let state = claims[name], let entry = state.controlling,
        entry.assignment?.path != .direct, all || isCutOffFromControl(entry, of: node)
      else { continue }
      entry.released ? settle(name) : serveAnew(state, from: node)
    }
  }

  private mutating func serveAnew(_ before: ClaimState, from node: EndNodeState) {
    let (id, name) = (node.record.id, node.record.name)
    guard let former = before.controlling, var assignment = before.assignment else { return }
    guard assignment.extent != nil else {
      // It never was ready, so nothing of its claim's is on it.
      return reclaim(
        before, because: "\(former.host) lost control of \(name) before it had said where \(former.functionID) lies")
    }
    // Why it cannot be is what the claim waits for; it is tried again.
    guard let candidate = try? route(to: before, by: node.controllingHost, from: node) else {
      return settle(before.claim.name)
    }
    var state = before
    giveUp(former, of: state, isFenced: true)
    if let consumer = state.consumer { giveUp(consumer, of: state) }
    state.consumer = nil

    let token = drawToken(of: id)
    assignment.token = token
    assignment.path = candidate.route.path
    assignment.controllingHost = node.controllingHost
    assignment.fenceDomain = node.fenceDomain(of: assignment.function, drivenBy: node.controllingHost)
    assignment.mediation = mediation(candidate, token: token ?? FencingToken(), for: state)
    assignment.arrival = nil
    takeShare(of: assignment)
    state.controlling = enter(assignment, of: state.claim.name)
    noteGranted(
      assignment, to: state, because: "control of \(name) went from \(former.host) to \(node.controllingHost)")
    // One that is to go, and waits for its parts to go first, is still to go.
    if state.phase == .releasing || state.phase == .reclaiming {
      state.withStatus { $0.assignment = assignment }
    } else {
      state.prepare(assignment)
    }
    put(&state)
    settle(state.claim.name)
  }

  mutating func giveUp(_ entry: WantedFunction, of state: ClaimState, isFenced: Bool = false) {
    var entry = entry
    entry.released = true
    abandon(entry, of: state, isFenced: isFenced)
  }

  /// Why a part has no host that could serve it; nil if it has one.
  func strandedReason(of state: ClaimState) -> String? {
    guard let entry = state.controlling, let node = entry.assignment.flatMap({ endNodes[$0.endNode] }),
      isCutOffFromControl(entry, of: node)
    else { return nil }
    var why = "it has yet to take it over"
    do throws(Drop) { _ = try route(to: state, by: node.controllingHost, from: node) } catch { why = error.message }
    return
      "\(node.controllingHost) controls \(node.record.name) in the place of \(entry.host), and cannot serve \(entry.functionID): \(why)"
  }

  /// Before the controller has all that is on the end node, it does not know what is free.
  func checkTakenOver(_ node: EndNodeState) throws(Drop) {
    if let transfer = node.record.controlTransfer {
      throw Drop(
        .controllingHost,
        "control of \(node.record.name) is on its way from \(node.controllingHost) to \(transfer.host)")
    }
    for function in node.shares.keys.sorted() where !isTakenOver(function, of: node) {
      throw Drop(.controllingHost, "\(node.controllingHost) has yet to take over \(function) of \(node.record.name)")
    }
    for host in orphanIndex.hosts where host != node.controllingHost {
      let orphans = hosts[host]?.orphans.values.filter { $0.role != .consumer }.compactMap { $0.function?.id } ?? []
      let unknown = orphans.filter {
        node.shares[$0] != nil && claimOfFunction[$0] == nil && abandonedWithShare[$0] == nil
      }
      guard let orphan = unknown.min() else { continue }
      throw Drop(
        .controllingHost,
        "\(host) has the orphan \(orphan) of \(node.record.name), and \(node.controllingHost), which controls that, does not know "
          + "where it lies; see: iov orphan list")
    }
  }

  private func isTakenOver(_ function: String, of node: EndNodeState) -> Bool {
    let claimed = claimOfFunction[function].flatMap { claims[$0]?.controlling }
    guard let entry = abandonedWithShare[function].flatMap({ abandoned[$0] }) ?? claimed,
      entry.assignment?.path != .direct
    else { return true }
    guard entry.host == node.controllingHost else { return false }
    // Under the token that it was made under it is where it always was.
    guard entry.isMoved, !entry.released else { return true }
    guard let phase = report(of: entry)?.phase else { return false }
    return phase == .created || phase == .inUse
  }
}

extension WantedFunction {
  /// Whether it is served by another host, or under another token, than the one that made it.
  var isMoved: Bool { recordName != "\(role.rawValue)/\(functionID)" }
}

extension EndNodeState {
  /// All control tokens that may be in force.
  var controlTokens: [FencingToken] {
    if let transfer = record.controlTransfer {
      return transfer.formerControlTokens + [transfer.controlToken].compactMap { $0 }
    }
    let controller = record.physicalFunction
    return (controller?.formerControlTokens ?? []) + [controller?.controlToken].compactMap { $0 }
  }
}
