import Crypto
import FoundationEssentials
import Identities
import SwiftASN1
import X509

/// What a certificate says, for people.
public struct IssuedCertificate: Sendable {
  private let certificate: Certificate

  /// The first certificate of a file: its own, where others follow that lead to an authority.
  public init(pem: String) throws {
    guard let first = try Self.all(pem: pem).first else { throw IdentityError("there is none") }
    self = first
  }

  private init(_ certificate: Certificate) { self.certificate = certificate }

  /// Every certificate of a file: several authorities may be believed.
  public static func all(pem: String) throws -> [IssuedCertificate] {
    try PEMDocument.parseMultiple(pemString: pem).map { IssuedCertificate(try Certificate(pemDocument: $0)) }
  }

  public var subject: String { "\(certificate.subject)" }
  public var issuer: String { "\(certificate.issuer)" }
  /// Seconds since 1970.
  public var notValidBefore: Int64 { Int64(certificate.notValidBefore.timeIntervalSince1970) }
  public var notValidAfter: Int64 { Int64(certificate.notValidAfter.timeIntervalSince1970) }
  public var isAuthority: Bool {
    guard case .isCertificateAuthority? = try? certificate.extensions.basicConstraints else { return false }
    return true
  }

  public var uris: [String] {
    names.compactMap { if case .uniformResourceIdentifier(let uri) = $0 { uri } else { nil } }
  }

  public var dnsNames: [String] {
    names.compactMap { if case .dnsName(let name) = $0 { name } else { nil } }
  }

  /// As their 4 or 16 bytes.
  public var ipAddresses: [[UInt8]] {
    names.compactMap { if case .ipAddress(let address) = $0 { Array(address.bytes) } else { nil } }
  }

  private var names: SubjectAlternativeNames {
    (try? certificate.extensions.subjectAlternativeNames) ?? SubjectAlternativeNames()
  }

  /// SHA-256 of the whole certificate, as browsers and openssl print it.
  public var fingerprint: String {
    get throws {
      var serializer = DER.Serializer()
      try certificate.serialize(into: &serializer)
      return SHA256.hash(data: serializer.serializedBytes).map { byte in
        (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
      }.joined(separator: ":")
    }
  }

  public func isIssued(by authority: IssuedCertificate) -> Bool {
    certificate.issuer == authority.certificate.subject
      && authority.certificate.publicKey.isValidSignature(certificate.signature, for: certificate)
  }

  public func belongs(to key: CertificateKey) -> Bool { key.key.publicKey == certificate.publicKey }
}
