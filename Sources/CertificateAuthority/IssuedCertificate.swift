import CGnuTLS
import Glibc
import Identities

/// What a certificate says, for people.
public struct IssuedCertificate: Sendable {
  /// As RFC 4514 writes names.
  public let subject: String
  public let issuer: String
  /// Seconds since 1970.
  public let notValidBefore: Int64
  public let notValidAfter: Int64
  public let isAuthority: Bool
  public let uris: [String]
  public let dnsNames: [String]
  /// As their 4 or 16 bytes.
  public let ipAddresses: [[UInt8]]
  /// SHA-256 of the whole certificate, as browsers and openssl print it.
  public let fingerprint: String
  /// SHA-256 of its public key.
  private let key: [UInt8]
  private let der: [UInt8]

  /// The first certificate of a file: its own, where others follow that lead to an authority.
  public init(pem: String) throws {
    guard let first = try Self.all(pem: pem).first else { throw IdentityError("there is none") }
    self = first
  }

  /// Every certificate of a file: several authorities may be believed.
  public static func all(pem: String) throws -> [IssuedCertificate] {
    var (list, count): (UnsafeMutablePointer<gnutls_x509_crt_t?>?, UInt32) = (nil, 0)
    try check(
      withDatum(of: Array(pem.utf8)) {
        gnutls_x509_crt_list_import2(&list, &count, $0, GNUTLS_X509_FMT_PEM, 0)
      }, "read certificates")
    let certificates = UnsafeBufferPointer(start: list, count: Int(count)).compactMap(\.self)
    defer {
      for certificate in certificates { gnutls_x509_crt_deinit(certificate) }
      free(list)
    }
    return try certificates.map { try IssuedCertificate($0) }
  }

  init(_ certificate: gnutls_x509_crt_t) throws {
    // Others' authorities name somebody by alternative names alone.
    subject = try writtenText("read a certificate's names", or: "") { gnutls_x509_crt_get_dn3(certificate, $0, 0) }
    issuer = try writtenText("read a certificate's names", or: "") {
      gnutls_x509_crt_get_issuer_dn3(certificate, $0, 0)
    }
    notValidBefore = Int64(gnutls_x509_crt_get_activation_time(certificate))
    notValidAfter = Int64(gnutls_x509_crt_get_expiration_time(certificate))
    isAuthority = gnutls_x509_crt_get_ca_status(certificate, nil) > 0
    let names = try Self.alternativeNames(of: certificate)
    func texts(_ kind: gnutls_x509_subject_alt_name_t) -> [String] {
      names.filter { $0.kind == kind }.map { String(decoding: $0.value, as: UTF8.self) }
    }
    uris = texts(GNUTLS_SAN_URI)
    dnsNames = texts(GNUTLS_SAN_DNSNAME)
    ipAddresses = names.filter { $0.kind == GNUTLS_SAN_IPADDRESS }.map(\.value)
    let hash = try filled("hash a certificate") {
      gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, $0, $1)
    }
    fingerprint = (hash ?? []).map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }
      .joined(separator: ":")
    key = try keyIdentifier(gnutls_x509_crt_get_key_id, of: certificate, GNUTLS_KEYID_USE_SHA256)
    der = try written("write a certificate") { gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, $0) }
  }

  private static func alternativeNames(
    of certificate: gnutls_x509_crt_t
  ) throws -> [(kind: gnutls_x509_subject_alt_name_t, value: [UInt8])] {
    var names: [(kind: gnutls_x509_subject_alt_name_t, value: [UInt8])] = []
    var kind: UInt32 = 0
    let next = {
      try filled("read a certificate's names") {
        gnutls_x509_crt_get_subject_alt_name2(certificate, UInt32(names.count), $0, $1, &kind, nil)
      }
    }
    while let value = try next() { names.append((gnutls_x509_subject_alt_name_t(kind), value)) }
    return names
  }

  /// Whether the authority's name and key are those that signed this; times are not looked at.
  public func isIssued(by authority: IssuedCertificate) -> Bool {
    // GnuTLS believes a certificate that is named as its own issuer.
    guard authority.isAuthority, let certificate = try? handle(), let issuer = try? authority.handle() else {
      return false
    }
    var status: UInt32 = 0
    let flags = GNUTLS_VERIFY_DISABLE_TIME_CHECKS.rawValue | GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS.rawValue
    guard gnutls_x509_crt_verify(certificate.raw, [issuer.raw], 1, flags, &status) >= 0 else { return false }
    return status == 0
  }

  func belongs(to key: CertificateKey) throws -> Bool { try key.identifier() == self.key }

  func handle() throws -> CertificateHandle {
    let certificate = try CertificateHandle()
    try check(
      withDatum(of: der) { gnutls_x509_crt_import(certificate.raw, $0, GNUTLS_X509_FMT_DER) }, "read the certificate")
    return certificate
  }

  var pem: String {
    get throws {
      let certificate = try handle()
      return try writtenText("write a certificate") {
        gnutls_x509_crt_export2(certificate.raw, GNUTLS_X509_FMT_PEM, $0)
      }
    }
  }
}
