import Messages

extension Arbiter {
  mutating func connect(_ session: SessionID, _ hello: AgentHello, at now: Instant) {
    let said = hello.host ?? Host()
    guard isIdentified(session, hello) else { return }
    let known = hosts[said.name]
    // Under our own epoch an agent can only have obeyed us, or a coordinator whose store ours is an older copy of.
    let isOurs = known?.hasObeyedThisRun ?? false
    if hello.highestEpoch > cluster.epoch || (hello.highestEpoch == cluster.epoch && !isOurs) {
      raiseEpoch(above: hello.highestEpoch)
    }
    welcome(session)
    if let known, known.record.bootId != said.bootId {
      greeted[session] = hello
      greetedOfHost[said.name, default: []].insert(session)
    } else {
      admit(session, hello, at: now)
    }
  }

  /// That a host's former run is over frees what it had, and runs have no order that could be read off them: the hello may be of
  /// the earlier one and have come late. Who answers the welcome runs now, and after everything else that was heard before.
  mutating func admitAnswering(_ event: Event, at now: Instant) {
    let session: SessionID
    switch event {
    case .heartbeatReceived(let answering, _), .inventoryReported(let answering, _),
      .functionsReported(let answering, _):
      session = answering
    default: return
    }
    guard let hello = removeGreeted(session), isIdentified(session, hello) else { return }
    admit(session, hello, at: now)
  }

  private mutating func removeGreeted(_ session: SessionID) -> AgentHello? {
    guard let hello = greeted.removeValue(forKey: session) else { return nil }
    let host = hello.host?.name ?? ""
    greetedOfHost[host]?.remove(session)
    if greetedOfHost[host]?.isEmpty ?? false { greetedOfHost[host] = nil }
    return hello
  }

  /// Ends the session of one that is not who it says.
  private mutating func isIdentified(_ session: SessionID, _ hello: AgentHello) -> Bool {
    do throws(Refusal) {
      try checkIdentity(of: hello.host ?? Host(), hello)
      return true
    } catch {
      changes.messages.append(.endSession(session, error))
      return false
    }
  }

  private mutating func admit(_ session: SessionID, _ hello: AgentHello, at now: Instant) {
    let said = hello.host ?? Host()
    let known = hosts[said.name]
    if !(known?.hasObeyedThisRun ?? false) { distrustRuns(before: said.bootId, on: said.name) }
    endGreeted(of: said.name, Refusal(.aborted, "host '\(said.name)' has begun another session"))
    if let former = known?.session, former != session {
      hostOfSession[former] = nil
      changes.messages.append(
        .endSession(former, Refusal(.aborted, "host '\(said.name)' has begun another session")))
    }
    var state = known ?? HostState(record: Host())
    let before = known?.durable
    if state.record.bootId != said.bootId {
      // What was observed before the host restarted says nothing of what is there now.
      state.reports = [:]
      state.hasReportedFunctions = false
      state.fencing = Fencing()
    }
    state.take(said)
    state.session = session
    state.hasObeyedThisRun = true
    state.hasReportedInventory = false
    state.listedEndNodes = []
    state.hasReportedFunctionsInSession = false
    _ = state.renewLease(at: now, termMilliseconds: settings.leaseTermMilliseconds)
    hosts[said.name] = state
    hostOfSession[session] = said.name
    if state.durable != before { changes.save(RecordKey(.host, said.name)) }

    settle(state.claims)
    tellAll(session, of: said.name)
    changes.openings.isOtherwise = true
  }

  /// What they would answer now was asked before the host was heard as it is.
  mutating func endGreeted(of host: String, _ reason: Refusal) {
    for session in (greetedOfHost[host] ?? []).sorted(by: { $0.value < $1.value }) {
      _ = removeGreeted(session)
      changes.messages.append(.endSession(session, reason))
    }
  }

  private func checkIdentity(of host: Host, _ hello: AgentHello) throws(Refusal) {
    if let problem = Names.problem(with: host.name, of: "host") { throw Refusal(.invalidArgument, problem) }
    guard !host.instanceId.isEmpty else {
      throw Refusal(.invalidArgument, "host '\(host.name)' says no instance id")
    }
    guard hello.clusterId.isEmpty || hello.clusterId == cluster.id else {
      throw Refusal(
        .failedPrecondition,
        "host '\(host.name)' has joined cluster \(hello.clusterId); this is cluster \(cluster.id)")
    }
    guard let known = hosts[host.name]?.record, known.instanceId != host.instanceId else { return }
    throw Refusal(
      .failedPrecondition,
      "the name '\(host.name)' belongs to instance \(known.instanceId), and this agent is instance "
        + "\(host.instanceId): either another machine has that name, or this agent has lost its state directory")
  }

  private mutating func welcome(_ session: SessionID) {
    var welcome = Welcome()
    welcome.clusterId = cluster.id
    welcome.epoch = cluster.epoch
    welcome.leaseTermMilliseconds = settings.leaseTermMilliseconds
    welcome.heartbeatIntervalMilliseconds = settings.heartbeatIntervalMilliseconds
    changes.messages.append(.send(session, CoordinatorMessage { $0.kind = .welcome(welcome) }))
  }

