import CGnuTLS
import Glibc
import Identities

/// GnuTLS's certificate, while one is made or read. It lives to the end of the scope of the variable that has it: one that no
/// variable has is gone before GnuTLS sees what `raw` says.
struct CertificateHandle: ~Copyable {
  let raw: gnutls_x509_crt_t

  init() throws {
    var made: gnutls_x509_crt_t?
    try check(gnutls_x509_crt_init(&made), "make a certificate")
    guard let made else { throw failure(GNUTLS_E_MEMORY_ERROR, "make a certificate") }
    raw = made
  }

  deinit { gnutls_x509_crt_deinit(raw) }
}

/// GnuTLS's private key, while it is used.
struct KeyHandle: ~Copyable {
  let raw: gnutls_x509_privkey_t

  init() throws {
    var made: gnutls_x509_privkey_t?
    try check(gnutls_x509_privkey_init(&made), "make a key")
    guard let made else { throw failure(GNUTLS_E_MEMORY_ERROR, "make a key") }
    raw = made
  }

  deinit { gnutls_x509_privkey_deinit(raw) }
}

func check(_ code: CInt, _ action: String) throws {
  guard code >= 0 else { throw failure(code, action) }
}

func failure(_ code: CInt, _ action: String) -> IdentityError {
  IdentityError("cannot \(action): \(gnutls_strerror(code).map { String(cString: $0) } ?? "GnuTLS's error \(code)")")
}

/// Bytes as GnuTLS takes them; it changes none.
func withDatum<Result>(of bytes: [UInt8], _ body: (UnsafePointer<gnutls_datum_t>) -> Result) -> Result {
  bytes.withUnsafeBufferPointer { bytes in
    var datum = gnutls_datum_t(data: UnsafeMutablePointer(mutating: bytes.baseAddress), size: UInt32(bytes.count))
    return body(&datum)
  }
}

/// What GnuTLS writes into memory that it allocates with `malloc`.
func written(_ action: String, _ write: (UnsafeMutablePointer<gnutls_datum_t>) -> CInt) throws -> [UInt8] {
  var datum = gnutls_datum_t()
  try check(write(&datum), action)
  defer { free(datum.data) }
  return Array(UnsafeBufferPointer(start: datum.data, count: Int(datum.size)))
}

/// - Parameter nothing: the answer if there is no such thing; nil: that is an error as others are.
func writtenText(
  _ action: String, or nothing: String? = nil, _ write: (UnsafeMutablePointer<gnutls_datum_t>) -> CInt
) throws -> String {
  var code: CInt = 0
  do {
    return String(
      decoding: try written(action) {
        code = write($0)
        return code
      }, as: UTF8.self)
  } catch {
    guard let nothing, code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE else { throw error }
    return nothing
  }
}

/// What GnuTLS writes into a buffer, of which it says how large it has to be; nil: there is no such thing.
func filled(
  _ action: String, _ fill: (UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>) -> CInt
) throws -> [UInt8]? {
  var (buffer, size) = ([UInt8](repeating: 0, count: 64), 64)
  var code = fill(&buffer, &size)
  if code == GNUTLS_E_SHORT_MEMORY_BUFFER {
    // It counts the zero after a text before there is room for it, and does not afterwards.
    size += 1
    buffer = [UInt8](repeating: 0, count: size)
    code = fill(&buffer, &size)
  }
  guard code != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE else { return nil }
  try check(code, action)
  return Array(buffer[..<size])
}

/// A hash of the public key of a certificate or of a private key, by `gnutls_x509_crt_get_key_id` or `..._privkey_...`.
func keyIdentifier(
  _ get: (OpaquePointer, UInt32, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<Int>) -> CInt,
  of raw: OpaquePointer,
  _ hash: gnutls_keyid_flags_t
) throws -> [UInt8] {
  try filled("hash a key") { get(raw, hash.rawValue, $0?.assumingMemoryBound(to: UInt8.self), $1) } ?? []
}
