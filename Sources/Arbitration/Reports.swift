import Messages

extension Arbiter {
  // MARK: End nodes

  mutating func takeInventory(_ session: SessionID, _ report: InventoryReport) {
    // A report of a session that has been replaced is older than the one that replaced it.
    guard let host = hostOfSession[session], var state = hosts[host] else { return }
    let before = state.durable
    state.record.plugins = report.plugins
    state.hasReportedInventory = true
    // Without an identity or a class a device cannot be spoken of.
    let reported = report.endNodes.filter {
      !$0.id.isEmpty && !$0.deviceClass.isEmpty && isSaidByItsHost($0, host)
    }
    state.listedEndNodes = Set(reported.map(\.id))
    hosts[host] = state
    if state.durable != before { changes.save(RecordKey(.host, host)) }

    for node in reported.sorted(by: { $0.id < $1.id }) { take(node, from: host) }
    noteMissing(reported: state.listedEndNodes, on: host)
    noteHeard(host)
    changes.openings.hosts.insert(host)
  }

  private mutating func take(_ said: EndNode, from host: String) {
    if endsTransfer(said, from: host) { return endTransfer(said, from: host) }
    guard let known = endNodes[said.id], known.controllingHost != host else { return takeControlled(said, from: host) }
    if known.isSameDevice(as: said) { return takeRoot(said, from: host) }
    dropRoot(host, of: said.id)
    endNodes[said.id]?.conflicting[host] = said
    moveControl(of: said.id)
  }

  /// An end node of a plugin that serves, and that is in its list no more, takes no new functions. It is not forgotten:
  /// its tokens must go on from where they are when it comes back.
  private mutating func noteMissing(reported: Set<String>, on host: String) {
    // Control of those that are in conflict may move by what is known of this host now.
    let concerned = endNodes.conflicting.union(endNodes.ids(atHost: host)).subtracting(reported)
    for id in concerned.sorted() {
      guard var state = endNodes[id] else { continue }
      state.conflicting[host] = nil
      let isServed = hosts[host]?.servingPlugin(of: state.record.deviceClass) != nil
      if state.controllingHost == host, isServed {
        var health = Health()
        health.state = .unhealthy
        health.message = "\(host) does not find it any more"
        if state.record.health != health {
          state.record.health = health
          changes.save(RecordKey(.endNode, id))
        }
      }
      endNodes[id] = state
      if isServed { dropRoot(host, of: id) }
      moveControl(of: id)
      if state.controllingHost == host, isServed { forgetServedEndNode(id) }
    }
  }

  // MARK: Functions

  mutating func takeFunctions(_ session: SessionID, _ report: FunctionReport) {
    guard let host = hostOfSession[session] else { return }
    // What an agent observed before its host restarted proves nothing.
    guard report.bootId.isEmpty || report.bootId == hosts[host]?.record.bootId else { return }
    raiseAboveTokens(of: report)
    let isFromAnotherHistory = report.revision > cluster.revision || report.epoch > cluster.epoch
    if isFromAnotherHistory { outrun(report) }

    // The host's state is changed where it is: a copy would cost as much as the host has functions.
    let isFirst = report.complete && hosts[host]?.hasReportedFunctionsInSession == false
    var touched: Set<String> = []
    if report.complete {
      // Nothing is taken for gone because it is missing: a function that is wanted will be set up again.
      touched = Set(hosts[host]?.claims ?? NameSet())
      // That a release was carried out stays proven: the host says so once, perhaps before it can list all that it has.
      let proofs = hosts[host]?.reports.filter { $0.value.phase == .absent } ?? [:]
      hosts[host]?.reports = proofs
      hosts[host]?.hasReportedFunctions = true
      hosts[host]?.hasReportedFunctionsInSession = true
      let found = Set(report.functions.map(\.recordName))
      for (name, orphan) in (hosts[host]?.orphans ?? [:]).sorted(by: { $0.key < $1.key }) where !found.contains(name) {
        // A plugin that does not serve says nothing of what is there.
        guard hosts[host]?.servingPlugin(of: orphan.function?.deviceClass ?? "") != nil else { continue }
        dropOrphan(name, on: host)
      }
    }
    for status in report.functions {
      if status.role == .fencer {
        if let claim = takeFencer(status, from: host) { touched.insert(claim) }
        continue
      }
      let claim = claimOfFunction[status.function?.id ?? ""]
      if let claim { recognizeConsumer(of: claim, status, from: host) }
      // A claim may stand behind the function and not behind this: it is of another role, or of another token.
      let name = status.recordName
      if let claim, let entry = claims[claim]?.entry(name, for: host) {
        if status.isAnothers(than: entry) {
          disown(entry, of: claim, status)
        } else {
          hosts.note(status.sharing(entry), name, of: host)
        }
        touched.insert(claim)
      } else {
        takeUnclaimed(status, from: host)
        touched.formUnion(claims(besideOrphan: status))
      }
    }
    if report.complete { noteHeard(host) }
    settle(touched)
    // Only now is it known what of its end nodes is in use.
    if isFirst {
      settleSources(on: host)
      let isConcerned = { (node: EndNodeState) in node.controllingHost == host || node.record.isRoot(host) }
      changes.openings.endNodes.formUnion(endNodes.ids(atHost: host).filter { endNodes[$0].map(isConcerned) ?? false })
    }
  }

