import Arbitration
import Messages

/// Hosts, and the network between them and the coordinator.
extension Storm {
  /// What a host's own clock says.
  func time(of host: String) -> UInt64 { hosts[host]?.clock.time(at: now) ?? now }

  func isReachable(_ host: String) -> Bool { hosts[host].map { !$0.isStalled && !$0.isPaused } ?? false }

  mutating func connect(_ host: String) {
    let session = SessionID(nextID())
    if let straggling = hosts[host]?.toCoordinator { stragglers += straggling }
    let time = time(of: host)
    hosts[host]?.connect(session, at: time)
    guard isHarsh, case .hostConnected(_, let hello)? = hosts[host]?.toCoordinator.last else { return }
    formerHellos = formerHellos.suffix(7) + [hello]
  }

  /// Its connection was long in coming about, and nobody is at the other end any more.
  mutating func deliverFormerHello() {
    guard Int.random(in: 0..<20, using: &helloDice) == 0 else { return }
    let over = formerHellos.filter { hello in hosts[hello.host?.name ?? ""]?.bootID != hello.host?.bootId }
    guard let hello = over.randomElement(using: &helloDice) else { return }
    coverage.note(.helloLate)
    let session = SessionID(nextID())
    send(.hostConnected(session, hello))
    stragglers.append(.hostDisconnected(session))
  }

  mutating func sendHeartbeat(_ host: String) {
    let time = time(of: host)
    hosts[host]?.sendHeartbeat(at: time)
  }

  mutating func crash(_ host: String) {
    coverage.note(.hostCrashed)
    loseSession(host)
    hosts[host]?.crash()
  }

  /// The agent goes, its functions stay.
  mutating func hangUp(_ host: String) {
    coverage.note(.agentCrashed)
    loseSession(host)
    hosts[host]?.endAgent()
    let isCutOff = roll(0..<2) == 0
    if isCutOff { coverage.note(.partition) }
    hosts[host]?.isCutOff = isCutOff
  }

  /// What is under way arrives late or never, and so does the end of the stream.
  mutating func loseSession(_ host: String) {
    guard let session = hosts[host]?.session else { return }
    let underWay = (hosts[host]?.toCoordinator ?? []) + [.hostDisconnected(session)]
    switch roll(0..<3) {
    case 0: for event in underWay { send(event) }
    case 1: stragglers += underWay
    default:
      if underWay.count > 1 { coverage.note(.messagesLost) }
      stragglers.append(.hostDisconnected(session))
    }
  }

  mutating func deliverToHost(_ host: String) {
    guard let state = hosts[host], let message = state.toHost.first, !state.isStalledToHost, !state.isPaused else {
      return
    }
    hosts[host]?.toHost.removeFirst()
    hosts[host]?.take(message)
  }

  mutating func deliverToCoordinator(_ host: String) {
    guard let state = hosts[host], let event = state.toCoordinator.first, !state.isStalledToCoordinator else { return }
    hosts[host]?.toCoordinator.removeFirst()
    // A copy of it may come again, after its session.
    if roll(0..<8) == 0 { repeated.append(event) }
    send(event)
  }

  /// Within its session nothing arrives twice.
  mutating func deliverStraggler() {
    if !stragglers.isEmpty {
      coverage.note(.messageReordered)
      return send(stragglers.removeFirst())
    }
    let over = repeated.firstIndex { event in
      event.session.map { arbiter.hostOfSession[$0] == nil && arbiter.greeted[$0] == nil } ?? false
    }
    guard let index = over else { return }
    coverage.note(.messageDuplicated)
    let copy = repeated.remove(at: index)
    // Sessions are the coordinator's: who says hello again begins another one.
    if case .hostConnected(_, let hello) = copy { return send(.hostConnected(SessionID(nextID()), hello)) }
    send(copy)
  }

  /// Everything under way arrives, the host works and says so.
  mutating func exchange(_ host: String) {
    guard hosts[host]?.session != nil else { return }
    for _ in 0..<3 {
      while hosts[host]?.canSend == true { deliverToCoordinator(host) }
      while hosts[host]?.canHear == true { deliverToHost(host) }
      failMembers(on: host)
      let time = time(of: host)
      if hosts[host]?.workAll(at: time, &device) == true { check() }
      hosts[host]?.report()
      if hosts[host]?.canSend != true { return }
    }
  }

  mutating func pass(_ milliseconds: UInt64) {
    elapse(milliseconds)
    send(.timePassed)
  }

  /// Time passes on the hosts.
  mutating func elapse(_ milliseconds: UInt64) {
    now += milliseconds
    for name in Self.hostNames {
      let time = time(of: name)
      if let end = hosts[name]?.stalledUntil, time >= end { hosts[name]?.stall(toHost: false, toCoordinator: false) }
      if hosts[name]?.fenceItself(at: time) == true { coverage.note(.hostFencedItself) }
      // The watchdog is a device of its own: it also ends a host whose agent stands still.
      guard let host = hosts[name], host.isUp, host.watchdogMilliseconds > 0, host.leaseEnds > 0 else { continue }
      if time >= host.leaseEnds + UInt64(host.watchdogMilliseconds) {
        coverage.note(.watchdogFired)
        crash(name)
      } else if host.isStalled, !host.isPaused, time >= host.leaseEnds, host.session != nil {
        giveUp(name)
      }
    }
  }

  /// A coordinator that has not answered for a term is as good as gone.
  private mutating func giveUp(_ host: String) {
    loseSession(host)
    hosts[host]?.loseConnection()
  }
}

extension Event {
  var session: SessionID? {
    switch self {
    case .hostConnected(let session, _), .hostDisconnected(let session), .heartbeatReceived(let session, _),
      .inventoryReported(let session, _), .functionsReported(let session, _):
      session
    default: nil
    }
  }
}
