import Messages

/// What a list is asked for. A coordinator that does not know these fields lists everything, so that callers look too.
extension ListClaimsRequest {
  /// - Parameter endNodeNames: all that the end node asked for is called: its id, its name.
  public func includes(_ claim: Claim, endNodeNames: Set<String>) -> Bool {
    let specification = claim.specification ?? ClaimSpecification()
    let assignment = claim.status?.assignment
    return claim.name.hasPrefix(prefix) && (tenant.isEmpty || specification.tenantName == tenant)
      && (host.isEmpty || specification.host == host || specification.hosts.contains(host)
        || assignment?.isAt(host) ?? false)
      && (endNode.isEmpty || assignment.map { endNodeNames.contains($0.endNode) } ?? false
        || specification.endNode.map { endNodeNames.contains($0.name) } ?? false)
      && (group.isEmpty || specification.group == group) && (source.isEmpty || specification.source == source)
      && !(unready && claim.status?.phase == .ready)
      && !(unhealthy && claim.status?.health?.state != .unhealthy)
  }
}

extension ListFunctionsRequest {
  /// - Parameter endNodeNames: as above.
  public func includes(_ assignment: Assignment, endNodeNames: Set<String>) -> Bool {
    assignment.function.hasPrefix(prefix) && (claim.isEmpty || assignment.claim == claim)
      && (host.isEmpty || assignment.isAt(host)) && (endNode.isEmpty || endNodeNames.contains(assignment.endNode))
  }
}

extension Assignment {
  /// Whether it is used on this host, or controlled by it.
  fileprivate func isAt(_ name: String) -> Bool { host == name || controllingHost == name }
}
