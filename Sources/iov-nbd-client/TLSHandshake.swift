import CGnuTLS
import Glibc
import LinuxDevices

/// The kernel cannot do what it would take; another way is needed.
struct KernelLacks: Error, CustomStringConvertible {
  let description: String
}

/// TLS's handshake with both sides' certificates, made by GnuTLS, as the server makes it; then the kernel goes on with its keys.
struct TLSHandshake: Sendable {
  /// With ca-cert.pem, client-cert.pem and client-key.pem.
  let directory: String
  /// Which the server's certificate has to have.
  let address: String

  /// Nothing but data may come once the kernel reads: it takes a key update for an error, and GnuTLS sends one after 2²⁴ records of
  /// AES under TLS 1.3. There is none in TLS 1.2, which has the same AES-GCM. (ChaCha20 needs no update under TLS 1.3 either, but
  /// moves half as much; see cluster/benchmarks.md.)
  private static let priority =
    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA"

  func secure(_ socket: CInt) throws {
    var credentials: gnutls_certificate_credentials_t?
    try check(gnutls_certificate_allocate_credentials(&credentials), "credentials")
    defer { gnutls_certificate_free_credentials(credentials) }
    let authorities = gnutls_certificate_set_x509_trust_file(
      credentials, directory + "/ca-cert.pem", GNUTLS_X509_FMT_PEM)
    guard authorities > 0 else { throw failure(authorities, "\(directory)/ca-cert.pem") }
    try check(
      gnutls_certificate_set_x509_key_file(
        credentials, directory + "/client-cert.pem", directory + "/client-key.pem", GNUTLS_X509_FMT_PEM),
      "\(directory)/client-cert.pem and client-key.pem")

    var session: gnutls_session_t?
    try check(gnutls_init(&session, UInt32(GNUTLS_CLIENT)), "a session")
    defer { gnutls_deinit(session) }
    guard let session else { throw failure(GNUTLS_E_MEMORY_ERROR, "a session") }
    try check(gnutls_priority_set_direct(session, Self.priority, nil), "the ciphers")
    try check(
      gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(credentials)), "credentials")
    // Until the handshake is over it keeps the pointer.
    try address.withCString { address in
      gnutls_session_set_verify_cert(session, address, 0)
      gnutls_transport_set_int2(session, socket, socket)
      var result: CInt
      repeat { result = gnutls_handshake(session) } while result < 0 && gnutls_error_is_fatal(result) == 0
      try check(result, "gnutls_handshake")
    }
    try handOver(session, socket)
  }

  private func handOver(_ session: gnutls_session_t, _ socket: CInt) throws {
    let (receiving, sending) = (try keys(of: session, receiving: true), try keys(of: session, receiving: false))
    do {
      try KernelTLS.begin(on: socket, receiving: receiving, sending: sending)
    } catch {
      throw KernelLacks(description: "\(error)")
    }
  }

  private func keys(of session: gnutls_session_t, receiving: Bool) throws -> KernelTLS.Keys {
    var (macKey, nonce, key) = (gnutls_datum_t(), gnutls_datum_t(), gnutls_datum_t())
    var sequence = [UInt8](repeating: 0, count: 8)
    try check(
      gnutls_record_get_state(session, receiving ? 1 : 0, &macKey, &nonce, &key, &sequence), "the session's keys")
    let cipher: KernelTLS.Cipher? =
      switch gnutls_cipher_get(session) {
      case GNUTLS_CIPHER_AES_128_GCM: .aes128GCM
      case GNUTLS_CIPHER_AES_256_GCM: .aes256GCM
      default: nil
      }
    guard let cipher else { throw KernelLacks(description: "the kernel's TLS has no such cipher as was agreed on") }
    return KernelTLS.Keys(cipher: cipher, key: Self.bytes(key), salt: Self.bytes(nonce), sequence: sequence)
  }

  private static func bytes(_ datum: gnutls_datum_t) -> [UInt8] {
    Array(UnsafeBufferPointer(start: datum.data, count: Int(datum.size)))
  }

  private func check(_ result: CInt, _ what: String) throws {
    guard result >= 0 else { throw failure(result, what) }
  }

  private func failure(_ code: CInt, _ what: String) -> NegotiationError {
    NegotiationError("\(what): \(gnutls_strerror(code).map { String(cString: $0) } ?? "error \(code)")")
  }
}
