import CGnuTLS
import FoundationEssentials
import Identities

/// A certificate that is being made (RFC 5280). What is said of it goes into it in the order in which it is said.
struct CertificateDraft: ~Copyable {
  enum NamePart: String {
    case organization = "2.5.4.10"
    case unit = "2.5.4.11"
    case commonName = "2.5.4.3"
  }

  private let certificate: CertificateHandle

  init(key: CertificateKey, notValidBefore: Date, notValidAfter: Date) throws {
    certificate = try Self.begun(key, seconds(notValidBefore), seconds(notValidAfter))
  }

  private static func begun(_ key: CertificateKey, _ start: Int, _ end: Int) throws -> CertificateHandle {
    let certificate = try CertificateHandle()
    try check(gnutls_x509_crt_set_version(certificate.raw, 3), "make a certificate")
    // Nobody guesses it, and it is positive and not zero in at most 20 bytes (section 4.1.2.2).
    let serial = [UInt8.random(in: 1...0x7f)] + (1..<20).map { _ in UInt8.random(in: 0...255) }
    try check(gnutls_x509_crt_set_serial(certificate.raw, serial, serial.count), "set a serial number")
    try check(gnutls_x509_crt_set_activation_time(certificate.raw, start), "set a beginning")
    try check(gnutls_x509_crt_set_expiration_time(certificate.raw, end), "set an end")
    let key = try key.handle()
    try check(gnutls_x509_crt_set_key(certificate.raw, key.raw), "set the key")
    return certificate
  }

  mutating func name(_ parts: [(part: NamePart, text: String)]) throws {
    for (part, text) in parts {
      try check(
        gnutls_x509_crt_set_dn_by_oid(certificate.raw, part.rawValue, 0, text, UInt32(text.utf8.count)),
        "name somebody '\(text)'")
    }
  }

  /// An authority over those whom it names, and over no other authority.
  mutating func mayIssue() throws {
    try check(gnutls_x509_crt_set_basic_constraints(certificate.raw, 1, 0), "name an authority")
    let usage = UInt32(GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN)
    try check(gnutls_x509_crt_set_key_usage(certificate.raw, usage), "set a key's use")
  }

  mutating func mayConnect(asServer: Bool) throws {
    try check(gnutls_x509_crt_set_basic_constraints(certificate.raw, 0, -1), "name no authority")
    // Not critical, as gnutls_x509_crt_set_key_usage has it: QEMU's storage daemon of 10.0 refuses a critical one without
    // key encipherment, for which an elliptic key is not to be used (RFC 5480, section 3).
    let usage = try written("write a key's use") {
      gnutls_x509_ext_export_key_usage(UInt32(GNUTLS_KEY_DIGITAL_SIGNATURE), $0)
    }
    try check(
      gnutls_x509_crt_set_extension_by_oid(certificate.raw, "2.5.29.15", usage, usage.count, 0), "set a key's use")
    for purpose in (asServer ? [GNUTLS_KP_TLS_WWW_SERVER] : []) + [GNUTLS_KP_TLS_WWW_CLIENT] {
      try check(gnutls_x509_crt_set_key_purpose_oid(certificate.raw, purpose, 0), "set a certificate's use")
    }
  }

  mutating func add(uri: String) throws { try add(GNUTLS_SAN_URI, Array(uri.utf8), "the name \(uri)") }
  mutating func add(dnsName: String) throws {
    try add(GNUTLS_SAN_DNSNAME, Array(dnsName.utf8), "the DNS name '\(dnsName)'")
  }
  mutating func add(ipAddress: [UInt8]) throws { try add(GNUTLS_SAN_IPADDRESS, ipAddress, "an address") }

  private func add(_ kind: gnutls_x509_subject_alt_name_t, _ value: [UInt8], _ what: String) throws {
    try check(
      gnutls_x509_crt_set_subject_alt_name(
        certificate.raw, kind, value, UInt32(value.count), UInt32(GNUTLS_FSAN_APPEND)), "add \(what)")
  }

  /// The certificate, issued by the authority, or by itself.
  func signed(by authority: IssuedCertificate?, _ authorityKey: CertificateKey) throws -> IssuedCertificate {
    let identifier = try keyIdentifier(gnutls_x509_crt_get_key_id, of: certificate.raw, GNUTLS_KEYID_USE_SHA1)
    try certificate.set(gnutls_x509_crt_set_subject_key_id, identifier)
    let key = try authorityKey.handle()
    guard let authority else {
      try check(gnutls_x509_crt_sign2(certificate.raw, certificate.raw, key.raw, GNUTLS_DIG_SHA256, 0), "sign it")
      return try IssuedCertificate(certificate.raw)
    }
    let issuer = try authority.handle()
    let known = try filled("read the authority's key") {
      gnutls_x509_crt_get_subject_key_id(issuer.raw, $0, $1, nil)
    }
    try certificate.set(gnutls_x509_crt_set_authority_key_id, known)
    try check(gnutls_x509_crt_sign2(certificate.raw, issuer.raw, key.raw, GNUTLS_DIG_SHA256, 0), "sign it")
    return try IssuedCertificate(certificate.raw)
  }
}

extension CertificateHandle {
  /// Says by which name a key is known, if it has one.
  fileprivate borrowing func set(
    _ setIdentifier: (gnutls_x509_crt_t, UnsafeRawPointer?, Int) -> CInt, _ identifier: [UInt8]?
  ) throws {
    guard let identifier else { return }
    try check(setIdentifier(raw, identifier, identifier.count), "name a key")
  }
}

private func seconds(_ date: Date) -> Int { Int(date.timeIntervalSince1970) }
