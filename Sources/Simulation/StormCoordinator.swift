import Arbitration
import Messages

/// The shell round the arbiter, and its store.
extension Storm {
  private static let clusterID = "5f0c0e0a-0000-4000-8000-000000000001"

  static func arbiter(records: [Record], _ flaw: Flaw?, isMaintained: Bool) throws(Refusal) -> Arbiter {
    var settings = flaw?.settings ?? ArbiterSettings(automaticFenceHosts: ["d"])
    settings.flapLimit = isMaintained ? 3 : 1 << 20
    settings.flapWindowMilliseconds = 60_000
    settings.holdMilliseconds = 4000
    settings.longestHoldMilliseconds = 16_000
    settings.turnMilliseconds = groupTurn
    if flaw != .upgradesTooSoon { settings.upgradeIntervalMilliseconds = upgradeInterval }
    return try Arbiter(clusterID: clusterID, version: "test", records: records, settings: settings)
  }

  mutating func restore(_ copy: StoreCopy) {
    coverage.note(.olderCopyRestored)
    hasForgotten = true
    // Where tokens may be forgotten the next ones are drawn above the time of day, which must not be behind what it was when those
    // were drawn.
    wallOffset = furthestWallOffset
    restart(from: copy)
  }

  /// What waits for the disk is lost with the process, and nobody has heard of it.
  mutating func restart(from copy: StoreCopy) {
    // What was said of a drain may be lost with them.
    if !commits.isEmpty || copy.store != store { deadlines = earliestDeadlines(of: copy.store) }
    if !commits.isEmpty { coverage.note(.commitsLost) }
    (commits, requests, plans) = ([], [:], [:])
    for name in Self.hostNames { hosts[name]?.loseConnection() }
    (stragglers, repeated, formerHellos, late) = ([], [], [], [])
    // A coordinator that begins in the second in which another one began may draw its tokens again.
    now += 1000
    (store, audit, hasAuditChanged) = (copy.store, copy.audit, true)
    noteForgotten()
    acknowledged = copy.acknowledged
    haveClaimsChanged = true
    unheardRoots = Set(hosts.values.filter { $0.endNodes.contains { $0.id == sharedID } }.map(\.name))
    do {
      arbiter = try Self.arbiter(
        records: store.keys.sorted().compactMap { store[$0] }, flaw, isMaintained: isMaintained)
      perform(arbiter.begin())
    } catch {
      require(false, "the store cannot be restored: \(error.message)")
    }
  }

  /// What the store does not know of, or knows as another claim's, or as that of a run that is over. Also what a host was told of and
  /// has yet to make: it goes on by itself.
  private mutating func noteForgotten() {
    for host in hosts.values {
      let made = host.functions.map { (key: $0.key, assignment: $0.value.assignment) }
      let told = host.wanted.compactMap { key, entry in entry.assignment.map { (key: key, assignment: $0) } }
      for (key, assignment) in made + told
      where isUnknown(inStore: host) || claimUID(inRecord: key) != assignment.claimUid {
        forgotten.insert(assignment.function)
      }
    }
  }

  /// Whether the store knows of another run of it: that is over, or an operator may say so yet.
  private func isUnknown(inStore host: StormHost) -> Bool {
    guard case .host(let known)? = store[RecordKey(.host, host.name)] else { return false }
    return known.death.map { $0.bootId != host.bootID } ?? (hasForgotten && known.bootId != host.bootID)
  }

  private func claimUID(inRecord name: String) -> String? {
    guard case .wantedFunction(let entry)? = store[RecordKey(.wantedFunction, name)] else { return nil }
    return entry.assignment?.claimUid
  }

  mutating func send(_ event: Event) {
    now += 1
    let given = unheardRoots.isEmpty ? [] : givenOfSharedDevice
    noteHeard(event)
    let held = isContended || (isMaintained && event.mayEvict) ? heldFunctions : [:]
    let contenders = isContended ? contenders : Contenders()
    coverage.note(event)
    let instant = instant
    let speaker = event.session.flatMap { arbiter.hostOfSession[$0] }
    let decided = arbiter.handle(flaw?.heard(event) ?? event, at: instant)
    let effects = flaw?.said(decided) ?? decided
    noteTold(by: effects)
    // Before what comes of it, which may be events of their own.
    if isContended { checkContention(since: contenders, event) }
    if flaw == .storesLate { performFirst(effects) } else { carryOut(effects, of: event) }
    for event in flaw?.presumed(after: event, of: speaker, effects, by: Array(hosts.values)) ?? [] { send(event) }
    noteEvicted(since: held)
    checkNothingIsGivenUnheard(given, event)
  }

