import Messages

extension Arbiter {
  /// Takes the records of the store, which come in no particular order.
  mutating func restore(_ records: [Record]) throws(Refusal) {
    var entries: [WantedFunction] = []
    var nameOfClaim: [String: String] = [:]
    for record in records {
      switch record {
      case .cluster(let cluster): self.cluster = cluster
      case .host(let host): restore(host)
      case .endNode(let node):
        endNodes[node.id] = EndNodeState(record: node)
      case .claim(let claim):
        claims[claim.name] = ClaimState(restoring: claim)
        nameOfClaim[claim.uid] = claim.name
      case .tenant(let tenant): tenants[tenant.name] = tenant
      case .wantedFunction(let entry): entries.append(entry)
      }
    }
    for entry in entries { try restore(entry, nameOfClaim) }
  }

  private mutating func restore(_ host: Host) {
    var state = HostState(record: host)
    state.record.state = host.death == nil ? .disconnected : .dead
    hosts[host.name] = state
  }

  private mutating func restore(_ entry: WantedFunction, _ nameOfClaim: [String: String]) throws(Refusal) {
    if entry.role == .fencer { return keepFencer(entry) }
    if entry.abandoned { return keepAbandoned(entry) }
    // By the uid: an orphan that was adopted under another name keeps, for its plugin, the name that it was made with.
    guard let name = nameOfClaim[entry.assignment?.claimUid ?? ""] else {
      let claim = entry.assignment?.claim ?? ""
      throw Refusal(.failedPrecondition, "the store wants a function for claim '\(claim)', which it does not hold")
    }
    switch entry.role {
    case .consumer: claims[name]?.consumer = entry
    default: claims[name]?.controlling = entry
    }
  }

  /// Fills the indexes from the state.
  mutating func restoreIndexes() throws(Refusal) {
    let targets = endNodes.ids.map { Maintained.endNode($0) } + hosts.names.map { Maintained.host($0) }
    for target in targets {
      if cordon(of: target)?.drain != nil { drains.insert(target) }
      followTaints(of: target)
    }
    for (name, state) in claims.sorted(by: { $0.key < $1.key }) {
      reserveNames(of: state)
      noteClaim(of: state.specification, by: 1)
      expiries.note(state.claim)
      guard let assignment = state.assignment else {
        wait(state)
        nominate(state)
        continue
      }
      if let other = claimOfFunction[assignment.function] {
        throw Refusal(
          .failedPrecondition, "the store gives function \(assignment.function) to both '\(other)' and '\(name)'")
      }
      reserve(assignment, for: state)
      countAmongPeers(state.specification, with: assignment, by: 1)
      if state.isBeingEvicted { evicting.insert(state) }
      if state.phase == .releasing || state.isBeingEvicted, state.specification.isForFileServer { heldUp.insert(name) }
      // Without an entry for the controlling side that side has proven its part absent.
      if state.controlling != nil { takeShare(of: assignment) }
      restoreUpgrade(of: state)
      for entry in [state.controlling, state.consumer].compactMap({ $0 }) {
        hosts[entry.host]?.claims.insert(name)
      }
    }
  }

  /// Takes the names that a claim asks for, granted or not: nobody else may ask for them meanwhile.
  mutating func reserveNames(of state: ClaimState) {
    let specification = state.specification
    if let mac = specification.attributes?.ethernet?.macAddress.flatMap(MACAddress.init) {
      claimOfMAC[mac] = state.claim.name
    }
    if let key = specification.interfaceKey { claimOfInterface[key] = state.claim.name }
    if let name = specification.openInterface { claimsOfOpenInterface[name, default: []].insert(state.claim.name) }
    keepSelectors(of: specification, for: state.claim.name)
    if !specification.source.isEmpty { claimsOfSource[specification.source, default: []].insert(state.claim.name) }
    if !specification.group.isEmpty { claimsOfGroup[specification.group, default: []].insert(state.claim.name) }
  }

  mutating func freeNames(of state: ClaimState) {
    if let mac = state.specification.attributes?.ethernet?.macAddress.flatMap(MACAddress.init) {
      claimOfMAC[mac] = nil
    }
    if let key = state.specification.interfaceKey { freeInterface(key) }
    if let name = state.specification.openInterface {
      claimsOfOpenInterface[name]?.remove(state.claim.name)
      if claimsOfOpenInterface[name]?.isEmpty ?? false { claimsOfOpenInterface[name] = nil }
    }
    dropSelectors(of: state.specification, for: state.claim.name)
    let source = state.specification.source
    claimsOfSource[source]?.remove(state.claim.name)
    if claimsOfSource[source]?.isEmpty ?? false { claimsOfSource[source] = nil }
    let group = state.specification.group
    claimsOfGroup[group]?.remove(state.claim.name)
    if claimsOfGroup[group]?.isEmpty ?? false {
      claimsOfGroup[group] = nil
      forgetFailures(ofGroup: group)
    }
  }

