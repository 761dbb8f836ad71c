import Services

extension Coordinator {
  /// The claim whose function it is served from, that one's, and so on.
  func sources(of claim: Claim) async throws -> [Claim] {
    var found: [Claim] = []
    var next = claim.specification?.source ?? ""
    while !next.isEmpty, next != claim.name, !found.contains(where: { $0.name == next }) {
      let name = next
      do {
        found.append(try await ask { try await claims.getClaim(GetClaimRequest { $0.name = name }, options: .command) })
      } catch let error as RPCError where error.code == .notFound {
        // It went meanwhile.
        break
      }
      next = found.last?.specification?.source ?? ""
    }
    return found
  }

  /// Those that are served from its function.
  func parts(of claim: Claim) async throws -> [Claim] {
    try await claims(ListClaimsRequest { $0.source = claim.name }).claims
  }
}

/// What is served from what: from a claim down to the device, and the other way.
extension Rack {
  /// A claim that has a source, its source, and so on, with where each lies; the device is the last one. Empty for a claim
  /// without a source.
  func chain(of claim: Claim) -> [[String]] {
    guard claim.specification?.source.isEmpty == false else { return [] }
    var rows: [[String]] = []
    var seen: Set<String> = []
    var next: Claim? = claim
    while let claim = next, seen.insert(claim.name).inserted {
      let assignment = claim.status?.assignment
      let source = claim.specification?.source ?? ""
      rows.append([
        claim.name, claim.status?.phase.word ?? "-", orDash(assignment?.function),
        assignment?.extent?.words ?? "-", orDash(assignment.map { withState($0.controllingHost) }),
        orDash(assignment.map { withState($0.host) }),
      ])
      guard source.isEmpty else {
        next = claims.first { $0.name == source }
        continue
      }
      guard let id = assignment?.endNode else { break }
      let node = endNodes.first { $0.id == id }
      rows.append([
        node?.name ?? id, node?.health?.word ?? "-", "the device \(id)", "-",
        orDash(node?.physicalFunction.map { withState($0.controllingHost) }), "-",
      ])
      break
    }
    return rows
  }

  static let chainHeading = ["FROM", "STATE", "FUNCTION", "LIES AT", "CONTROLLED BY", "USED ON"]

  /// What of a file server's function others have.
  func served(from claim: Claim) -> [[String]] {
    claims.filter { $0.specification?.source == claim.name }.map { part in
      let assignment = part.status?.assignment
      return [
        part.name, part.status?.phase.word ?? "-", orDash(assignment?.function), assignment?.extent?.words ?? "-",
        orDash(part.usedOn),
        part.status?.phase == .ready ? "" : part.status?.error?.summary ?? part.status?.pending.first?.message ?? "",
      ]
    }
  }

  static let servedHeading = ["CLAIM", "PHASE", "FUNCTION", "LIES AT", "USED ON", "WHY"]
}
