import Arbitration
import Messages

/// What a harsh storm has beside the others.
extension Storm {
  mutating func makeHarsh() {
    for name in Self.hostNames {
      coverage.note(.clockDrifted)
      // Ten times what a cheap crystal does, and far within the margin of a lease.
      let drift = Int64(roll(-1000..<1001))
      hosts[name]?.clock.driftPerMillion = drift
      hosts[name]?.remembers = true
      for index in hosts[name]?.endNodes.indices ?? 0..<0 where hosts[name]?.endNodes[index].deviceClass == "sata" {
        hosts[name]?.endNodes[index].capacity?.operationsPerSecond = 1000
        hosts[name]?.endNodes[index].capabilities?.attributes.append("block.min_operations_per_second")
      }
    }
  }

  mutating func strike(_ host: String) {
    switch roll(0..<16) {
    case 0: strikeAgent(host)
    case 1: strikePlugin(host)
    case 2: strikeEndNode(host)
    case 3, 4: strikeNetwork(host)
    case 5, 6: strikeDisk()
    case 7: strikeClocks(host)
    case 8: askOperators(host)
    case 9: pauseCoordinator()
    default: mend(host)
    }
  }

  private mutating func strikeAgent(_ host: String) {
    guard hosts[host]?.isUp == true else { return }
    if roll(0..<2) == 0 {
      coverage.note(.agentPaused)
      hosts[host]?.isPaused = true
      return
    }
    let keepsJournal = roll(0..<2) == 0
    coverage.note(keepsJournal ? .agentRestartedWithJournal : .agentRestartedWithoutJournal)
    loseSession(host)
    hosts[host]?.endAgent()
    if !keepsJournal { hosts[host]?.wanted = [:] }
  }

  private mutating func strikePlugin(_ host: String) {
    guard hosts[host]?.isUp == true else { return }
    let deviceClass = roll(0..<2) == 0 ? "ethernet" : "sata"
    if roll(0..<2) == 0 {
      coverage.note(.pluginPaused)
      hosts[host]?.pausedPlugins.insert(deviceClass)
    } else {
      coverage.note(.pluginCrashed)
      hosts[host]?.failPlugin(deviceClass)
    }
  }

  private mutating func strikeEndNode(_ host: String) {
    guard hosts[host]?.isUp == true, let id = hosts[host]?.endNodes.randomElement(using: &dice)?.id else { return }
    if roll(0..<2) == 0 {
      coverage.note(.endNodePaused)
      hosts[host]?.hangEndNode(id)
    } else {
      coverage.note(.endNodeCrashed)
      hosts[host]?.loseEndNode(id)
    }
  }

  private mutating func strikeNetwork(_ host: String) {
    switch roll(0..<4) {
    case 0:
      coverage.note(.partition)
      hosts[host]?.stall(toHost: true, toCoordinator: true)
    case 1:
      coverage.note(.partitionFromHost)
      hosts[host]?.stall(toHost: false, toCoordinator: true)
    case 2:
      coverage.note(.partitionToHost)
      hosts[host]?.stall(toHost: true, toCoordinator: false)
    default:
      coverage.note(.messageDelayed)
      let end = time(of: host) + UInt64(roll(100..<4000))
      hosts[host]?.stall(toHost: true, toCoordinator: true, until: end)
    }
  }

  private mutating func strikeDisk() {
    if !isDiskSlow, roll(0..<3) == 0 { isDiskSlow = true } else if roll(0..<2) == 0 { commitOne() }
  }

  private mutating func strikeClocks(_ host: String) {
    if roll(0..<2) == 0 {
      coverage.note(.clockJumped)
      let jump = UInt64(roll(1..<20_000))
      hosts[host]?.clock.aheadMilliseconds += jump
    } else {
      coverage.note(.wallClockJumped)
      wallOffset = Int64(roll(-86_400..<86_400)) * 1000
    }
  }

  /// Its messages wait, and its first thought is that all leases are over.
  private mutating func pauseCoordinator() {
    coverage.note(.coordinatorPaused)
    for _ in 0..<roll(1..<8) {
      for name in Self.hostNames { sendHeartbeat(name) }
      elapse(3000)
    }
    send(.timePassed)
  }

  private mutating func askOperators(_ host: String) {
    switch roll(0..<4) {
    case 0:
      let request = UpdateClaimRatesRequest {
        $0.name = "claim-\(roll(0..<7))"
        $0.maxTransmitBitsPerSecond = UInt64(roll(1..<1000)) * 1_000_000
      }
      ask(.other) { .claimRatesUpdated($0, request) }
    case 1: ask(.other) { .hostRescanned($0, RescanHostRequest { $0.host = host }) }
    case 2:
      let dead = Self.hostNames.first { hosts[$0]?.isUp == false } ?? host
      coverage.note(.hostForgotten)
      ask(.other) { .hostForgotten($0, ForgetHostRequest { $0.host = dead }) }
    default:
      guard let boot = hosts[host]?.bootNumber, boot > 1 else { return }
      confirmDead(host, bootID: "\(host)-boot-\(boot - 1)")
    }
  }

  /// One thing works again.
  private mutating func mend(_ host: String) {
    switch roll(0..<5) {
    case 0: hosts[host]?.isPaused = false
    case 1:
      for deviceClass in ["ethernet", "sata"] {
        guard let state = hosts[host], state.isUp,
          state.failedPlugins.contains(deviceClass) || state.pausedPlugins.contains(deviceClass)
        else { continue }
        let keepsLedger = roll(0..<4) > 0
        coverage.note(keepsLedger ? .pluginRestartedWithLedger : .pluginRestartedWithoutLedger)
        hosts[host]?.restartPlugin(deviceClass, keepingLedger: keepsLedger)
      }
    case 2:
      for id in (hosts[host].map { $0.goneEndNodes.union($0.hungEndNodes) } ?? []).sorted() {
        coverage.note(.endNodeRestarted)
        hosts[host]?.restartEndNode(id)
      }
    case 3: hosts[host]?.stall(toHost: false, toCoordinator: false)
    default:
      isDiskSlow = false
      commitAll()
    }
  }

  mutating func endFaults() {
    isDiskSlow = false
    commitAll()
    for name in Self.hostNames { hosts[name]?.endFaults() }
  }
}
