/// Who someone is in a cluster; in a certificate, a URI name: `iov://rack/agent/host-a`.
public struct ClusterIdentity: Sendable, Hashable, CustomStringConvertible {
  public enum Role: Sendable, Hashable {
    /// `iov://CLUSTER/coordinator`
    case coordinator
    /// `iov://CLUSTER/agent/HOST`: speaks for that host alone.
    case agent(host: String)
    /// `iov://CLUSTER/operator/NAME`: may do everything that people do.
    case `operator`(String)
    /// `iov://CLUSTER/tenant/NAME`
    case tenant(String)
  }

  public let cluster: String
  public let role: Role

  /// Throws if a name is none.
  public init(cluster: String, role: Role) throws(IdentityError) {
    try Self.check(cluster, "a cluster's name")
    switch role {
    case .coordinator: break
    case .agent(let name): try Self.check(name, "a host's name")
    case .operator(let name): try Self.check(name, "an operator's name")
    case .tenant(let name): try Self.check(name, "a tenant's name")
    }
    self.cluster = cluster
    self.role = role
  }

  /// nil: the URI names nobody in a cluster.
  public init?(uri: String) {
    guard uri.hasPrefix("iov://") else { return nil }
    let parts = uri.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let role: Role
    switch (parts.count, parts.dropFirst().first) {
    case (2, "coordinator"): role = .coordinator
    case (3, "agent"): role = .agent(host: parts[2])
    case (3, "operator"): role = .operator(parts[2])
    case (3, "tenant"): role = .tenant(parts[2])
    default: return nil
    }
    guard let identity = try? ClusterIdentity(cluster: parts[0], role: role) else { return nil }
    self = identity
  }

  /// The URI.
  public var description: String {
    switch role {
    case .coordinator: "iov://\(cluster)/coordinator"
    case .agent(let host): "iov://\(cluster)/agent/\(host)"
    case .operator(let name): "iov://\(cluster)/operator/\(name)"
    case .tenant(let name): "iov://\(cluster)/tenant/\(name)"
    }
  }

  private static func check(_ name: String, _ what: String) throws(IdentityError) {
    let isName =
      (1...63).contains(name.utf8.count)
      && name.utf8.allSatisfy {
        (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d
      }
    guard isName else {
      throw IdentityError("'\(name)' is not \(what): it has 1 to 63 lower-case letters, digits and hyphens")
    }
  }
}

public struct IdentityError: Error, Hashable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }
}
