import Messages

/// Functions that hosts have and no claim stands behind: of a store that was restored, or made by hand. They are
/// counted and shown, and touched only when an operator says so.
extension Arbiter {
  // MARK: Keeping

  mutating func noteOrphan(_ status: FunctionStatus, on host: String) {
    // A fencer has no function of its own.
    guard let id = status.function?.id, !id.isEmpty, status.role != .fencer else { return }
    switch status.phase {
    case .created, .inUse, .scrubbing: keepOrphan(status, id, on: host)
    // Its host cannot look at it now: it stays what it was, and what nobody has heard of is there until it can.
    case .unspecified where status.error != nil:
      let isSpent = status.error?.highestToken != nil
      let isKnown = hosts[host]?.orphans[status.recordName] != nil || abandoned[status.recordName] != nil
      if !isSpent, !isKnown { keepOrphan(status, id, on: host) }
    case .absent, .unspecified, .unrecognized:
      dropOrphan(status.recordName, on: host)
    }
  }

  private mutating func keepOrphan(_ status: FunctionStatus, _ id: String, on host: String) {
    setOrphan(status, status.recordName, on: host)
    // A consumer's part takes nothing of the end node.
    guard status.role != .consumer, let node = status.function?.endNode else { return }
    // What was taken from the host and cleaned is others' already, also while the host has yet to learn of it.
    guard abandoned[status.recordName]?.fenced != true else { return }
    endNodes.takeShare(id, status.share(of: host), of: node)
    noteUse(of: node)
  }

  mutating func dropOrphan(_ recordName: String, on host: String) {
    guard let status = setOrphan(nil, recordName, on: host) else { return }
    guard status.role != .consumer, let id = status.function?.id, let node = status.function?.endNode else { return }
    // A claim whose server's side is proven gone waits for its consumer's alone, which takes nothing.
    let isHeld = claimOfFunction[id].flatMap { claims[$0] }?.controlling != nil
    guard !isHeld, abandoned[recordName] == nil, !isTakenByOrphan(id) else { return }
    endNodes.freeShare(id, of: node)
    noteIfUnused(node)
    changes.openings.endNodes.insert(node)
  }

  /// Answers what it was before.
  @discardableResult
  private mutating func setOrphan(_ status: FunctionStatus?, _ recordName: String, on host: String) -> FunctionStatus? {
    guard hosts[host] != nil else { return nil }
    let former = hosts[host]?.orphans[recordName]
    hosts[host]?.orphans[recordName] = status
    if let former { orphanIndex.add(-1, former, on: host) }
    if let status { orphanIndex.add(1, status, on: host) }
    return former
  }

  /// Whether a host has what takes a function's place on its end node. What was cut off and cleaned takes nothing.
  func isTakenByOrphan(_ function: String) -> Bool {
    parts(of: function).contains { $0.status.role != .consumer && abandoned[$0.status.recordName]?.fenced != true }
  }

  // MARK: Listing

  /// By function, then by host.
  public var listedOrphans: [Orphan] {
    var listed: [Orphan] = []
    for host in hosts.names {
      var statuses = hosts[host]?.orphans ?? [:]
      let releasing = (hosts[host]?.abandoned ?? []).compactMap { abandoned[$0] }
      for entry in releasing where statuses[entry.recordName] == nil {
        statuses[entry.recordName] = FunctionStatus(unseen: entry)
      }
      let releasingNames = Set(releasing.map(\.recordName))
      for (name, status) in statuses.sorted(by: { $0.key < $1.key }) {
        var orphan = Orphan()
        orphan.host = host
        orphan.status = status
        orphan.releasing = releasingNames.contains(name)
        listed.append(orphan)
      }
    }
    let place = { (orphan: Orphan) in
      (orphan.status?.function?.id ?? "", orphan.host, orphan.status?.recordName ?? "")
    }
    return listed.sorted { place($0) < place($1) }
  }

