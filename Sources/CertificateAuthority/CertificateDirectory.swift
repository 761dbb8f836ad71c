import FoundationEssentials
import Glibc
import Identities

/// Where an authority is kept: `ca.pem`, which everybody may see, and `ca.key`, which makes anybody anyone.
public struct AuthorityDirectory: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  public var certificatePath: String { path + "/ca.pem" }
  public var keyPath: String { path + "/ca.key" }

  /// Makes the authority of a new cluster. One that is there already is never overwritten: all certificates that it issued
  /// would be worth nothing.
  public func create(cluster: String, days: Int) throws -> CertificateAuthority {
    for file in [keyPath, certificatePath] where access(file, F_OK) == 0 {
      throw IdentityError(
        "\(file) exists: an authority is made once for a cluster. Choose another --directory, or move it away")
    }
    let authority = try CertificateAuthority(cluster: cluster, days: days)
    try makeDirectory(path)
    try write(authority.keyPEM, to: keyPath, mode: 0o600)
    try write(authority.certificatePEM, to: certificatePath, mode: 0o644)
    return authority
  }

  public func authority() throws -> CertificateAuthority {
    guard access(certificatePath, F_OK) == 0 || errno != ENOENT else {
      throw IdentityError("\(path) holds no authority (no ca.pem): make one with `iov pki init`, or name it with --ca")
    }
    let certificate = try certificate(in: certificatePath)
    let pem = try text(of: keyPath)
    guard let key = try? CertificateKey(pem: pem) else {
      throw IdentityError("\(keyPath) holds no key in PEM: restore it from the copy that was kept safe")
    }
    do {
      return try CertificateAuthority(certificate: certificate, key: key)
    } catch {
      throw IdentityError("\(path): \(error)")
    }
  }
}

/// Where one process's certificate is: `certificate.pem`, `key.pem`, and the authority's `ca.pem`.
public struct CertificateDirectory: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  public var certificatePath: String { path + "/certificate.pem" }
  public var keyPath: String { path + "/key.pem" }
  public var authorityPath: String { path + "/ca.pem" }

  /// Issues a certificate into the directory. A key that is there stays, so that a renewal changes one file, in one step, under
  /// the feet of who uses it; so do a server's names, unless others are given. A certificate of somebody else is not
  /// overwritten.
  public func issue(
    _ identity: ClusterIdentity, by authority: CertificateAuthority, dnsNames: [String] = [],
    ipAddresses: [[UInt8]] = [], days: Int
  ) throws {
    try makeDirectory(path)
    let present = try present(of: identity)
    let keepsNames = dnsNames.isEmpty && ipAddresses.isEmpty
    let key = try existingKey() ?? newKey()
    let certificate = try authority.issue(
      identity, for: key, dnsNames: keepsNames ? present?.dnsNames ?? [] : dnsNames,
      ipAddresses: keepsNames ? present?.ipAddresses ?? [] : ipAddresses,
      notValidAfter: Date() + TimeInterval(days) * 86_400)
    try believe(authority)
    try write(certificate, to: certificatePath, mode: 0o644)
  }

  /// Adds the authority to those that are believed: while a cluster goes from one to another it believes both.
  private func believe(_ authority: CertificateAuthority) throws {
    let certificate = authority.certificatePEM
    let present = access(authorityPath, F_OK) == 0 ? try text(of: authorityPath) : ""
    guard !present.contains(certificate) else { return }
    try write(certificate + present, to: authorityPath, mode: 0o644)
  }

  /// The certificate that is there; throws if it is somebody else's.
  private func present(of identity: ClusterIdentity) throws -> IssuedCertificate? {
    guard access(certificatePath, F_OK) == 0 else { return nil }
    let present = try certificate(in: certificatePath)
    guard present.uris.contains("\(identity)") else {
      throw IdentityError(
        "\(certificatePath) is for \(present.uris.joined(separator: ", ")), not for \(identity): choose another --out")
    }
    return present
  }

  private func existingKey() throws -> CertificateKey? {
    guard access(keyPath, F_OK) == 0 else { return nil }
    let pem = try text(of: keyPath)
    guard let key = try? CertificateKey(pem: pem) else {
      throw IdentityError("\(keyPath) holds no key in PEM: move it away for a new one")
    }
    return key
  }

  private func newKey() throws -> CertificateKey {
    let key = try CertificateKey()
    try write(key.pem, to: keyPath, mode: 0o600)
    return key
  }
}

private func failure(_ what: String, _ path: String) -> IdentityError {
  IdentityError("cannot \(what) \(path): \(String(cString: strerror(errno)))")
}

private func makeDirectory(_ path: String) throws(IdentityError) {
  var made = ""
  for part in path.split(separator: "/", omittingEmptySubsequences: false) {
    made += made.isEmpty && part.isEmpty ? "/" : (made.isEmpty || made == "/" ? "" : "/") + part
    guard access(made, F_OK) != 0 else { continue }
    guard mkdir(made, 0o755) == 0 || errno == EEXIST else { throw failure("make the directory", made) }
  }
}

private func certificate(in path: String) throws -> IssuedCertificate {
  let pem = try text(of: path)
  guard let certificate = try? IssuedCertificate(pem: pem) else {
    throw IdentityError("\(path) holds no certificate in PEM, or a damaged one: move it away, or restore it")
  }
  return certificate
}

/// A file's text. Certificates and keys are small: what is larger is cut and then found to be none.
func text(of path: String) throws(IdentityError) -> String {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw failure("open", path) }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 16 << 10)
  while bytes.count < 1 << 20 {
    let count = read(descriptor, &chunk, chunk.count)
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { throw failure("read", path) }
    if count == 0 { break }
    bytes += chunk[..<count]
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// Replaces the file as a whole, durably; nobody sees it with other permissions or half of it.
private func write(_ text: String, to path: String, mode: mode_t) throws(IdentityError) {
  let new = "\(path).\(getpid()).new"
  unlink(new)
  let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
  guard descriptor >= 0 else { throw failure("make", new) }
  var bytes = Array(text.utf8)[...]
  var isWritten = true
  while !bytes.isEmpty, isWritten {
    let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    if count > 0 { bytes = bytes.dropFirst(count) } else { isWritten = count < 0 && errno == EINTR }
  }
  // The umask must not take from others what they may see.
  isWritten = isWritten && fchmod(descriptor, mode) == 0 && fsync(descriptor) == 0
  let error = errno
  close(descriptor)
  guard isWritten, rename(new, path) == 0 else {
    if !isWritten { errno = error }
    let failure = failure("write", path)
    unlink(new)
    throw failure
  }
}
