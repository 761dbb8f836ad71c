import ArgumentParser
import Services

extension ClaimCommand {
  struct Explain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say why a claim waits, filter by filter, or why it got what it has.",
      discussion: """
        Of a claim that waits: how many end nodes each filter dropped, in the order in which they are tried, and the nearest fits: \
        all that is in the way there, and what would have to change. Of one that has a function: what else it could have, by what \
        is in use now, and what decided. Changes nothing.
        """)

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        _ = try await coordinator.claim(named: name)
        let request = ExplainClaimRequest { $0.name = name }
        let explanation = try await coordinator.ask {
          try await coordinator.claims.explainClaim(request, options: .command)
        }
        common.output.show(explanation) { for line in explanation.lines { print(line) } }
      }
    }
  }
}

extension ClaimExplanation {
  /// For people.
  var lines: [String] {
    var lines = ["\(claim) is \(phase.word): \(summary)"]
    if let decision { lines.append(decision.line) }
    if !upgrade.isEmpty { lines.append(upgrade) }
    if !health.isEmpty { lines.append(health) }
    if !filters.isEmpty {
      let rows = filters.map { [$0.filter, String($0.dropped), String($0.left), $0.messages.joined(separator: "; ")] }
      lines += [""] + table([["FILTER", "DROPPED", "LEFT", "WHY"]] + rows)
    }
    for (place, fit) in nearest.enumerated() {
      lines += ["", "\(place == 0 ? "Nearest" : "Then"): \(fit.name)\(fit.host.isEmpty ? "" : " for \(fit.host)")"]
      for obstacle in fit.obstacles {
        let remedy = obstacle.remedy.isEmpty ? "" : " (\(obstacle.remedy))"
        lines.append("  \(obstacle.filter): \(obstacle.message)\(remedy)")
      }
    }
    if !options.isEmpty {
      // What nobody asks for is not shown.
      let (isNear, hasPeers) = (options.contains { $0.nearness != .unspecified }, options.contains { $0.peers > 0 })
      let asked = [isNear ? "NEARNESS" : nil, hasPeers ? "PEERS" : nil].compactMap { $0 }
      let heading = ["END NODE", "HOST", "PATH", "CHOICE"] + asked + ["FUNCTIONS IN USE", "BYTES IN USE", ""]
      lines += [""] + table([heading] + options.map { $0.row(isNear: isNear, hasPeers: hasPeers) })
    }
    if Int(fitting) > options.count { lines.append("and \(Int(fitting) - options.count) more that fit") }
    return lines
  }
}

extension PlacementDecision {
  fileprivate var line: String {
    let when = at.map { "granted at \($0)" } ?? "granted"
    let load = bytesInUse > 0 ? "\(functionsInUse) functions and \(bytesInUse) bytes" : "\(functionsInUse) functions"
    let near = nearness == .unspecified ? "" : ", as near as \(nearness.word)"
    let others = peers > 0 ? ", \(peers) of its peers" : ""
    return
      "\(when), by choice \(preference) of its paths\(near), with \(load) of the end node in use before it\(others)"
      + (packed ? ", the fullest first" : "")
  }
}

extension PlacementOption {
  fileprivate func row(isNear: Bool, hasPeers: Bool) -> [String] {
    let asked = [isNear ? nearness.word : nil, hasPeers ? String(peers) : nil].compactMap { $0 }
    return [name, host, path.word, String(preference)] + asked + [
      String(functionsInUse), bytesInUse > 0 ? String(bytesInUse) : "-", held ? "<- it has this" : "",
    ]
  }
}
