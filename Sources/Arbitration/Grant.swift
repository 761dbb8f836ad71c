import Messages

extension Arbiter {
  /// Gives a function of the candidate's end node to the claim: draws its token, allocates what joins the hosts, and
  /// tells the host that has the end node.
  ///
  /// - Parameter former: what the consumer's host has of the function before, and keeps for this one.
  mutating func grant(_ candidate: Candidate, to state: inout ClaimState, insteadOf former: WantedFunction? = nil) {
    let id = candidate.record.id
    if candidate.route.path != .direct, candidate.isMultiRoot { renewControl(of: id) }
    guard let token = drawToken(of: candidate) else { return }

    let driver = candidate.route.path == .mediated ? candidate.controllingHost : candidate.host
    let specification = state.specification
    let attributes = grantedAttributes(candidate, for: state)
    let mediation = mediation(candidate, token: token, for: state)
    var assignment = Assignment {
      // The id holds the token: an extent that is cut again in the same place is another function.
      $0.function = String(joining: [id, "/", String(token.value)])
      $0.claim = state.claim.name
      $0.claimUid = state.claim.uid
      $0.endNode = id
      $0.deviceClass = candidate.record.deviceClass
      $0.source = specification.source
      $0.host = candidate.host
      $0.controllingHost = driver
      $0.path = candidate.route.path
      $0.token = token
      $0.fenceDomain = candidate.fenceDomain(of: $0.function, drivenBy: driver)
      $0.consumer = specification.consumer
      $0.attributes = attributes
      $0.mediation = mediation
      $0.lossPolicy = specification.lossPolicy
    }
    if let former, let before = former.assignment { assignment.takeOver(before, arrival: report(of: former)?.arrival) }
    reserve(assignment, for: state)
    countAmongPeers(state.specification, with: assignment, by: 1)
    takeShare(of: assignment)

    state.controlling = enter(assignment, of: state.claim.name)
    let decision = candidate.decision(at: now)
    noteGranted(
      assignment, to: state, decision,
      because: assignment.takesOver.isEmpty ? wordsOfUpgrade(of: state, to: assignment) : assignment.wordsOfMove)
    state.withStatus {
      $0.phase = .preparing
      $0.assignment = assignment
      $0.health = nil
      $0.decision = decision
    }
    // Its waiting reason names the host that has to act first; of a device that others have, they may be in the way.
    let waiting =
      candidate.isMultiRoot
      ? waitingReasons(of: state, for: "set up") : [.waiting(for: driver, to: "set up", assignment.function)]
    state.withStatus { $0.pending = waiting }
  }

  /// Tells the host that has the end node.
  mutating func enter(_ assignment: Assignment, of claim: String) -> WantedFunction {
    var entry = WantedFunction {
      $0.assignment = assignment
      $0.role = assignment.path == .mediated ? .server : .direct
    }
    let boot = hosts.note(claim: claim, of: entry.host)
    note(&entry, in: boot)
    return entry
  }

  /// Tells the consumer's host of a function that another one serves.
  mutating func connect(_ assignment: Assignment, of claim: String) -> WantedFunction {
    var entry = WantedFunction {
      $0.assignment = assignment
      $0.role = .consumer
    }
    let boot = hosts.note(claim: claim, of: entry.host)
    note(&entry, in: boot)
    return entry
  }

  /// What the claim asked for, with the defaults that only the coordinator can choose.
  private func grantedAttributes(_ candidate: Candidate, for state: ClaimState) -> Attributes? {
    var attributes = state.specification.attributes ?? Attributes()
    let offer = candidate.offer(on: candidate.route.path)
    var ethernet = attributes.ethernet ?? EthernetAttributes { _ in }
    if offer.honours(Attributes.macAddress), ethernet.macAddress == nil {
      ethernet.macAddress = freeMAC(for: state.claim.uid).description
    }
    if offer.honours(Attributes.mtu), ethernet.mtu == nil {
      // What a path could carry at most is not what the network behind it does: the card's own size is what fits there.
      let usual = candidate.record.capabilities?.maximumMtu ?? 0
      ethernet.mtu = candidate.route.mtuLimit.map { usual == 0 ? $0.bytes : min($0.bytes, usual) }
    }
    attributes.ethernet = ethernet.macAddress == nil && ethernet == EthernetAttributes() ? nil : ethernet
    if candidate.isBlockDevice, attributes.block?.sizeBytes == nil {
      var block = attributes.block ?? BlockAttributes()
      block.sizeBytes = candidate.sizeBytes
      attributes.block = block
    }
    return attributes == Attributes() ? nil : attributes
  }

  /// The first derived address that nobody has.
  private func freeMAC(for uid: String) -> MACAddress {
    var attempt = 0
    while true {
      let mac = MACAddress(derivedFrom: uid, attempt: attempt)
      if mac.value != 0, claimOfMAC[mac] == nil, !orphanIndex.uses(mac) { return mac }
      attempt += 1
    }
  }

  func mediation(_ candidate: Candidate, token: FencingToken, for state: ClaimState) -> Mediation? {
    guard let mediator = candidate.route.mediator else { return nil }
    var mediation = Mediation()
    mediation.mediator = mediator
    mediation.serverAddress = candidate.route.serverAddress
    mediation.consumerAddress = candidate.route.consumerAddress
    switch mediator {
    case "vxlan": mediation.vni = freeVNI(for: candidate.record.id, token, of: state.claim.uid)
    default: mediation.exportName = "iov-\(token.value)-\(state.claim.uid.prefix(8))"
    }
    return mediation
  }

  /// An identifier that is not in use, derived from the end node, the token and the claim. Not the lowest one: a store that was
  /// restored from an older copy does not know which ones hosts that are away are using. The small numbers are left to
  /// the operator's own networks.
  private func freeVNI(for endNode: String, _ token: FencingToken, of uid: String) -> UInt32 {
    let first: UInt64 = 4096
    let count = 1 << 24 - first
    let start = MACAddress.fnv1a64(endNode, "/\(token.value)#", uid) % count
    precondition(claimOfVNI.count < Int(count), "more mediated functions than there are VXLAN identifiers")
    var vni = UInt32(first + start)
    while claimOfVNI[vni] != nil || orphanIndex.uses(vni: vni) {
      vni = vni + 1 < 1 << 24 ? vni + 1 : UInt32(first)
    }
    return vni
  }
}
