import Crypto
import FoundationEssentials
import Identities
import SwiftASN1
import X509

/// A cluster's own authority: whoever has its key says who is who in the cluster.
public struct CertificateAuthority: Sendable {
  public let cluster: String
  public let certificate: Certificate
  private let key: Certificate.PrivateKey

  /// How far a clock may be behind that meets a new certificate: a host whose clock is a day off is told so by its doctor,
  /// and not kept out.
  private static let clockTolerance: TimeInterval = 2 * 86_400

  /// A new one.
  public init(cluster: String, days: Int, now: Date = Date()) throws {
    // A cluster is named as those in it are.
    _ = try ClusterIdentity(cluster: cluster, role: .coordinator)
    self.cluster = cluster
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    self.key = key
    let name = try DistinguishedName {
      OrganizationName("iovmesh")
      CommonName("authority of \(cluster)")
    }
    certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
      notValidBefore: now - Self.clockTolerance, notValidAfter: now + TimeInterval(days) * 86_400, issuer: name,
      subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: key.publicKey)
        SubjectAlternativeNames([.uniformResourceIdentifier("iov://\(cluster)")])
      }, issuerPrivateKey: key)
  }

  /// The one in these PEM texts.
  public init(certificate: String, key: String) throws {
    self.certificate = try Certificate(pemEncoded: certificate)
    self.key = try Certificate.PrivateKey(pemEncoded: key)
    let names = try self.certificate.extensions.subjectAlternativeNames
    let uris = (names ?? SubjectAlternativeNames()).compactMap { name -> String? in
      if case .uniformResourceIdentifier(let uri) = name { uri } else { nil }
    }
    guard let uri = uris.first(where: { $0.hasPrefix("iov://") }) else {
      throw IdentityError("this is no authority that `iov pki init` made: it names no cluster")
    }
    cluster = String(uri.dropFirst(6))
    guard self.key.publicKey == self.certificate.publicKey else {
      throw IdentityError("the authority's key is not that of its certificate")
    }
  }

  public var certificatePEM: String { get throws { try certificate.serializeAsPEM().pemString + "\n" } }
  public var keyPEM: String { get throws { try key.serializeAsPEM().pemString + "\n" } }

  /// A certificate that says who someone is. It ends no later than the authority's own.
  ///
  /// - Parameters:
  ///   - dnsNames, ipAddresses: Where a server is found; addresses as their 4 or 16 bytes. Whoever is found somewhere is one.
  public func issue(
    _ identity: ClusterIdentity, for key: CertificateKey, dnsNames: [String] = [], ipAddresses: [[UInt8]] = [],
    notValidBefore: Date? = nil, notValidAfter: Date
  ) throws -> String {
    let names =
      [.uniformResourceIdentifier("\(identity)")] + dnsNames.map { GeneralName.dnsName($0) }
      + ipAddresses.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) }
    let isServer = identity.role == .coordinator || !dnsNames.isEmpty || !ipAddresses.isEmpty
    let subject = CertificateSubject(identity)
    let publicKey = key.key.publicKey
    let authorityKey = try certificate.extensions.subjectKeyIdentifier?.keyIdentifier
    return try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
      notValidBefore: notValidBefore ?? Date() - Self.clockTolerance,
      notValidAfter: min(notValidAfter, certificate.notValidAfter), issuer: certificate.subject,
      subject: try DistinguishedName {
        OrganizationName(subject.organization)
        for unit in subject.units { OrganizationalUnitName(unit) }
        CommonName(subject.commonName)
      }, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        // Not critical: QEMU's storage daemon of 10.0 refuses a critical one without key encipherment, for which an elliptic
        // key is not to be used (RFC 5480, section 3).
        KeyUsage(digitalSignature: true)
        try ExtendedKeyUsage(isServer ? [.serverAuth, .clientAuth] : [.clientAuth])
        SubjectKeyIdentifier(hash: publicKey)
        AuthorityKeyIdentifier(keyIdentifier: authorityKey)
        SubjectAlternativeNames(names)
      }, issuerPrivateKey: self.key
    ).serializeAsPEM().pemString + "\n"
  }
}

/// A key for a certificate.
public struct CertificateKey: Sendable {
  let key: Certificate.PrivateKey

  public init() { key = Certificate.PrivateKey(P256.Signing.PrivateKey()) }
  public init(pem: String) throws { key = try Certificate.PrivateKey(pemEncoded: pem) }

  public var pem: String { get throws { try key.serializeAsPEM().pemString + "\n" } }
}
