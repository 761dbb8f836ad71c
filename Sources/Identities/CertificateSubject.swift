/// The subject of a cluster's own certificates. Programs that know no URI names, such as QEMU, know somebody by it; so each
/// identity has its own, and nothing of it is cut short (at most 64 letters in each part: RFC 5280, appendix A.1).
public struct CertificateSubject: Sendable, Hashable, CustomStringConvertible {
  public let organization = "iovmesh"
  /// The cluster, then the role.
  public let units: [String]
  public let commonName: String

  public init(_ identity: ClusterIdentity) {
    let (role, name) =
      switch identity.role {
      case .coordinator: ("coordinator", "coordinator")
      case .agent(let host): ("agent", host)
      case .operator(let name): ("operator", name)
      case .tenant(let name): ("tenant", name)
      }
    units = [identity.cluster, role]
    commonName = name
  }

  /// As `CertificateFacts.subject`.
  public var description: String { Self.text(units, commonName) }

  /// That of a cluster's agents, with `{host}` in the place of the host's name.
  public static func ofAgents(in cluster: String) -> String { text([cluster, "agent"], "{host}") }

  private static func text(_ units: [String], _ commonName: String) -> String {
    (["O=iovmesh"] + units.map { "OU=\($0)" } + ["CN=\(commonName)"]).joined(separator: ",")
  }
}