  /// What all hosts have of an orphan, in order.
  private func parts(of function: String) -> [(host: String, status: FunctionStatus)] {
    orphanIndex.hosts(with: function).flatMap { host in orphans(of: function, on: host).map { (host, $0) } }
  }

  func orphans(of function: String, on host: String) -> [FunctionStatus] {
    let known = hosts[host]?.orphans.values.filter { $0.function?.id == function } ?? []
    return known.sorted { $0.recordName < $1.recordName }
  }

  private func unknownOrphan(_ function: String, on host: String = "") -> Refusal {
    if let claim = claimOfFunction[function] {
      return Refusal(.failedPrecondition, "function \(function) is no orphan: claim '\(claim)' holds it")
    }
    let known = orphanIndex.hosts.flatMap { hosts[$0]?.orphans.values.compactMap { $0.function?.id } ?? [] }
    let place = host.isEmpty ? "" : " on host '\(Names.shown(host))'"
    return Refusal(
      .notFound,
      "there is no orphan '\(Names.shown(function))'\(place)"
        + Names.suggestion(for: function, among: Array(Set(known)), of: "orphans"))
  }

  // MARK: Purging

  mutating func purgeOrphan(_ request: PurgeOrphanRequest) throws(Refusal) -> [Orphan] {
    let chosen = parts(of: request.function).filter { request.host.isEmpty || $0.host == request.host }
    let isReleasing = listedOrphans.contains {
      $0.releasing && $0.status?.function?.id == request.function && (request.host.isEmpty || $0.host == request.host)
    }
    // Of a function that a claim holds, what is left of it elsewhere under other tokens may be torn down.
    guard !chosen.isEmpty || (isReleasing && claimOfFunction[request.function] == nil) else {
      throw unknownOrphan(request.function, on: request.host)
    }
    guard Set(chosen.map(\.status.recordName)).count == chosen.count else {
      throw Refusal(
        .failedPrecondition,
        "\(Names.list(chosen.map(\.host))) have \(request.function) in the same role; name the host, and purge one "
          + "after the other")
    }
    try checkNoRival(of: chosen)
    var entries: [WantedFunction] = []
    let newest = newestToken(of: request.function)
    for part in chosen {
      var entry = try release(of: part.status, on: part.host)
      // What another root served since, it has cut off here.
      if let newest, part.status.token < newest { entry.fenced = true }
      if abandoned[entry.recordName] == nil { entries.append(entry) }
    }
    // What the device has cut off, and a claim has elsewhere, is nothing that anything could be served from.
    let isHeld = claimOfFunction[request.function] != nil
    let areRemnants = isHeld && entries.allSatisfy { $0.fenced && $0.role != .consumer }
    if !areRemnants { try checkNoParts(of: request.function) }
    for var entry in entries {
      note(&entry)
      keepAbandoned(entry)
      if entry.fenced, let assignment = entry.assignment, claimOfFunction[assignment.function] == nil,
        abandonedWithShare[assignment.function] == nil
      {
        freeShare(of: assignment)
      }
    }
    return listedOrphans.filter {
      $0.status?.function?.id == request.function && (request.host.isEmpty || $0.host == request.host)
    }
  }

  /// One record stands for one token, whoever has it.
  private func checkNoRival(of parts: [(host: String, status: FunctionStatus)]) throws(Refusal) {
    for (host, status) in parts {
      let function = status.function?.id ?? ""
      guard let name = claimOfFunction[function], let state = claims[name],
        let rival = [state.controlling, state.consumer].first(where: { $0?.recordName == status.recordName }) ?? nil
      else { continue }
      throw Refusal(
        .failedPrecondition,
        "\(rival.host) has \(function) for claim '\(name)', of another history, and \(host) has it under the same token: purge it once "
          + "the claim has let go: iov claim delete \(name)")
    }
  }

