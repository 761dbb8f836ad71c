import Messages
import Selectors

extension Arbiter {
  mutating func createClaim(
    _ request: CreateClaimRequest, uid: String, at now: Instant
  ) throws(Refusal) -> Claim {
    if let problem = Names.problem(with: request.name, of: "claim") { throw Refusal(.invalidArgument, problem) }
    guard let asked = request.specification else {
      throw Refusal(.invalidArgument, "claim '\(request.name)' has no specification")
    }
    if let problem = asked.problemOfLength { throw Refusal(.invalidArgument, problem) }
    let specification = asked.normalized
    if let existing = claims[request.name] { return try answer(existing, askedAgainWith: specification) }
    guard specification.group.isEmpty else { throw memberMadeAlone(request.name, of: specification.group) }
    var (state, best) = try newClaim(request.name, specification, uid: uid, at: now)
    _ = place(&state, in: best)
    put(&state)
    if state.phase == .pending { wait(state) }
    return state.claim
  }

  /// A claim that is yet to be placed, and where it would go.
  mutating func newClaim(
    _ name: String, _ specification: ClaimSpecification, uid: String, at now: Instant
  ) throws(Refusal) -> (ClaimState, Candidate?) {
    try validate(specification, of: name)
    keepSelectors(of: specification, for: name)
    let best = best(for: specification)
    // What it fits into now it fits into for good.
    if best == nil {
      do throws(Refusal) { try validateFitness(of: specification) } catch {
        dropSelectors(of: specification, for: name)
        throw error
      }
    }
    let expires = expiry(of: specification, from: now)
    let claim = Claim {
      $0.name = name
      $0.uid = uid
      $0.specification = specification
      $0.created = now.timestamp
      $0.expires = expires
      $0.status = ClaimStatus { $0.phase = .pending }
    }
    let state = ClaimState(claim: claim)
    reserveNames(of: state)
    noteClaim(of: state.specification, by: 1)
    return (state, best)
  }

  private func answer(
    _ existing: ClaimState, askedAgainWith specification: ClaimSpecification
  ) throws(Refusal) -> Claim {
    let name = existing.claim.name
    guard existing.phase != .releasing else {
      throw Refusal(.aborted, "claim '\(name)' is being released; ask again once it is gone")
    }
    guard existing.specification == specification else {
      throw Refusal(
        .alreadyExists, "claim '\(name)' exists with another specification; delete it or choose another name")
    }
    return existing.claim
  }

  /// - Parameter cause: why, if nobody asked for it.
  mutating func deleteClaim(_ request: DeleteClaimRequest, _ cause: PendingReason? = nil) throws(Refusal) -> Claim {
    guard let state = claims[request.name] else { throw unknownClaim(request.name) }
    guard state.phase != .releasing else { return state.claim }
    let mates = mates(of: state).filter { $0.phase != .releasing }
    guard mates.isEmpty || request.wholeGroup || request.cascade else { throw memberDeletedAlone(state, mates) }
    if !request.cascade {
      for name in [request.name] + mates.map(\.claim.name) { try checkNothingIsServed(from: name) }
    }
    // It is released before the others of its group, which find it so.
    let result = try deleteAlone(request, cause)
    for mate in mates where isStaying(mate.claim.name) {
      var request = request
      request.name = mate.claim.name
      _ = try deleteAlone(request, cause)
    }
    return result
  }

  /// What has gone with another one is not deleted again.
  private func isStaying(_ name: String) -> Bool { claims[name].map { $0.phase != .releasing } ?? false }

  private mutating func deleteAlone(_ request: DeleteClaimRequest, _ cause: PendingReason?) throws(Refusal) -> Claim {
    for other in claims(from: request.name) where isStaying(other.claim.name) {
      var request = request
      request.name = other.claim.name
      _ = try deleteClaim(request, cause)
    }
    guard var state = claims[request.name] else { throw unknownClaim(request.name) }
    if state.phase == .pending {
      stopWaiting(state)
      endNomination(of: &state)
    }
    state.withStatus {
      $0.phase = .releasing
      $0.pending = cause.map { [$0] } ?? []
      $0.error = nil
    }
    put(&state)
    settle(request.name)
    // A claim that held nothing is gone by now; it is answered as it was last.
    return claims[request.name]?.claim ?? changes.gone.last { $0.name == request.name } ?? state.claim
  }

