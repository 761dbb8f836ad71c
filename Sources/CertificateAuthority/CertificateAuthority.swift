import CGnuTLS
import FoundationEssentials
import Identities

/// A cluster's own authority: whoever has its key says who is who in the cluster.
public struct CertificateAuthority: Sendable {
  public let cluster: String
  public let certificatePEM: String
  public var keyPEM: String { key.pem }
  private let certificate: IssuedCertificate
  private let key: CertificateKey

  /// How far a clock may be behind that meets a new certificate: a host whose clock is a day off is told so by its doctor,
  /// and not kept out.
  private static let clockTolerance: TimeInterval = 2 * 86_400

  /// A new one.
  public init(cluster: String, days: Int, now: Date = Date()) throws {
    // A cluster is named as those in it are.
    _ = try ClusterIdentity(cluster: cluster, role: .coordinator)
    let key = try CertificateKey()
    var draft = try CertificateDraft(
      key: key, notValidBefore: now - Self.clockTolerance, notValidAfter: now + TimeInterval(days) * 86_400)
    try draft.name([(.organization, "iovmesh"), (.commonName, "authority of \(cluster)")])
    try draft.mayIssue()
    try draft.add(uri: "iov://\(cluster)")
    try self.init(cluster: cluster, certificate: draft.signed(by: nil, key), key: key)
  }

  /// One that was made before.
  public init(certificate: IssuedCertificate, key: CertificateKey) throws {
    guard let uri = certificate.uris.first(where: { $0.hasPrefix("iov://") }) else {
      throw IdentityError("this is no authority that `iov pki init` made: it names no cluster")
    }
    guard try certificate.belongs(to: key) else {
      throw IdentityError("the authority's key is not that of its certificate")
    }
    try self.init(cluster: String(uri.dropFirst(6)), certificate: certificate, key: key)
  }

  private init(cluster: String, certificate: IssuedCertificate, key: CertificateKey) throws {
    self.cluster = cluster
    self.certificate = certificate
    certificatePEM = try certificate.pem
    self.key = key
  }

  /// A certificate that says who someone is. It ends no later than the authority's own.
  ///
  /// - Parameters:
  ///   - dnsNames, ipAddresses: Where a server is found; addresses as their 4 or 16 bytes. Whoever is found somewhere is one.
  public func issue(
    _ identity: ClusterIdentity, for key: CertificateKey, dnsNames: [String] = [], ipAddresses: [[UInt8]] = [],
    notValidBefore: Date? = nil, notValidAfter: Date
  ) throws -> String {
    let end = Date(timeIntervalSince1970: TimeInterval(certificate.notValidAfter))
    var draft = try CertificateDraft(
      key: key, notValidBefore: notValidBefore ?? Date() - Self.clockTolerance, notValidAfter: min(notValidAfter, end))
    let subject = CertificateSubject(identity)
    try draft.name(
      [(.organization, subject.organization)] + subject.units.map { (.unit, $0) } + [(.commonName, subject.commonName)])
    let isServer = identity.role == .coordinator || !dnsNames.isEmpty || !ipAddresses.isEmpty
    try draft.mayConnect(asServer: isServer)
    try draft.add(uri: "\(identity)")
    for name in dnsNames { try draft.add(dnsName: name) }
    for address in ipAddresses { try draft.add(ipAddress: address) }
    return try draft.signed(by: certificate, self.key).pem
  }
}