  /// Of the roots that had a function one after the other, the token of the last one that nobody has cleaned up after.
  private func newestToken(of function: String) -> UInt64? {
    let known = parts(of: function).filter { $0.status.role != .consumer }.map(\.status.token)
    let released = abandoned.values.filter { $0.functionID == function && $0.role != .consumer }
    return (known + released.map { $0.assignment?.token?.value ?? 0 }).max()
  }

  /// Nothing that nobody knows goes with what it is a part of.
  private func checkNoParts(of function: String) throws(Refusal) {
    let parts = partsOfOrphan(function)
    guard let part = parts.first else { return }
    throw Refusal(
      .failedPrecondition,
      "\(Names.list(parts)) are parts of \(function): let go of them first, of claims with iov claim delete, of orphans with iov "
        + "orphan purge \(part)")
  }

  /// What has the host tear its orphan down, from what it says of it.
  private func release(of status: FunctionStatus, on host: String) throws(Refusal) -> WantedFunction {
    let function = status.function ?? VirtualFunction()
    var assignment = status.assignment ?? Assignment()
    assignment.function = function.id
    assignment.endNode = assignment.endNode.isEmpty ? function.endNode : assignment.endNode
    assignment.deviceClass = assignment.deviceClass.isEmpty ? function.deviceClass : assignment.deviceClass
    assignment.claimUid = assignment.claimUid.isEmpty ? function.claimUid : assignment.claimUid
    assignment.token = function.token ?? assignment.token
    guard (assignment.token?.value ?? 0) > 0 else {
      throw Refusal(
        .failedPrecondition, "\(host) does not say under which token it has \(function.id), so none can be spent")
    }
    if status.role == .server { assignment.controllingHost = host } else { assignment.host = host }
    var entry = WantedFunction()
    entry.assignment = assignment
    entry.role = status.role == .unspecified ? .direct : status.role
    entry.released = true
    entry.abandoned = true
    entry.fenced = isGivenToOthers(assignment, function) || isOfNothing(assignment)
    return entry
  }

  /// Of a device that several hosts see, the place of an orphan may have been given to somebody else by the host that controls
  /// it now, before this one said what it had. Then the device has cut this host off, and nothing there is its to clean.
  private func isGivenToOthers(_ assignment: Assignment, _ function: VirtualFunction) -> Bool {
    guard let node = endNodes[assignment.endNode], node.isMultiRoot else { return false }
    guard claimOfFunction[assignment.function] == nil else { return true }
    guard let place = assignment.extent ?? function.extent else { return false }
    return node.shares.contains { other, share in
      other != assignment.function && claimOfFunction[other] != nil && share.extent?.overlaps(place) ?? true
    }
  }

  // MARK: Adopting

  mutating func adoptOrphan(_ request: AdoptOrphanRequest, at now: Instant) throws(Refusal) -> Claim {
    let parts = parts(of: request.function)
    guard !parts.isEmpty else { throw unknownOrphan(request.function) }
    let assignment = try agreedAssignment(of: request.function, parts)
    let name = request.claim.isEmpty ? assignment.claim : request.claim
    let specification = specification(of: assignment)
    try checkAdoption(of: assignment, as: name, specification)
    if let drop = obstacle(ofQuotaOf: specification) { throw Refusal(.failedPrecondition, drop.message) }

    var claim = Claim()
    claim.name = name
    claim.uid = assignment.claimUid
    claim.specification = specification
    claim.created = now.timestamp
    var state = ClaimState(claim: claim)
    state.withStatus {
      $0.phase = .preparing
      $0.assignment = assignment
    }
    reserveNames(of: state)
    noteClaim(of: state.specification, by: 1)
    reserve(assignment, for: state)
    takeShare(of: assignment)
    let connection = parts.map(\.status).filter { $0.role == .consumer }.max { $0.token < $1.token }
    for part in parts where part.status.role != .consumer || part.status == connection {
      adopt(part.status, of: assignment, on: part.host, by: &state)
    }
    put(&state)
    // One that waits may have it let go.
    changes.openings.isOtherwise = true
    // Where it was connected again under another token, what is left of the former connection goes.
    for part in parts where part.status.role == .consumer { _ = giveUpFormer(part.status, on: part.host) }
    settle(claims(besideAdopted: assignment.function, on: assignment.endNode).union([name]))
    return claims[name]?.claim ?? state.claim
  }