  mutating func updateRates(_ request: UpdateClaimRatesRequest) throws(Refusal) -> Claim {
    guard var state = claims[request.name] else { throw unknownClaim(request.name) }
    guard state.phase != .releasing else {
      throw Refusal(.failedPrecondition, "claim '\(request.name)' is being released")
    }
    guard request.namesRates else {
      throw Refusal(.invalidArgument, "no rate is given for claim '\(request.name)'")
    }
    var specification = state.specification
    var attributes = specification.attributes ?? Attributes()
    attributes.setRates(request)
    specification.attributes = attributes
    let normalized = specification.normalized
    guard normalized != state.specification else { return state.claim }
    try validateRates(normalized, of: state)

    state.claim.specification = normalized
    if var assignment = state.assignment, state.phase != .reclaiming {
      var granted = assignment.attributes ?? Attributes()
      granted.setRates(request)
      assignment.attributes = granted.withoutEmptyParts
      state.withStatus { $0.assignment = assignment }
      state.controlling = withAttributes(assignment.attributes, state.controlling)
      state.consumer = withAttributes(assignment.attributes, state.consumer)
    }
    put(&state)
    if state.assignment == nil { place(request.name) }
    return claims[request.name]?.claim ?? state.claim
  }

  private mutating func withAttributes(_ attributes: Attributes?, _ entry: WantedFunction?) -> WantedFunction? {
    guard var entry else { return nil }
    entry.assignment?.attributes = attributes
    note(&entry)
    return entry
  }

  /// Stamps a changed entry with a new revision and has it saved and sent.
  mutating func note(_ entry: inout WantedFunction) { note(&entry, in: hosts[entry.host]?.bootOfSession) }

  /// - Parameter boot: that of the host, if it has a session.
  mutating func note(_ entry: inout WantedFunction, in boot: String?) {
    entry.revision = nextRevision()
    if !entry.released, let boot { entry.bootId = boot }
    entry.keepOthersOut = entry.released && hasToKeepOthersOut(entry)
    changes.noteEntry(entry)
  }

  /// The answer to whoever names a claim that there is not, with the names that may be meant.
  public func unknownClaim(_ name: String) -> Refusal {
    if let members = claimsOfGroup[name] {
      return Refusal(.notFound, "there is no claim '\(name)': that is a group, of \(Names.list(members))")
    }
    return Refusal(
      .notFound,
      "there is no claim '\(Names.shown(name))'"
        + Names.suggestion(for: name, among: Array(claims.keys), of: "claims"))
  }
}

extension ClaimSpecification {
  /// The same request in one spelling, so that asking again in another one is not another request: addresses in lower
  /// case, each path once, a rate of zero (no limit) left out, the host itself where no consumer is named, to keep the function
  /// where nothing is said of losing the coordinator.
  var normalized: ClaimSpecification {
    var result = self
    if let mac = attributes?.ethernet?.macAddress.flatMap(MACAddress.init) {
      result.attributes?.ethernet?.macAddress = mac.description
    }
    // What is said when nothing is said. The guarantee alone asks for nothing.
    if result.attributes?.ethernet?.vlanProtocol == .ieee8021q {
      result.attributes?.ethernet?.vlanProtocol = .unspecified
    }
    if result.attributes?.ethernet?.rateGuarantee == .required {
      result.attributes?.ethernet?.rateGuarantee = .unspecified
    }
    if result.attributes?.block?.rateGuarantee == .required { result.attributes?.block?.rateGuarantee = .unspecified }
    result.attributes = result.attributes?.withoutEmptyParts
    if result.consumer == nil {
      result.consumer = Self.hostItself
    } else if result.consumer?.kind == nil {
      result.consumer?.kind = .host(HostConsumer())
    }
    if let endNode = result.endNode, endNode == EndNodeSelector() { result.endNode = nil }
    if !selector.isEmpty { result.selector = Selector.normalized(selector, Vocabulary<EndNode>.endNodes) }
    result.normalizePaths()
    result.normalizeHosts()
    result.normalizeLocality()
    result.normalizePlacement()
    if result.lossPolicy == .unspecified { result.lossPolicy = .keep }
    if result.tenant == Tenant.defaultName { result.tenant = "" }
    if result.preemption == .lowerPriority { result.preemption = .unspecified }
    return result
  }

