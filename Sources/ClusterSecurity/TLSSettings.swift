import Configuration
import Identities
import MeshRPC
import MeshTLS

/// `tls:` in a daemon's configuration file.
public struct TLSSettings: Sendable, Hashable, Decodable {
  public var certificate: String
  public var key: String
  public var trustRoots: String

  public init(certificate: String, key: String, trustRoots: String) {
    self.certificate = certificate
    self.key = key
    self.trustRoots = trustRoots
  }

  /// The files of a directory that `iov pki issue` filled.
  public init(directory: String) {
    self.init(
      certificate: directory + "/certificate.pem", key: directory + "/key.pem", trustRoots: directory + "/ca.pem")
  }

  private enum CodingKeys: String, CodingKey { case certificate, key, trustRoots }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    // Not `decode`: a misspelt key is to be named as such, before the right one is missed.
    self.init(
      certificate: try values.decodeIfPresent(String.self, forKey: .certificate) ?? "",
      key: try values.decodeIfPresent(String.self, forKey: .key) ?? "",
      trustRoots: try values.decodeIfPresent(String.self, forKey: .trustRoots) ?? "")
  }

  /// What is missing, for whoever wrote the file.
  private var problem: String? {
    guard certificate.isEmpty || key.isEmpty || trustRoots.isEmpty else { return nil }
    return "tls has three keys, `certificate`, `key` and `trustRoots`: files that `iov pki issue` makes"
  }

  /// What is wrong with how a file says that TCP is secured. Nobody speaks plain text by an oversight.
  public static func problem(with tls: TLSSettings?, plainText: Bool, for endpoints: [SocketEndpoint]) -> String? {
    if tls != nil, plainText { return "tls and plainText: true exclude each other: keep one" }
    if let problem = tls?.problem { return problem }
    guard tls == nil, !plainText else { return nil }
    for case .tcp(let host, let port) in endpoints {
      return
        "\(SocketEndpoint.tcp(host: host, port: port)) needs `tls` with certificate, key and trustRoots, which `iov pki` "
        + "makes; plainText: true goes without, and believes whoever is there"
    }
    return nil
  }

  private var paths: CertificatePaths { CertificatePaths(certificate: certificate, key: key, trustRoots: trustRoots) }

  /// TLS to the coordinator of the cluster that the own certificate names, wherever it is found: whoever else the
  /// cluster's authority knows cannot stand in for it. Blocks on the disk.
  public func client(
    report: @escaping @Sendable (CertificateEvent) -> Void = { _ in }
  ) throws -> (security: ClientTLS, identity: ClusterIdentity) {
    let security = try ClientTLS(paths, report: report)
    let identity = try identity(security.credentials)
    let coordinator = try ClusterIdentity(cluster: identity.cluster, role: .coordinator)
    return (security.expecting(.uri("\(coordinator)")), identity)
  }

  /// Mutual TLS for the coordinator's listeners. Blocks on the disk.
  public func server(
    report: @escaping @Sendable (CertificateEvent) -> Void = { _ in }
  ) throws -> (security: ServerTLS, identity: ClusterIdentity) {
    let security = try ServerTLS(paths, report: report)
    let identity = try identity(security.credentials)
    guard identity.role == .coordinator else {
      throw IdentityError(
        "\(certificate) is for \(identity), and agents look for iov://\(identity.cluster)/coordinator: make one with "
          + "`iov pki issue coordinator`")
    }
    return (security, identity)
  }

  private func identity(_ credentials: Credentials) throws(IdentityError) -> ClusterIdentity {
    for name in credentials.uriNames {
      if let identity = ClusterIdentity(uri: name) { return identity }
    }
    throw IdentityError(
      "\(certificate) names nobody in a cluster (no URI name like iov://CLUSTER/agent/HOST): make one with `iov pki issue`"
    )
  }
}
