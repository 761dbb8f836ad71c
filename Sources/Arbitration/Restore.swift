import Messages

extension Arbiter {
  /// Takes one record of the store. They come in no particular order.
  mutating func restore(_ record: Record) {
    switch record {
    case .cluster(let cluster): self.cluster = cluster
    case .host(let host):
      var state = HostState(record: host)
      state.record.state = .disconnected
      hosts[host.name] = state
    case .endNode(let node):
      endNodes[node.id] = EndNodeState(record: node)
      index(node.id, ofClass: node.deviceClass)
    case .claim(let claim):
      claims[claim.name, default: ClaimState(claim: claim)].claim = claim
    case .wantedFunction(let entry):
      let name = entry.assignment?.claim ?? ""
      var placeholder = Claim()
      placeholder.name = name
      var state = claims[name] ?? ClaimState(claim: placeholder)
      switch entry.role {
      case .consumer: state.consumer = entry
      default: state.controlling = entry
      }
      claims[name] = state
    }
  }

  /// Fills the indexes from the state.
  mutating func restoreIndexes() throws(Refusal) {
    for (name, state) in claims.sorted(by: { $0.key < $1.key }) {
      guard !state.claim.uid.isEmpty else {
        throw Refusal(.failedPrecondition, "the store wants a function for claim '\(name)', which it does not hold")
      }
      reserveNames(of: state)
      guard let assignment = state.assignment else {
        pendingClaims.insert(name)
        continue
      }
      if let other = claimOfFunction[assignment.function] {
        throw Refusal(
          .failedPrecondition, "the store gives function \(assignment.function) to both '\(other)' and '\(name)'")
      }
      reserve(assignment, for: name)
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
  }

  mutating func freeNames(of state: ClaimState) {
    if let mac = state.specification.attributes?.ethernet?.macAddress.flatMap(MACAddress.init) {
      claimOfMAC[mac] = nil
    }
    if let key = state.specification.interfaceKey { claimOfInterface[key] = nil }
  }

  /// Takes what an assignment uses.
  mutating func reserve(_ assignment: Assignment, for claim: String) {
    claimOfFunction[assignment.function] = claim
    endNodes[assignment.endNode]?.claims.insert(claim)
    endNodes[assignment.endNode]?.usedSizeBytes += assignment.attributes?.block?.sizeBytes ?? 0
    if let mac = assignment.attributes?.ethernet?.macAddress.flatMap(MACAddress.init) { claimOfMAC[mac] = claim }
    if let vni = assignment.mediation?.vni, vni != 0 { claimOfVNI[vni] = claim }
  }

  mutating func free(_ assignment: Assignment) {
    claimOfFunction[assignment.function] = nil
    endNodes[assignment.endNode]?.claims.remove(assignment.claim)
    endNodes[assignment.endNode]?.free(sizeBytes: assignment.attributes?.block?.sizeBytes ?? 0)
    if let mac = assignment.attributes?.ethernet?.macAddress.flatMap(MACAddress.init) { claimOfMAC[mac] = nil }
    if let vni = assignment.mediation?.vni { claimOfVNI[vni] = nil }
  }
}

extension ClaimSpecification {
  /// Nil if the interface's name is left to the plugin.
  var interfaceKey: InterfaceKey? {
    guard let consumer, !consumer.interfaceName.isEmpty else { return nil }
    var namespace = ""
    if case .networkNamespace(let kind) = consumer.kind { namespace = kind.name }
    return InterfaceKey(host: host, networkNamespace: namespace, name: consumer.interfaceName)
  }
}
