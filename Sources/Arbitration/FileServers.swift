import Messages

/// File servers: a claim may name another claim as its source. What that one holds is then an end node of its own. Its id is
/// the function's; its controlling host is the one that has the function attached, and reports it as it reports its devices.
/// So what is true of any end node is true of it: one counter of tokens, control, room, fencing. Only claims that name the
/// source get functions of it, and they stand and fall with it:
///
///  - It lets go of its function last: those that have parts of it let go first.
///  - What it loses they lose. That its function is cut off at the device is proof for the parts, too: nothing that is
///    written to them arrives anywhere. Nothing of them has to be cleaned then, since the function is cleaned as a whole.
extension Arbiter {
  /// The end nodes that a claim may get a function of, in the order of their ids.
  func candidates(for specification: ClaimSpecification) -> OrderedSet<String> {
    guard !specification.source.isEmpty else { return endNodes.ids(ofClass: specification.deviceClass) }
    return OrderedSet([claims[specification.source]?.assignment?.function].compactMap { $0 })
  }

  /// Those that a host has a path to that the claim may be used on, of whatever class.
  func ids(atHostsOf choice: HostChoice) -> [String] {
    choice.hosts.count == 1 ? Array(endNodes.ids(atHost: choice.hosts[0])) : atHosts(choice.hosts)
  }

  private func atHosts(_ hosts: [String]) -> [String] {
    var ids: Set<String> = []
    for host in hosts { ids.formUnion(endNodes.ids(atHost: host)) }
    return ids.sorted()
  }

  func isCandidate(_ id: String, for specification: ClaimSpecification) -> Bool {
    guard specification.source.isEmpty else { return claims[specification.source]?.assignment?.function == id }
    return endNodes[id].map { isCandidate($0, for: specification) } ?? false
  }

  func isCandidate(_ node: EndNodeState, for specification: ClaimSpecification) -> Bool {
    guard specification.source.isEmpty else {
      return claims[specification.source]?.assignment?.function == node.record.id
    }
    return node.record.deviceClass == specification.deviceClass && !node.isServed
  }

  /// Why nothing can be granted from a claim's source just now; nil if something can.
  func obstacle(ofSourceOf specification: ClaimSpecification) -> Drop? {
    guard !specification.source.isEmpty else { return nil }
    let name = specification.source
    guard let source = claims[name] else { return Drop(.source, "there is no claim '\(name)', its source, any more") }
    if let reason = reasonNotToServe(source) { return Drop(.source, "its source \(reason)") }
    guard endNodes[source.assignment?.function ?? ""] == nil else { return nil }
    return Drop(.source, "\(source.host) has yet to report what its source '\(name)' holds")
  }

  private func reasonNotToServe(_ source: ClaimState) -> String? {
    guard source.phase != .ready else { return nil }
    let state =
      switch source.phase {
      case .releasing: "is being released"
      case .preparing: "is being set up"
      case .reclaiming: "has lost its function"
      default: "waits for a function"
      }
    // Why is not said: that may be a source in its turn, and so on, and all of them would be told anew with every word of the first.
    return "'\(source.claim.name)' \(state); see: iov claim explain \(source.claim.name)"
  }

  /// Why a claim whose source is not ready cannot be either; nil if that is not the reason.
  func sourceReason(of state: ClaimState) -> PendingReason? {
    guard let source = source(of: state.assignment), let why = reasonNotToServe(source) else { return nil }
    var reason = PendingReason()
    reason.filter = Filter.source.name
    reason.message = "its source \(why)"
    return reason
  }

  /// The claim that holds the end node of an assignment as its function; nil: it is a device, or nobody knows whose it is.
  func source(of assignment: Assignment?) -> ClaimState? {
    guard let assignment, !assignment.source.isEmpty else { return nil }
    return claimOfFunction[assignment.endNode].flatMap { claims[$0] }
  }

  /// The claims that have a claim as their source, by name.
  func claims(from source: String) -> [ClaimState] {
    (claimsOfSource[source] ?? []).sorted().compactMap { claims[$0] }
  }

  // MARK: What is wrong with a source whatever happens later