  private mutating func tellAll(_ session: SessionID, of host: String) {
    tellRun(of: host)
    changes.messages.append(.send(session, wanted(entries(for: host), controls(for: host), complete: true)))
    changes.dropEntries(for: host)
  }

  /// Notes which run of the host is about to be told of its entries: only that one can hold what is not released.
  private mutating func tellRun(of host: String) {
    guard let boot = hosts[host]?.record.bootId else { return }
    for name in hosts[host]?.claims ?? NameSet() {
      guard var state = claims[name] else { continue }
      state.controlling = told(state.controlling, to: boot, on: host)
      state.consumer = told(state.consumer, to: boot, on: host)
      claims[name] = state
    }
  }

  private mutating func told(_ entry: WantedFunction?, to boot: String, on host: String) -> WantedFunction? {
    guard var entry, entry.host == host, !entry.released, entry.bootId != boot else { return entry }
    entry.bootId = boot
    changes.save(RecordKey(.wantedFunction, entry.recordName))
    return entry
  }

  /// All that concerns a host.
  func entries(for host: String) -> [WantedFunction] {
    let held = (hosts[host]?.claims ?? NameSet()).compactMap { claims[$0] }
      .flatMap { [$0.controlling, $0.consumer].compactMap { $0 } }
      .filter { $0.host == host }
    return held + (hosts[host]?.abandoned ?? []).compactMap { abandoned[$0] }
      + (hosts[host]?.fencings ?? []).compactMap { fencers[$0] }
  }

  mutating func disconnect(_ session: SessionID) {
    _ = removeGreeted(session)
    // A session that another one has replaced ends later than it was replaced; the host is connected all the same.
    guard let name = hostOfSession.removeValue(forKey: session), var state = hosts[name] else { return }
    state.session = nil
    state.record.state = .disconnected
    state.record.lease = nil
    hosts[name] = state
    settle(state.claims)
    settleSources(on: name)
    changes.openings.isOtherwise = true
  }

  mutating func renewLease(_ session: SessionID, _ heartbeat: Heartbeat, at now: Instant) {
    guard let name = hostOfSession[session], var state = hosts[name] else { return }
    let wasConnected = state.isConnected
    let isOlderMinute = state.renewLease(at: now, termMilliseconds: settings.leaseTermMilliseconds)
    let watchdog = heartbeat.watchdogMilliseconds
    if isOlderMinute || state.record.watchdogMilliseconds != watchdog { changes.save(RecordKey(.host, name)) }
    state.record.watchdogMilliseconds = watchdog
    hosts[name] = state
    var acknowledgement = HeartbeatAcknowledgement()
    acknowledgement.sequence = heartbeat.sequence
    acknowledgement.epoch = cluster.epoch
    changes.messages.append(.send(session, CoordinatorMessage { $0.kind = .heartbeat(acknowledgement) }))
    if !wasConnected {
      noteHeard(name)
      settle(state.claims)
      changes.openings.hosts.insert(name)
    }
  }

  /// An expired lease says that a host is not heard of, and no more: what it holds, it keeps.
  mutating func expireLeases(at now: Instant) {
    let expired = hosts.names { $0.isConnected && $0.leaseEndsAtMilliseconds <= now.monotonicMilliseconds }
    guard !expired.isEmpty else { return }
    for name in expired {
      hosts[name]?.record.state = .disconnected
      settle(hosts[name]?.claims ?? NameSet())
      settleSources(on: name)
    }
    changes.openings.isOtherwise = true
  }

  mutating func raiseEpoch(above epoch: UInt64) {
    // The highest number is kept free, so that a peer's nonsense cannot make the counter overflow.
    guard epoch >= cluster.epoch, epoch < FencingToken.limit else { return }
    cluster.epoch = epoch + 1
    changes.save(RecordKey(.cluster, ""))
  }
}

extension HostState {
  /// Takes what a hello says.
  fileprivate mutating func take(_ said: Host) {
    var plugins = said.plugins
    if plugins.isEmpty {
      // The agent has not started its plugins yet. That their classes exist is still known.
      plugins = record.plugins.map { known in
        var plugin = known
        plugin.state = .starting
        return plugin
      }
    }
    let known = record
    record = said
    record.plugins = plugins
    record.lastSeen = known.lastSeen
    record.cordon = known.cordon
    record.taints = known.taints
    // Whoever speaks is alive, whatever was said of it.
    record.death = nil
  }

  /// Answers whether it was last seen in an earlier minute: the record is stored once in a minute, and not at every
  /// heartbeat.
  fileprivate mutating func renewLease(at now: Instant, termMilliseconds: UInt32) -> Bool {
    leaseEndsAtMilliseconds = now.monotonicMilliseconds + UInt64(termMilliseconds)
    var lease = Lease()
    lease.termMilliseconds = termMilliseconds
    lease.expires = now.timestamp(afterMilliseconds: UInt64(termMilliseconds))
    record.lease = lease
    record.state = .connected
    guard record.lastSeen != now.minute else { return false }
    record.lastSeen = now.minute
    return true
  }
}
