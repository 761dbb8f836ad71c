import Messages

/// What an operator keeps free of new functions: one end node, or a host with all that it gives and takes.
enum Maintained: Hashable, Comparable {
  /// By its id.
  case endNode(String)
  case host(String)

  var recordKey: RecordKey {
    switch self {
    case .endNode(let id): RecordKey(.endNode, id)
    case .host(let name): RecordKey(.host, name)
    }
  }
}

/// A cordon keeps new functions away, and changes nothing for those that are there. On a host none is newly used, and of the end
/// nodes that it controls none is newly given; of one that several hosts see, other roots may have the whole, and control of it
/// goes to one of them as soon as nothing of it is in use.
extension Arbiter {
  mutating func cordon(_ request: CordonRequest, at now: Instant) throws(Refusal) -> MaintenanceAnswer {
    let target = try maintained(request.target)
    try checkReason(request.reason)
    var cordon = cordon(of: target) ?? Cordon { $0.since = now.timestamp }
    cordon.reason = request.reason
    put(cordon, of: target)
    return answer(target)
  }

  mutating func uncordon(_ request: UncordonRequest) throws(Refusal) -> MaintenanceAnswer {
    let target = try maintained(request.target)
    drains.remove(target)
    if cordon(of: target) != nil { put(nil, of: target) }
    return answer(target)
  }

  func checkReason(_ reason: String) throws(Refusal) {
    let isOneLine = reason.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
    guard reason.utf8.count <= 256, isOneLine else {
      throw Refusal(
        .invalidArgument, "a reason has at most 256 bytes on one line; it was given as '\(Names.shown(reason))'")
    }
  }

  func isShown(_ node: EndNodeState) -> Bool { !node.isServed && hosts[node.controllingHost] != nil }

  /// What a request names.
  func maintained(_ named: MaintenanceTarget?) throws(Refusal) -> Maintained {
    switch named?.kind {
    case .host(let name): return .host(try knownHost(name).record.name)
    case .endNode(let name): return .endNode(try shownEndNode(name).record.id)
    case nil: throw Refusal(.invalidArgument, "neither an end node nor a host is named")
    }
  }

  /// By its name or id.
  func shownEndNode(_ name: String) throws(Refusal) -> EndNodeState {
    let nodes = endNodes.ids(named: name).compactMap { endNodes[$0] }.filter { isShown($0) }
    guard let first = nodes.first else {
      let known = endNodes.all.filter { isShown($0) }.map(\.record.name)
      throw Refusal(
        .notFound,
        "there is no end node '\(Names.shown(name))'" + Names.suggestion(for: name, among: known, of: "end nodes"))
    }
    if let node = nodes.first(where: { $0.record.id == name }) { return node }
    guard nodes.count == 1 else {
      throw Refusal(
        .failedPrecondition,
        "'\(name)' is the name of several end nodes; name one by its id: \(Names.list(nodes.map(\.record.id)))")
    }
    return first
  }

  func answer(_ target: Maintained) -> MaintenanceAnswer {
    switch target {
    case .endNode(let id): MaintenanceAnswer { $0.endNode = endNodes[id].map { shown($0) } }
    case .host(let name): MaintenanceAnswer { $0.host = hosts[name].map { shown($0) } }
    }
  }

  func cordon(of target: Maintained) -> Cordon? {
    switch target {
    case .endNode(let id): endNodes[id]?.record.cordon
    case .host(let name): hosts[name]?.record.cordon
    }
  }

  /// Without a word to those who wait.
  mutating func set(_ cordon: Cordon?, of target: Maintained) {
    switch target {
    case .endNode(let id): endNodes[id]?.record.cordon = cordon
    case .host(let name): hosts[name]?.record.cordon = cordon
    }
  }

  mutating func put(_ cordon: Cordon?, of target: Maintained) {
    set(cordon, of: target)
    changes.save(target.recordKey)
    noteOpening(of: target)
  }

  /// Claims that wait may fit there now, or wait for another reason.
  mutating func noteOpening(of target: Maintained) {
    changes.openings.isOtherwise = true
    switch target {
    case .endNode(let id): changes.openings.endNodes.insert(id)
    case .host(let name): changes.openings.hosts.insert(name)
    }
  }

  /// As a sentence names it.
  func words(of target: Maintained) -> String {
    switch target {
    case .endNode(let id): "end node \(endNodes[id]?.record.name ?? id)"
    case .host(let name): "host \(name)"
    }
  }

  // MARK: In placement

  /// What of its own keeps new functions of an end node away from a claim.
  func checkKeptAway(from node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    try check(node.record.cordon, node.record.name)
    try checkTaints(node.record.taints, node.record.name, for: specification)
    try checkFlapping(of: node)
  }

  /// What keeps new functions away from the host on which they would be used.
  func checkKeptAway(from host: HostState, for specification: ClaimSpecification) throws(Drop) {
    try check(host.record.cordon, host.record.name)
    try checkTaints(host.record.taints, host.record.name, for: specification)
  }

  /// What keeps a host from giving new parts of the end node that it controls.
  func checkKeptAway(fromControllerOf node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    guard let controller = hosts[node.controllingHost] else { return }
    try checkKeptAway(from: controller, thatControls: node, for: specification)
  }

  func checkKeptAway(
    from host: HostState, thatControls node: EndNodeState, for specification: ClaimSpecification
  ) throws(Drop) {
    let controller = host.record
    guard controller.cordon != nil || !controller.taints.isEmpty else { return }
    let words = "\(controller.name), which controls \(node.record.name),"
    try check(controller.cordon, words)
    try checkTaints(controller.taints, words, for: specification)
  }

  private func check(_ cordon: Cordon?, _ subject: String) throws(Drop) {
    guard let cordon else { return }
    throw Drop(.cordon, "\(subject) is \(cordon.words)")
  }
}

extension Cordon {
  var words: String { (drain == nil ? "cordoned" : "drained") + (reason.isEmpty ? "" : ": \(reason)") }
}