  /// The consumer's side of a claim is there, and the store does not know that it was ever told: it is an older copy.
  /// It gets its entry, so that a release waits for it.
  private mutating func recognizeConsumer(of claim: String, _ status: FunctionStatus, from host: String) {
    guard status.role == .consumer, status.phase == .created || status.phase == .inUse, var state = claims[claim],
      let assignment = state.assignment, state.consumer == nil, assignment.host == host, assignment.path == .mediated,
      assignment.token == status.function?.token
    else { return }
    var entry = WantedFunction()
    entry.assignment = status.assignment ?? assignment
    entry.role = .consumer
    note(&entry)
    state.consumer = entry
    claims[claim] = state
    hosts[host]?.claims.insert(claim)
  }

  /// An orphan, or the answer to an abandoned entry.
  private mutating func takeUnclaimed(_ status: FunctionStatus, from host: String) {
    if giveUpFormer(status, on: host) || takeLater(status, from: host) { return }
    noteOrphan(status, on: host)
    guard let entry = abandoned[status.recordName], entry.host == host else { return }
    guard status.phase == .absent, status.revision >= entry.revision else { return }
    dropAbandoned(entry.recordName)
    // The claim may go on here with the same function in another way.
    if let claim = claimOfFunction[entry.functionID] { settle(claim) }
  }

  private mutating func raiseAboveTokens(of report: FunctionReport) {
    for status in report.functions {
      guard let node = status.function?.endNode else { continue }
      // A token that was refused tells of a higher one, too.
      let highest = max(status.function?.token?.value ?? 0, status.error?.highestToken?.value ?? 0)
      guard let known = endNodes[node], highest > known.record.highestToken?.value ?? 0 else { continue }
      if endNodes[node]?.rememberToken(highest) ?? false { changes.save(RecordKey(.endNode, node)) }
    }
  }

  /// An agent has obeyed a revision that is still to come here: this store is a restored one. Every entry gets a new
  /// revision above the agent's, so that no answer to the lost history passes for an answer to this one.
  private mutating func outrun(_ report: FunctionReport) {
    if report.epoch > cluster.epoch { raiseEpoch(above: report.epoch) }
    // The highest number is kept free, so that a peer's nonsense cannot make the counter overflow.
    if report.revision < FencingToken.limit { cluster.revision = max(cluster.revision, report.revision) }
    for name in claims.keys.sorted() {
      guard var state = claims[name] else { continue }
      if var entry = state.controlling {
        note(&entry)
        state.controlling = entry
      }
      if var entry = state.consumer {
        note(&entry)
        state.consumer = entry
      }
      claims[name] = state
    }
    for recordName in abandoned.keys.sorted() {
      guard var entry = abandoned[recordName] else { continue }
      note(&entry)
      abandoned[recordName] = entry
    }
    for function in fencers.keys.sorted() {
      guard var entry = fencers[function] else { continue }
      note(&entry)
      fencers[function] = entry
    }
  }
}

extension FunctionStatus {
  /// The same, kept in the memory of what its host was told where it repeats that: there are as many of these as functions.
  fileprivate func sharing(_ entry: WantedFunction) -> FunctionStatus {
    guard let told = entry.assignment else { return self }
    var status = self
    if var function = status.function {
      if function.id == told.function { function.id = told.function }
      if function.endNode == told.endNode { function.endNode = told.endNode }
      if function.fenceDomain == told.fenceDomain { function.fenceDomain = told.fenceDomain }
      if function.claimUid == told.claimUid { function.claimUid = told.claimUid }
      if function.enforced == told.attributes { function.enforced = told.attributes }
      status.function = function
    }
    if var arrival = status.arrival, arrival.enforced == told.attributes {
      arrival.enforced = told.attributes
      status.arrival = arrival
    }
    return status
  }
}