  /// Most claims share it.
  private static let hostItself = Consumer { $0.kind = .host(HostConsumer()) }
  private static let everyPath: [Path] = [.direct, .directSoftware, .fabric, .mediated]

  /// The paths that may be used, the preferred one first.
  var paths: [Path] { allowedPaths.isEmpty ? Self.everyPath : allowedPaths }
}

extension Attributes {
  /// Takes the rates that a request names; zero removes a limit.
  mutating func setRates(_ request: UpdateClaimRatesRequest) {
    var ethernet = self.ethernet ?? EthernetAttributes()
    if let rate = request.maxTransmitBitsPerSecond { ethernet.maxTransmitBitsPerSecond = rate }
    if let rate = request.maxReceiveBitsPerSecond { ethernet.maxReceiveBitsPerSecond = rate }
    if request.namesRatesOfNetworks { self.ethernet = ethernet }
    var block = self.block ?? BlockAttributes()
    if let rate = request.maxReadOperationsPerSecond { block.maxReadOperationsPerSecond = rate }
    if let rate = request.maxWriteOperationsPerSecond { block.maxWriteOperationsPerSecond = rate }
    if let rate = request.maxReadBytesPerSecond { block.maxReadBytesPerSecond = rate }
    if let rate = request.maxWriteBytesPerSecond { block.maxWriteBytesPerSecond = rate }
    if let factor = request.burstFactor { block.burstFactor = factor }
    if let seconds = request.burstSeconds { block.burstSeconds = seconds }
    // Bursts go with the last limit, and how long they last with them.
    block.removeWhatSaysNothing()
    if request.burstFactor == nil, block.maxima.isEmpty { block.burstFactor = nil }
    if request.burstSeconds == nil, block.burstFactor == nil { block.burstSeconds = nil }
    if request.namesRatesOfDisks { self.block = block }
  }

  /// Rates of zero say "no limit", which is what a rate that is not set says; nil if nothing is left.
  var withoutEmptyParts: Attributes? {
    var result = self
    if result.ethernet?.maxTransmitBitsPerSecond == 0 { result.ethernet?.maxTransmitBitsPerSecond = nil }
    if result.ethernet?.maxReceiveBitsPerSecond == 0 { result.ethernet?.maxReceiveBitsPerSecond = nil }
    if result.ethernet?.minTransmitBitsPerSecond == 0 { result.ethernet?.minTransmitBitsPerSecond = nil }
    if result.ethernet == EthernetAttributes() { result.ethernet = nil }
    result.block?.removeWhatSaysNothing()
    if result.block == BlockAttributes() { result.block = nil }
    return result == Attributes() ? nil : result
  }

  /// The field paths of the settings that are set, as `Capabilities.attributes` spells them.
  var fieldPaths: [String] {
    ((ethernet?.settings ?? []) + (block?.settings ?? [])).filter(\.isSet).map(\.path)
  }

  static let macAddress = "ethernet.mac_address"
  static let mtu = "ethernet.mtu"
  static let sizeBytes = "block.size_bytes"
}

extension EthernetAttributes {
  fileprivate var settings: [(isSet: Bool, path: String)] {
    [
      (macAddress != nil, Attributes.macAddress),
      (mtu != nil, Attributes.mtu),
      (maxTransmitBitsPerSecond != nil, "ethernet.max_transmit_bits_per_second"),
      (maxReceiveBitsPerSecond != nil, "ethernet.max_receive_bits_per_second"),
      (vlan != nil, "ethernet.vlan"),
      (vlanPriority != nil, "ethernet.vlan_priority"),
      (vlanProtocol != .unspecified, "ethernet.vlan_protocol"),
      (minTransmitBitsPerSecond != nil, "ethernet.min_transmit_bits_per_second"),
      (spoofCheck != nil, "ethernet.spoof_check"),
      (trust != nil, "ethernet.trust"),
      (linkState != .unspecified, "ethernet.link_state"),
      (rssQuery != nil, "ethernet.rss_query"),
      (queues != nil, "ethernet.queues"),
    ]
  }
}
