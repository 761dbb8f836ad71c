import CGnuTLS
import Identities

/// A key for a certificate.
public struct CertificateKey: Sendable {
  /// PKCS #8, not encrypted.
  public let pem: String

  /// A new one, on the curve P-256.
  public init() throws {
    let key = try KeyHandle()
    // GNUTLS_CURVE_TO_BITS is a macro with casts, which Swift does not see.
    let curve = 1 << 31 | GNUTLS_ECC_CURVE_SECP256R1.rawValue
    try check(gnutls_x509_privkey_generate(key.raw, GNUTLS_PK_ECDSA, curve, 0), "make a key")
    try self.init(key)
  }

  /// The one in a text: PKCS #8, or as older programs write keys.
  public init(pem: String) throws { try self.init(Self.read(pem)) }

  private init(_ key: borrowing KeyHandle) throws {
    pem = try writtenText("write the key") {
      gnutls_x509_privkey_export2_pkcs8(key.raw, GNUTLS_X509_FMT_PEM, nil, GNUTLS_PKCS_PLAIN.rawValue, $0)
    }
  }

  func handle() throws -> KeyHandle { try Self.read(pem) }

  /// SHA-256 of the public key that belongs to it.
  func identifier() throws -> [UInt8] {
    let key = try handle()
    return try keyIdentifier(gnutls_x509_privkey_get_key_id, of: key.raw, GNUTLS_KEYID_USE_SHA256)
  }

  private static func read(_ pem: String) throws -> KeyHandle {
    let key = try KeyHandle()
    try check(
      withDatum(of: Array(pem.utf8)) {
        gnutls_x509_privkey_import2(key.raw, $0, GNUTLS_X509_FMT_PEM, nil, GNUTLS_PKCS_PLAIN.rawValue)
      }, "read the key")
    return key
  }
}