  private mutating func noteTold(by effects: [Effect]) {
    for effect in effects {
      if case .claimChanged(let claim) = effect { checkUpgrade(of: claim) }
    }
    let told = effects.compactMap(\.claim)
    // The one whose time is over need not be the first of its group to be told of.
    for claim in told where isOver(claim) && isEnding(claim) { noteEndedGroup(of: claim) }
    for claim in told { noteEnded(claim) }
  }

  private mutating func carryOut(_ effects: [Effect], of event: Event) {
    guard isDiskSlow || !commits.isEmpty else { return perform(effects) }
    // A heartbeat that decides nothing waits for no disk.
    if case .heartbeatReceived = event, !effects.contains(where: \.isDurable) { return perform(effects) }
    coverage.note(.slowDisk)
    commits.append(effects)
  }

  private mutating func performFirst(_ effects: [Effect]) {
    perform(late + effects.filter { !$0.isDurable })
    late = effects.filter(\.isDurable)
  }

  mutating func commitOne() {
    if !commits.isEmpty { perform(commits.removeFirst()) }
  }

  mutating func commitAll() {
    while !commits.isEmpty { commitOne() }
  }

  mutating func perform(_ effects: [Effect]) {
    recorder?.combine(effects)
    var fences: [(String, String)] = []
    for effect in effects {
      coverage.note(effect)
      switch effect {
      case .save(let record): save(record)
      case .remove(let key):
        store[key] = nil
        if key.kind == .claim { haveClaimsChanged = true }
      case .audit(let holding): note(holding)
      case .send(let session, let message):
        guard let host = host(in: session) else { continue }
        hosts[host]?.toHost.append(message)
      case .endSession(let session, _):
        guard let host = host(in: session) else { continue }
        hosts[host]?.loseConnection()
      case .answer(let call, let answer): take(answer, to: call)
      case .refuse(let call, let refusal):
        requests[call] = nil
        noteRefused(call, refusal)
      case .claimChanged, .claimGone: continue
      case .fenceHost(let host, let bootID): fences.append((host, bootID))
      }
    }
    for (host, bootID) in fences { fence(host, bootID) }
  }

  /// In 2027.
  var instant: Instant {
    Instant(monotonicMilliseconds: now, wallMilliseconds: 1_800_000_000_000 + Int64(now) + wallOffset)
  }

  /// Claims end by themselves when their time is over, and not before. The disk may have yet to take that, and even that they were made.
  private mutating func noteEnded(_ claim: Claim) {
    guard isOver(claim) || endedGroups.contains(claim.specification?.group ?? ""), isEnding(claim) else { return }
    ended.insert(claim.uid)
    noteEndedGroup(of: claim)
    if acknowledged[claim.name] == claim.uid { acknowledged[claim.name] = nil }
  }

  private mutating func noteEndedGroup(of claim: Claim) {
    if let group = claim.specification?.group, !group.isEmpty { endedGroups.insert(group) }
  }

  private func isOver(_ claim: Claim) -> Bool {
    claim.expires.map { arbiter.countedTime(at: instant).wallMilliseconds >= $0.seconds * 1000 } ?? false
  }

  private func isEnding(_ claim: Claim) -> Bool {
    guard let present = arbiter.claim(named: claim.name), present.uid == claim.uid else { return true }
    return present.status?.phase == .releasing
  }

  private mutating func save(_ record: Record) {
    if isMaintained { checkMaintenance(record) }
    store[record.key] = record
    guard case .claim(let claim) = record else { return }
    haveClaimsChanged = true
    if claim.status?.phase == .ready, let function = claim.status?.assignment?.function { readyOnce.insert(function) }
  }

  private func host(in session: SessionID) -> String? { Self.hostNames.first { hosts[$0]?.session == session } }

  private mutating func fence(_ host: String, _ bootID: String) {
    // The switch cuts the power of whatever runs there now, and then it is known that the run named is over.
    guard roll(0..<2) == 0 else {
      coverage.note(.fenceFailed)
      return send(.fenceFailed(host: host, bootID: bootID, message: "the power switch does not answer"))
    }
    crash(host)
    let request = ConfirmHostDeadRequest {
      $0.host = host
      $0.bootId = bootID
    }
    send(.hostConfirmedDead(nil, request, reason: "fenced"))
  }
}

extension Effect {
  /// Whom watchers are told of.
  fileprivate var claim: Claim? {
    switch self {
    case .claimChanged(let claim), .claimGone(let claim): claim
    default: nil
    }
  }
}
