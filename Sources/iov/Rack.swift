import Quantities
import Services

/// All that the coordinator knows, as it was a moment ago.
struct Rack: Sendable, Encodable {
  var cluster = Cluster()
  /// Nil: the coordinator is older than this question.
  var coordinator: CoordinatorStatus?
  var hosts: [Host] = []
  var endNodes: [EndNode] = []
  var claims: [Claim] = []
  var functions: [AssignedFunction] = []
  /// Nil: as `coordinator`.
  var orphans: [Orphan]?

  /// The coordinator's clock: the times in its answers are by it.
  var now: Timestamp { coordinator?.now ?? .now() }

  /// What is cordoned, each with what it is called.
  var maintained: [(kind: String, name: String, cordon: Cordon)] {
    endNodes.compactMap { node in node.cordon.map { ("end node", node.name, $0) } }
      + hosts.compactMap { host in host.cordon.map { ("host", host.name, $0) } }
  }

  func host(named name: String) -> Host? { hosts.first { $0.name == name } }
  func function(of claim: Claim) -> AssignedFunction? { functions.first { $0.assignment?.claimUid == claim.uid } }
}

extension Coordinator {
  /// All that there is.
  func wholeRack() async throws -> Rack {
    var rack = try await machines()
    rack.functions = try await functions(ListFunctionsRequest()).functions
    // Last, so that a claim's reasons are not older than what they speak of.
    rack.claims = try await claims(ListClaimsRequest()).claims
    return rack
  }

  /// Without functions and claims, of which there may be very many.
  func machines() async throws -> Rack {
    var rack = Rack()
    rack.coordinator = try await askIfKnown {
      try await operations.getStatus(GetStatusRequest(), options: .command)
    }
    if let known = rack.coordinator?.cluster {
      rack.cluster = known
    } else {
      rack.cluster = try await ask { try await inventory.getCluster(GetClusterRequest(), options: .command) }
    }
    rack.hosts = try await ask { try await inventory.listHosts(ListHostsRequest(), options: .command) }.hosts
    rack.endNodes = try await ask { try await inventory.listEndNodes(ListEndNodesRequest(), options: .command) }
      .endNodes
    rack.orphans = try await askIfKnown {
      try await operations.listOrphans(ListOrphansRequest(), options: .command)
    }?.orphans
    return rack
  }

  /// Those that are not ready.
  func waitingClaims() async throws -> [Claim] { try await claims(ListClaimsRequest { $0.unready = true }).claims }
}

// MARK: Who has to do with whom

extension Claim {
  /// Why it is not as it should be, in the coordinator's and the hosts' words; nil while nothing is in its way.
  var trouble: String? {
    let health = status?.health.flatMap { $0.state == .unhealthy ? "its function is \($0.words)" : nil }
    guard status?.phase != .ready else { return status?.error?.summary ?? health }
    let reasons = (status?.pending ?? []).map(\.message) + [status?.error?.summary].compactMap { $0 }
    return reasons.isEmpty ? nil : reasons.joined(separator: "; ")
  }

  /// Whether it waits, and names this host in what it waits for.
  func waits(for host: String) -> Bool {
    guard status?.phase != .ready else { return false }
    if status?.error?.host == host { return true }
    return (status?.pending ?? []).contains { $0.message.namesHost(host) }
  }
}

extension String {
  /// Whether the name stands in it as a whole word; a hyphen is part of a name.
  fileprivate func namesHost(_ name: String) -> Bool {
    func isPartOfName(_ character: Character) -> Bool { character.isLetter || character.isNumber || character == "-" }
    return split { !isPartOfName($0) }.contains { $0 == name }
  }
}

extension AssignedFunction {
  func isHeld(on host: String) -> Bool { assignment?.host == host }
  func isServed(from host: String) -> Bool { assignment?.controllingHost == host && assignment?.host != host }

  var reportSummary: String {
    reports.map { report in
      let cleaning = report.status?.scrub.flatMap { $0.words.map { " (\($0))" } } ?? ""
      let health = report.status?.health.flatMap { $0.state == .unhealthy ? ", \($0.word)" : nil } ?? ""
      return "\(report.host): \(report.status?.phase.word ?? "-")\(cleaning)\(health)"
    }.joined(separator: ", ")
  }
}

extension ScrubState {
  /// Nil: there is nothing to say.
  var words: String? {
    guard totalBytes > 0 else { return nil }
    let percent = doneBytes / max(1, totalBytes / 100)
    let progress = "\(min(100, percent)) % of \(roundedByteCount(totalBytes)) clean"
    return failure.isEmpty ? progress : "\(progress), and not going on"
  }
}