  mutating func adopt(
    _ status: FunctionStatus, of assignment: Assignment, on host: String, by state: inout ClaimState
  ) {
    var entry = WantedFunction()
    entry.assignment = status.role == .consumer ? status.assignment : assignment
    entry.role = status.role
    note(&entry)
    if status.role == .consumer {
      state.consumer = entry
    } else {
      state.controlling = entry
      noteGranted(assignment, to: state, because: "\(host) had it, and the store did not know of that")
    }
    setOrphan(nil, status.recordName, on: host)
    hosts[host]?.claims.insert(state.claim.name)
    hosts[host]?.reports[entry.recordName] = status
  }

  /// The assignment that all parts were made with. A consumer's part that is not there is set up again.
  private func agreedAssignment(
    of function: String, _ parts: [(host: String, status: FunctionStatus)]
  ) throws(Refusal) -> Assignment {
    // Also a part whose host is away and has not said yet that it has it.
    for entry in abandoned.values.filter({ $0.functionID == function }).sorted(by: { $0.recordName < $1.recordName }) {
      throw Refusal(.failedPrecondition, "\(entry.host) has been told to tear \(function) down")
    }
    for part in parts where part.status.assignment == nil {
      throw Refusal(
        .failedPrecondition,
        "\(part.host) does not remember what \(function) was set up for; it can only be purged: "
          + "iov orphan purge \(function)"
      )
    }
    let controlling = parts.filter { $0.status.role != .consumer }
    for part in controlling where part.status.isSpent {
      throw Refusal(
        .failedPrecondition,
        "\(part.host) was told to let go of \(function), and will not give it to anybody under token \(part.status.token) again; it "
          + "can only be purged: iov orphan purge \(function)")
    }
    guard controlling.count == 1, let owner = controlling.first, var assignment = owner.status.assignment else {
      let server = parts.first?.status.assignment?.controllingHost ?? ""
      throw Refusal(
        .failedPrecondition,
        controlling.isEmpty
          ? "only the consumer's side of \(function) is there; \(server), which has to serve it, does not report it"
          : "\(Names.list(controlling.map(\.host))) say that each of them has \(function)")
    }
    let expected = assignment.path == .mediated ? (Role.server, assignment.controllingHost) : (.direct, assignment.host)
    guard assignment.function == function, (owner.status.role, owner.host) == expected,
      assignment.token == owner.status.function?.token, (assignment.token?.value ?? 0) > 0
    else {
      throw Refusal(.failedPrecondition, "what \(owner.host) remembers of \(function) is of another function")
    }
    for part in parts where part.status.role == .consumer {
      guard part.status.assignment?.claimUid == assignment.claimUid, part.host == assignment.host else {
        throw Refusal(.failedPrecondition, "\(part.host) and \(owner.host) have \(function) for different claims")
      }
    }
    assignment.arrival = nil
    return assignment
  }

  /// The request that an assignment fulfils, without what was granted by default: so whoever asks for it again as
  /// before asks for the same claim.
  private func specification(of assignment: Assignment) -> ClaimSpecification {
    var attributes = assignment.attributes
    if assignment.macAddress == MACAddress(derivedFrom: assignment.claimUid) { attributes?.ethernet?.macAddress = nil }
    if let node = endNodes[assignment.endNode], let host = hosts[assignment.host],
      let route = try? route(by: assignment.path, from: node, to: host),
      attributes?.ethernet?.mtu == route.mtuLimit?.bytes
    {
      attributes?.ethernet?.mtu = nil
    }
    var specification = ClaimSpecification()
    specification.deviceClass = assignment.deviceClass
    specification.host = assignment.host
    specification.consumer = assignment.consumer
    specification.attributes = attributes
    specification.lossPolicy = assignment.lossPolicy
    specification.source = source(of: assignment)?.claim.name ?? ""
    return specification.normalized
  }