  func validateSource(_ specification: ClaimSpecification, of name: String) throws(Refusal) {
    func refuse(_ message: String) -> Refusal { Refusal(.invalidArgument, message) }
    if specification.isForFileServer, specification.attributes?.block?.readOnly ?? false {
      throw refuse("a file server writes to what it serves from, so claim '\(name)' cannot be read-only")
    }
    let source = specification.source
    guard !source.isEmpty else { return }
    let chain = chain(from: source)
    guard !chain.contains(name) else {
      let shown = ([name] + chain).prefix(Self.mostInChain + 1)
      throw refuse("claim '\(name)' would be its own source: \(shown.joined(separator: " from "))")
    }
    guard chain.count < Self.mostInChain else {
      throw refuse(
        "claim '\(name)' would be number \(chain.count + 1) of a chain of claims that are served one from the other, which begins at "
          + "'\(chain.last ?? source)'; \(Self.mostInChain) are the most: name a source nearer to that one")
    }
    guard let state = claims[source] else {
      let servers = claims.values.filter(\.specification.isForFileServer).map(\.claim.name)
      throw refuse(
        "there is no claim '\(Names.shown(source))' that could be the source of '\(name)'"
          + Names.suggestion(for: source, among: servers, of: "claims for a file server"))
    }
    guard specification.endNode == nil, specification.selector.isEmpty else {
      throw refuse("claim '\(name)' is to be a part of what '\(source)' holds, so it cannot choose an end node as well")
    }
    guard state.specification.isForFileServer else {
      let user = state.specification.consumer?.kind?.words ?? "host"
      throw refuse(
        "claim '\(source)' is for a \(user) on \(state.specification.hostWords), which would write to the same blocks as '\(name)': a "
          + "source is a claim whose consumer is a file server (iov claim create --file-server)")
    }
    guard state.specification.deviceClass == specification.deviceClass else {
      throw refuse(
        "claim '\(source)' is of class \(state.specification.deviceClass), and '\(name)', which is to be a part of it, asks for "
          + "class \(specification.deviceClass)")
    }
    guard state.phase != .releasing else { throw refuse("claim '\(source)', the source, is being released") }
    try validateSize(specification, from: state)
  }

  /// Also before the source holds anything.
  private func validateSize(_ specification: ClaimSpecification, from source: ClaimState) throws(Refusal) {
    guard let size = specification.attributes?.block?.sizeBytes else { return }
    if let whole = source.assignment?.sizeBytes ?? source.specification.attributes?.block?.sizeBytes, size > whole {
      throw Refusal(
        .invalidArgument,
        "a size of \(size) bytes is above the \(whole) bytes of the source '\(source.claim.name)'")
    }
    let block = UInt64(source.assignment.flatMap { endNodes[$0.endNode] }?.record.capabilities?.blockSizeBytes ?? 0)
    guard block > 0, size % block > 0 else { return }
    throw Refusal(
      .invalidArgument,
      "a size of \(size) bytes is not a multiple of the \(block)-byte blocks of the source '\(source.claim.name)'")
  }

  /// What happens to a claim happens to all that are served from it, one after the other.
  private static var mostInChain: Int { 8 }

  /// A claim, its source, that one's source, and so on.
  private func chain(from name: String) -> [String] {
    var chain = [name]
    var seen: Set<String> = [name]
    while let next = claims[chain.last ?? ""]?.specification.source, !next.isEmpty, seen.insert(next).inserted {
      chain.append(next)
    }
    return chain
  }

  // MARK: The order in which they let go

  /// Data of others is deleted by somebody who knows of it.
  func checkNothingIsServed(from name: String) throws(Refusal) {
    let others = claims(from: name).filter { $0.phase != .releasing }.map { "'\($0.claim.name)'" }
    guard !others.isEmpty else { return }
    throw Refusal(
      .failedPrecondition,
      "claim '\(name)' is the source of \(Names.list(others)), whose data goes with it: delete them first, or all at once: "
        + "iov claim delete \(name) --cascade")
  }

  /// What a source that is to be released, or evicted, waits for; nil: for nothing.
  func partsInTheWay(of source: ClaimState) -> PendingReason? {
    guard source.phase == .releasing || source.isBeingEvicted, source.specification.isForFileServer,
      let assignment = source.assignment,
      let host = hosts[source.host], !host.isDead, !isCutWithItsSource(assignment)
    else { return nil }
    var reason = PendingReason()
    reason.filter = "parts"
    let name = host.record.name
    guard host.isConnected ? host.hasReportedFunctionsInSession : host.hasReportedFunctions else {
      reason.message = "\(name) has yet to report what it serves from \(assignment.function)"
      return reason
    }
    // A host that is away cannot let go of anything in order; who has the device can cut it off, and the parts with it.
    let isCutByOthers =
      assignment.controllingHost != name || endNodes[assignment.endNode]?.isMultiRoot ?? false
    guard host.isConnected || !isCutByOthers else { return nil }
    // Without the device nothing of them can be cleaned.
    guard hosts[assignment.controllingHost]?.isDead != true else { return nil }
    let parts = (endNodes[assignment.function]?.shares.keys).map { $0.sorted() } ?? []
    guard !parts.isEmpty else { return nil }
    let orphans = parts.filter { claimOfFunction[$0] == nil && abandonedWithShare[$0] == nil }
    let others = parts.map { claimOfFunction[$0].map { "'\($0)'" } ?? $0 }
    reason.message = "\(name) has yet to let go of what it serves from \(assignment.function): \(Names.list(others))"
    if let orphan = orphans.first { reason.message += "; of an orphan: iov orphan purge \(orphan)" }
    return reason
  }

