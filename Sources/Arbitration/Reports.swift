import Messages

extension Arbiter {
  // MARK: End nodes

  mutating func takeInventory(_ session: SessionID, _ report: InventoryReport) {
    // A report of a session that has been replaced is older than the one that replaced it.
    guard let host = hostOfSession[session], var state = hosts[host] else { return }
    let before = state.durable
    state.record.plugins = report.plugins
    state.hasReportedInventory = true
    hosts[host] = state
    if state.durable != before { changes.save(RecordKey(.host, host)) }

    // Without an identity or a class a device cannot be spoken of.
    let reported = report.endNodes.filter { !$0.id.isEmpty && !$0.deviceClass.isEmpty }
    for node in reported.sorted(by: { $0.id < $1.id }) { take(node, from: host) }
    noteMissing(reported: Set(reported.map(\.id)), on: host)
    placePending()
  }

  private mutating func take(_ said: EndNode, from host: String) {
    let known = endNodes[said.id]
    if let known, known.controllingHost != host {
      endNodes[said.id]?.conflictingHosts.insert(host)
      return
    }
    var state = known ?? EndNodeState(record: EndNode())
    state.record = merged(said, into: known?.record, from: host)
    if (state.record.physicalFunction?.controlToken?.value ?? 0) == 0 {
      let token = state.drawToken()
      state.record.physicalFunction?.controlToken = token
    }
    endNodes[said.id] = state
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
    physicalFunction.controllingHost = host
    physicalFunction.controlToken = known?.physicalFunction?.controlToken
    node.physicalFunction = physicalFunction
    var token = FencingToken()
    token.value = max(said.highestToken?.value ?? 0, known?.highestToken?.value ?? 0)
    node.highestToken = token
    return node
  }

  /// An end node of a plugin that serves, and that is in its list no more, takes no new functions. It is not forgotten:
  /// its tokens must go on from where they are when it comes back.
  private mutating func noteMissing(reported: Set<String>, on host: String) {
    for id in endNodes.keys.sorted() where !reported.contains(id) {
      guard var state = endNodes[id] else { continue }
      state.conflictingHosts.remove(host)
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
      touched = hosts[host]?.claims ?? []
      hosts[host]?.reports = [:]
      hosts[host]?.hasReportedFunctions = true
      hosts[host]?.hasReportedFunctionsInSession = true
    }
    for status in report.functions {
      let id = status.function?.id ?? ""
      // A function that no claim of this host has is an orphan or released already; it is left alone.
      guard let claim = claimOfFunction[id], hosts[host]?.claims.contains(claim) ?? false else { continue }
      hosts[host]?.reports[id] = status
      touched.insert(claim)
    }
    settle(touched)
    if isFirst { placePending() }
  }

  private mutating func raiseAboveTokens(of report: FunctionReport) {
    for function in report.functions.compactMap(\.function) {
      guard let token = function.token?.value, endNodes[function.endNode]?.rememberToken(token) ?? false else {
        continue
      }
      changes.save(RecordKey(.endNode, function.endNode))
    }
  }

  /// An agent has obeyed a revision that is still to come here: this store is a restored one. Every entry gets a new
  /// revision above the agent's, so that no answer to the lost history passes for an answer to this one.
  private mutating func outrun(_ report: FunctionReport) {
    if report.epoch > cluster.epoch { raiseEpoch(above: report.epoch) }
    // The highest number is kept free, so that a peer's nonsense cannot make the counter overflow.
    if report.revision < UInt64.max / 2 { cluster.revision = max(cluster.revision, report.revision) }
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
  }
}
