import Quantities
import Services

/// The rack at a glance, and what of it needs somebody's attention.
struct RackStatus: Encodable {
  let rack: Rack
  /// What needs attention, each with what to do where that is known.
  let attention: [String]

  init(_ rack: Rack) {
    self.rack = rack
    attention =
      Self.hostTrouble(rack) + Self.pluginTrouble(rack) + Self.endNodeTrouble(rack) + Self.drainTrouble(rack)
      + Self.claimTrouble(rack) + Self.orphanTrouble(rack)
  }

  // MARK: What needs attention

  private static func hostTrouble(_ rack: Rack) -> [String] {
    guard !rack.hosts.isEmpty else { return ["no host has joined yet: start iov-agent on each one"] }
    return rack.hosts.compactMap { host in
      switch host.state {
      case .connected: nil
      case .dead: "host \(host.name) is dead; if it will not come back: iov host forget \(host.name)"
      case .disconnected, .unspecified, .unrecognized:
        "host \(host.name) is \(rack.state(of: host)); if it is off: iov host confirm-dead \(host.name)"
      }
    }
  }

  private static func pluginTrouble(_ rack: Rack) -> [String] {
    rack.hosts.filter { $0.state == .connected }.flatMap { host in
      host.plugins.filter { $0.state == .failed }.map { plugin in
        "plugin \(plugin.name) of host \(host.name) fails: \(orDash(plugin.message))"
      }
    }
  }

  private static func endNodeTrouble(_ rack: Rack) -> [String] {
    rack.endNodes.filter { $0.health?.state == .unhealthy }.map { node in
      "end node \(node.name) is \(node.health?.word ?? "unhealthy")"
    }
  }

  /// What is cordoned is as somebody wants it. A drain that has come to its end with something left needs somebody.
  private static func drainTrouble(_ rack: Rack) -> [String] {
    rack.maintained.compactMap { kind, name, cordon in
      guard let drain = cordon.drain, !drain.remaining.isEmpty, drain.remaining.allSatisfy(\.stays) else { return nil }
      return "\(kind) \(name) is being drained, and \(drain.remaining.count) functions stay: iov "
        + "\(kind == "host" ? "host" : "endnode") describe \(name)"
    }
  }

  private static func claimTrouble(_ rack: Rack) -> [String] {
    rack.claims.compactMap { claim in
      claim.trouble.map { "claim \(claim.name) is \(claim.status?.phase.word ?? "-"): \($0)" }
    }
  }

  private static func orphanTrouble(_ rack: Rack) -> [String] {
    (rack.orphans ?? []).filter { !$0.releasing }.map { orphan in
      "function \(orphan.functionID) on \(orphan.host) has no claim: iov orphan adopt, or iov orphan purge"
    }
  }

  // MARK: On one screen

  /// The lines of each kind that are shown; the rest is counted.
  private static let shown = 8

  var lines: [String] {
    var lines = table([
      ["Coordinator", coordinatorLine],
      ["Hosts", counted(rack.hosts.map { $0.state.word })],
      ["Plugins", counted(rack.hosts.filter { $0.state == .connected }.flatMap(\.plugins).map { $0.state.word })],
      ["End nodes", counted(rack.endNodes.map { $0.health?.stateWord ?? "unknown" })],
      ["Claims", counted(rack.claims.map { $0.status?.phase.word ?? "-" })],
      ["Orphans", rack.orphans.map { counted($0.map { $0.releasing ? "being torn down" : "kept" }) } ?? "not known"],
    ])
    let maintained = rack.maintained.map { kind, name, cordon in
      "\(kind) \(name): \(cordon.words)" + (cordon.drain.map { ", \($0.words)" } ?? "")
    }
    if !maintained.isEmpty { lines += [""] + maintained }
    let classes = Set(rack.endNodes.map(\.deviceClass)).sorted()
    if !classes.isEmpty { lines += [""] + table([["CLASS", "END NODES", "FUNCTIONS", "SIZE"]] + classes.map(use)) }
    let kinds = [
      Self.hostTrouble(rack), Self.pluginTrouble(rack), Self.endNodeTrouble(rack), Self.drainTrouble(rack),
      Self.claimTrouble(rack), Self.orphanTrouble(rack),
    ]
    for trouble in kinds where !trouble.isEmpty {
      lines += [""] + trouble.prefix(Self.shown).map { "! " + $0 }
      if trouble.count > Self.shown { lines.append("! and \(trouble.count - Self.shown) more like these") }
    }
    return lines + ["", verdict]
  }

  private var verdict: String {
    switch attention.count {
    case 0: "All is well."
    case 1: "1 thing needs attention."
    default: "\(attention.count) things need attention."
    }
  }

  private var coordinatorLine: String {
    var parts = [rack.cluster.coordinatorVersion, "epoch \(rack.cluster.epoch)"]
    guard let status = rack.coordinator else {
      return (parts + ["older than this program: uptime, store and orphans are not known"]).joined(separator: ", ")
    }
    if let started = status.started { parts.append("up \(formatAge(rack.now.seconds - started.seconds))") }
    if !status.storePath.isEmpty { parts.append("store \(status.storePath), \(roundedByteCount(status.storeBytes))") }
    return (parts + ["cluster \(rack.cluster.id)"]).joined(separator: ", ")
  }

  /// `3: 2 connected, 1 dead`
  private func counted(_ words: [String]) -> String {
    guard !words.isEmpty else { return "none" }
    let counts = Dictionary(words.map { ($0, 1) }, uniquingKeysWith: +)
    let sorted = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    return "\(words.count): " + sorted.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
  }

  private func use(ofClass deviceClass: String) -> [String] {
    let nodes = rack.endNodes.filter { $0.deviceClass == deviceClass }
    let used = nodes.reduce(0) { $0 + UInt64($1.used?.functions ?? 0) }
    let total = nodes.reduce(0) { $0 + UInt64($1.capacity?.functions ?? 0) }
    let usedBytes = nodes.reduce(0) { $0 + ($1.used?.sizeBytes ?? 0) }
    let totalBytes = nodes.reduce(0) { $0 + ($1.capacity?.sizeBytes ?? 0) }
    return [
      deviceClass, String(nodes.count), total == 0 ? "\(used)" : "\(used)/\(total)",
      totalBytes == 0 ? "-" : "\(roundedByteCount(usedBytes))/\(roundedByteCount(totalBytes))",
    ]
  }
}

extension Health {
  fileprivate var stateWord: String {
    switch state {
    case .healthy: "healthy"
    case .unhealthy: "unhealthy"
    case .unknown, .unspecified, .unrecognized: "unknown"
    }
  }
}