  /// Takes what an assignment uses, but for its share of the end node.
  mutating func reserve(_ assignment: Assignment, for state: ClaimState) {
    let claim = state.claim.name
    takeUse(assignment, of: state.specification)
    if state.specification.isPreemptible(with: assignment) {
      holders.insert(assignment, priority: state.specification.priority)
    }
    claimOfFunction[assignment.function] = claim
    if let mac = assignment.macAddress { claimOfMAC[mac] = claim }
    if let vni = assignment.mediation?.vni, vni != 0 { claimOfVNI[vni] = claim }
    if let key = assignment.interfaceKey { claimOfInterface[key] = claim }
  }

  /// What `reserve` took. The names that the specification asks for stay the claim's.
  mutating func free(_ assignment: Assignment, of state: ClaimState) {
    claimOfFunction[assignment.function] = nil
    freeUse(assignment, of: state.specification)
    if state.specification.isPreemptible(with: assignment) {
      holders.remove(assignment, priority: state.specification.priority)
    }
    if let mac = assignment.macAddress { claimOfMAC[mac] = nil }
    if let vni = assignment.mediation?.vni { claimOfVNI[vni] = nil }
    if let key = assignment.interfaceKey { freeInterface(key) }
    countAmongPeers(state.specification, with: assignment, by: -1)
    forgetServedEndNode(assignment.function)
    reserveNames(of: state)
  }

  /// Others may wait for the name on just that host.
  private mutating func freeInterface(_ key: InterfaceKey) {
    claimOfInterface[key] = nil
    changes.openings.claims.formUnion(claimsOfOpenInterface[key.name] ?? [])
  }

  mutating func takeShare(of assignment: Assignment) {
    endNodes.takeShare(assignment.function, assignment.share, of: assignment.endNode)
    noteUse(of: assignment.endNode)
  }

  /// Unless another host has the function as well, of a time before: what it has is there until somebody says what becomes of it.
  mutating func freeShare(of assignment: Assignment) {
    guard !isTakenByOrphan(assignment.function) else { return }
    endNodes.freeShare(assignment.function, of: assignment.endNode)
    keepPlace(of: assignment)
    changes.openings.endNodes.insert(assignment.endNode)
    noteIfUnused(assignment.endNode)
  }
}

extension Assignment {
  package var macAddress: MACAddress? { attributes?.ethernet?.macAddress.flatMap(MACAddress.init) }
  package var sizeBytes: UInt64 { attributes?.block?.sizeBytes ?? 0 }

  /// What it takes of its end node.
  var share: Share {
    Share(
      path: path, host: host,
      Share.Part(
        sizeBytes: sizeBytes, rates: attributes?.minimumRates ?? MinimumRates(), extent: extent))
  }

  /// A part of a disk is its content; a function of a network card holds nothing.
  var holdsData: Bool { attributes?.block != nil }
}

extension ClaimState {
  /// A claim of a store that an earlier version wrote may spell its specification in an earlier way.
  fileprivate init(restoring claim: Claim) {
    var claim = claim
    claim.specification = claim.specification?.normalized
    self.init(claim: claim)
  }
}

extension ClaimSpecification {
  /// Nil if the interface's name is left to the plugin, or its host is open.
  var interfaceKey: InterfaceKey? { interfaceKey(on: host) }
  func interfaceKey(on host: String) -> InterfaceKey? { InterfaceKey(consumer, on: host) }
  /// The name that an interface is to have on a host that is open.
  fileprivate var openInterface: String? {
    guard isForSeveralHosts, let name = consumer?.interfaceName, !name.isEmpty else { return nil }
    return name
  }
}

extension Assignment {
  fileprivate var interfaceKey: InterfaceKey? { InterfaceKey(consumer, on: host) }
}

extension InterfaceKey {
  fileprivate init?(_ consumer: Consumer?, on host: String) {
    guard let consumer, !consumer.interfaceName.isEmpty, !host.isEmpty else { return nil }
    var namespace = ""
    if case .networkNamespace(let kind) = consumer.kind { namespace = kind.name }
    self.init(host: host, networkNamespace: namespace, name: consumer.interfaceName)
  }
}
