import Services

extension Rack {
  func describe(_ host: Host) -> Description {
    var text = Description()
    text.facts(facts(of: host))
    text.section(
      "Plugins", ["NAME", "CLASS", "STATE", "VERSION", "OFFERS", "ACCEPTS", "MESSAGE"], host.plugins.map(\.row))
    text.section(
      "End nodes", ["NAME", "CLASS", "HERE CALLED", "CONTROLS", "HEALTH", "FUNCTIONS", "ID"],
      endNodes.compactMap { $0.row(seenFrom: host.name) })
    text.section(
      "Holds", ["FUNCTION", "CLAIM", "PATH", "FROM", "TOKEN", "REPORTED"],
      functions.filter { $0.isHeld(on: host.name) }.map { $0.row(\.controllingHost) })
    text.section(
      "Serves", ["FUNCTION", "CLAIM", "PATH", "TO", "TOKEN", "REPORTED"],
      functions.filter { $0.isServed(from: host.name) }.map { $0.row(\.host) })
    text.section(
      "Wait for it", ["CLAIM", "PHASE", "WHY"], claims.filter { $0.waits(for: host.name) }.map(\.waitingRow))
    text.section(host.cordon?.drain)
    text.section("Errors it reported", ["FUNCTION", "STEP", "MESSAGE"], functions.flatMap { $0.errors(of: host.name) })
    text.section("Orphans", Orphan.heading, (orphans ?? []).filter { $0.host == host.name }.map(\.row))
    if let advice = advice(for: host) { text.note(advice) }
    return text
  }

  private func facts(of host: Host) -> [(String, String?)] {
    let watchdog = host.watchdogMilliseconds
    return [
      ("Name", host.name), ("State", state(of: host)),
      ("Taints", host.taints.map(\.words).joined(separator: ", ")),
      ("Cordon", host.cordon.map { $0.told(at: now) }), ("Drain", host.cordon?.drain.map { $0.told(at: now) }),
      ("Last seen", host.lastSeen?.told(at: now)),
      ("Lease", host.lease.map { lease in lease.told(at: now) }),
      ("Death", host.death.map { "\($0.reason)" + ($0.at.map { at in ", \(at.told(at: now))" } ?? "") }),
      ("Watchdog", watchdog == 0 ? nil : "resets the host \(watchdog) ms after its lease"),
      ("Labels", host.labels.labelText), ("Agent", host.agentVersion),
      ("Mediation address", host.mediationAddress.isEmpty ? "none: no mediated path" : host.mediationAddress),
      ("Mediation MTU", host.mediationMtu == 0 ? nil : "\(host.mediationMtu) bytes"),
      ("Instance", host.instanceId), ("Boot", host.bootId),
    ]
  }

  func state(of host: Host) -> String {
    switch host.state {
    case .connected: "connected"
    case .disconnected:
      host.lastSeen.map { "away for \(formatAge(now.seconds - $0.seconds))" } ?? "away"
    case .dead: "dead"
    case .unspecified, .unrecognized: "unknown"
    }
  }

  private func advice(for host: Host) -> String? {
    switch host.state {
    case .disconnected:
      "What it holds stays as it is. If the machine is off and stays off: iov host confirm-dead \(host.name)"
    case .dead: "It is alive again when its agent connects. If it will not come back: iov host forget \(host.name)"
    case .connected, .unspecified, .unrecognized: nil
    }
  }
}

extension Lease {
  fileprivate func told(at now: Timestamp) -> String {
    let term = "\(Double(termMilliseconds) / 1000) s"
    guard let expires else { return term }
    return expires > now ? "\(term), until \(expires.told(at: now))" : "ran out at \(expires.told(at: now))"
  }
}

extension Plugin {
  fileprivate var row: [String] {
    let protocolText = protocolVersion == 0 ? "" : " (protocol \(protocolVersion))"
    return [
      name, orDash(deviceClass), state.word, orDash(version + protocolText),
      orDash(mediatorsOffered.joined(separator: ",")), orDash(mediatorsAccepted.joined(separator: ",")), message,
    ]
  }
}

extension PluginState {
  var word: String {
    switch self {
    case .serving: "serving"
    case .starting: "starting"
    case .failed: "failed"
    case .unspecified, .unrecognized: "unknown"
    }
  }
}

extension EndNode {
  fileprivate func row(seenFrom host: String) -> [String]? {
    guard let root = roots.first(where: { $0.host == host }) else { return nil }
    let controls = physicalFunction?.controllingHost == host ? "yes" : "no"
    return [name, deviceClass, orDash(root.localName), controls, health?.word ?? "-", functionsInUse, id]
  }
}

extension AssignedFunction {
  fileprivate func row(_ other: KeyPath<Assignment, String>) -> [String] {
    let assignment = assignment ?? Assignment()
    return [
      assignment.function, assignment.claim, assignment.path.word, assignment[keyPath: other],
      String(assignment.token?.value ?? 0), orDash(reportSummary) + (releasing ? " (being released)" : ""),
    ]
  }

  fileprivate func errors(of host: String) -> [[String]] {
    reports.filter { $0.host == host }.compactMap { report in
      report.status?.error.map { [assignment?.function ?? "", $0.step, $0.message] }
    }
  }
}

extension Claim {
  var waitingRow: [String] { [name, status?.phase.word ?? "-", trouble ?? "in progress"] }
}

extension Orphan {
  static let heading = ["FUNCTION", "HOST", "ROLE", "PHASE", "TOKEN", "SET UP FOR", "STATE"]

  var row: [String] {
    let token = status?.function?.token ?? status?.assignment?.token
    return [
      functionID, host, status?.role.word ?? "-", status?.phase.word ?? "-", token.map { String($0.value) } ?? "-",
      orDash(status?.assignment?.claim), releasing ? "being torn down" : "kept",
    ]
  }

  var functionID: String { status?.function?.id ?? status?.assignment?.function ?? "" }
}

extension Role {
  var word: String {
    switch self {
    case .direct: "direct"
    case .server: "server"
    case .consumer: "consumer"
    case .fencer: "fencer"
    case .unspecified, .unrecognized: "-"
    }
  }
}