  /// Whether whoever holds the end node of an assignment is cut off at the device.
  func isCutWithItsSource(_ assignment: Assignment) -> Bool {
    guard let source = source(of: assignment), source.phase == .releasing || source.phase == .reclaiming else {
      return false
    }
    return source.controlling.map { proof(of: $0) != nil } ?? true
  }

  /// A source is cut off at the device: so is everybody who has a part of it.
  mutating func settleParts(of source: ClaimState) {
    guard source.specification.isForFileServer, let function = source.assignment?.function else { return }
    claims[source.claim.name] = source
    for part in claims(from: source.claim.name) where part.assignment?.endNode == function { settle(part.claim.name) }
    // What a run that is over left of them is cleaned with the source's function.
    leaveParts(of: function)
  }

  /// What nobody can use any more, and has yet to be cleaned by a host, is cleaned with the function that it is a part of.
  mutating func leaveParts(of function: String) {
    let parts = (abandonedOfEndNode[function] ?? []).compactMap { abandoned[$0] }.filter {
      abandonedWithShare[$0.functionID] == $0.recordName
    }
    for var entry in parts.sorted(by: { $0.functionID < $1.functionID }) {
      entry.fenced = true
      note(&entry)
      abandoned[entry.recordName] = entry
      freeShare(ofAbandoned: entry.functionID)
    }
  }

  /// Sources that may go on because something of theirs was freed.
  mutating func settleSources() {
    guard !endNodes.served.isEmpty else { return }
    var settled: Set<String> = []
    while let id = endNodes.served.intersection(changes.openings.endNodes).subtracting(settled).min() {
      settled.insert(id)
      if let name = claimOfFunction[id] {
        if heldUp.contains(name) { settle(name) }
      } else if let host = hosts[endNodes[id]?.controllingHost ?? ""], host.hasReportedInventory,
        !host.listedEndNodes.contains(id)
      {
        // Its host has no such device any more, and its last part went only now.
        forgetServedEndNode(id)
      }
    }
  }

  /// Sources that may go on because their host has said what it has, or is away.
  mutating func settleSources(on host: String) {
    for name in heldUp.sorted() where claims[name]?.host == host { settle(name) }
  }

  /// Parts of a function that no claim holds, and that nobody has told to go yet.
  func partsOfOrphan(_ function: String) -> [String] {
    let claimed = claims.values.compactMap(\.assignment).filter { $0.endNode == function }.map(\.function)
    let orphans = orphanIndex.hosts.flatMap { host in
      (hosts[host]?.orphans ?? [:]).filter {
        $0.value.function?.endNode == function && abandoned[$0.value.recordName] == nil
      }
      .keys
    }
    return Set(claimed + orphans).sorted()
  }

  /// Whether a part is of a function that nobody has: there is no device that it could be cleaned on.
  func isOfNothing(_ assignment: Assignment) -> Bool {
    !assignment.source.isEmpty && isNobodys(assignment.endNode)
  }

  /// Whether no host has a function itself, or is to have it.
  func isNobodys(_ function: String) -> Bool {
    guard claimOfFunction[function] == nil, abandonedWithShare[function] == nil else { return false }
    return !orphanIndex.hosts(with: function).contains { host in
      orphans(of: function, on: host).contains { $0.role != .consumer }
    }
  }

  // MARK: Their end nodes

  /// A function is attached on its claim's host alone: only that one can say that it serves from it.
  func isSaidByItsHost(_ said: EndNode, _ host: String) -> Bool {
    guard !said.source.isEmpty, let name = claimOfFunction[said.id] else { return true }
    return claims[name]?.host == host
  }

  /// Its claim holds it no more. The numbers of its tokens are not needed again, because no function has its id again.
  mutating func forgetServedEndNode(_ id: String) {
    guard endNodes.served.contains(id), endNodes[id]?.shares.isEmpty ?? true, claimOfFunction[id] == nil else { return }
    endNodes[id] = nil
    changes.save(RecordKey(.endNode, id))
  }

  /// Claims that may be granted something, or wait for another reason, because an end node of a source is another one now.
  func waitingForSources(_ openings: Openings) -> Set<String> {
    let controlled = openings.hosts.flatMap { host in
      endNodes.ids(atHost: host).filter { endNodes[$0]?.controllingHost == host }
    }
    let changed = endNodes.served.intersection(openings.endNodes.union(controlled))
    return Set(changed.compactMap { claimOfFunction[$0] }.flatMap { claimsOfSource[$0] ?? [] })
  }
}

extension WithEndNodeRecord {
  /// Whether it is what a claim holds, and no device.
  var isServed: Bool { !record.source.isEmpty }
}

extension ClaimSpecification {
  var isForFileServer: Bool { if case .fileServer = consumer?.kind { true } else { false } }
}