  private func checkAdoption(
    of assignment: Assignment, as name: String, _ specification: ClaimSpecification
  ) throws(Refusal) {
    if let problem = Names.problem(with: name, of: "claim") { throw Refusal(.invalidArgument, problem) }
    guard claims[name] == nil else {
      throw Refusal(.alreadyExists, "claim '\(name)' exists; adopt \(assignment.function) under another name")
    }
    // Histories that did not know of each other may have given one function to two claims.
    if let holder = claimOfFunction[assignment.function] {
      throw Refusal(
        .failedPrecondition,
        "claim '\(holder)' holds \(assignment.function) by another history; it can only be purged: iov orphan purge "
          + assignment.function)
    }
    guard !assignment.claimUid.isEmpty, !claims.values.contains(where: { $0.claim.uid == assignment.claimUid }) else {
      throw Refusal(
        .failedPrecondition, "\(assignment.function) was set up for a claim that exists and holds another function")
    }
    if !assignment.source.isEmpty, source(of: assignment).map({ $0.phase == .releasing }) ?? true {
      throw Refusal(
        .failedPrecondition,
        "\(assignment.function) is a part of \(assignment.endNode), which no claim holds that stays: adopt that first: iov "
          + "orphan adopt \(assignment.endNode)")
    }
    guard let node = endNodes[assignment.endNode],
      node.controllingHost == assignment.controllingHost
        || (assignment.path == .direct && node.isMultiRoot && node.record.isRoot(assignment.controllingHost))
    else {
      throw Refusal(
        .failedPrecondition,
        "\(assignment.controllingHost) does not control the end node \(assignment.endNode) of \(assignment.function)")
    }
    guard hosts[assignment.host] != nil else {
      throw Refusal(
        .failedPrecondition, "host '\(assignment.host)', which is to use \(assignment.function), is not known")
    }
    if let other = assignment.macAddress.flatMap({ claimOfMAC[$0] }) {
      throw Refusal(.failedPrecondition, "the MAC address of \(assignment.function) is in use by claim '\(other)'")
    }
    if let vni = assignment.mediation?.vni, let other = claimOfVNI[vni] {
      throw Refusal(.failedPrecondition, "the VNI \(vni) of \(assignment.function) is in use by claim '\(other)'")
    }
    if let key = specification.interfaceKey, let other = claimOfInterface[key] {
      throw Refusal(.failedPrecondition, "the interface '\(key.name)' on \(key.host) is in use by claim '\(other)'")
    }
  }
}

extension FunctionStatus {
  package var recordName: String { WantedFunction.recordName(role, function?.id ?? "", function?.token) }
  fileprivate var token: UInt64 { function?.token?.value ?? 0 }
  /// Whether its host has been told to let go of it, and has something of it still.
  var isSpent: Bool { (error?.highestToken?.value).map { $0 >= token } ?? false }

  /// What an orphan of a host takes of its end node, as far as anybody remembers.
  fileprivate func share(of host: String) -> Share {
    let share = assignment?.share ?? Share(path: .unspecified, host: "", Share.Part())
    let remembered = Share.Part(sizeBytes: function?.enforced?.block?.sizeBytes ?? 0, extent: function?.extent)
    return share.completed(by: Share(path: share.path, host: role == .direct ? host : "", remembered))
  }

  /// Of an abandoned entry whose host has not reported since.
  fileprivate init(unseen entry: WantedFunction) {
    var function = VirtualFunction()
    function.id = entry.functionID
    function.endNode = entry.assignment?.endNode ?? ""
    function.deviceClass = entry.assignment?.deviceClass ?? ""
    function.token = entry.assignment?.token
    function.claimUid = entry.assignment?.claimUid ?? ""
    self.init()
    self.function = function
    role = entry.role
    assignment = entry.assignment
  }
}
