import NIOCore
import NIOSSL
import Synchronization

/// A process's certificate, key and authorities, read again when their files change: connections that are open go on with
/// what they began with.
public final class Credentials: Sendable {
  public let paths: CertificatePaths
  private let role: Role
  private let report: @Sendable (CertificateEvent) -> Void
  private let current: Mutex<Current>

  enum Role: Sendable { case client, server }

  private struct Current {
    var loaded: LoadedCertificates
    /// Files that were tried last, whether or not they could be used.
    var tried: [FileState?]
  }

  /// Reads the files. Blocks on the disk.
  init(_ paths: CertificatePaths, _ role: Role, report: @escaping @Sendable (CertificateEvent) -> Void)
    throws(CertificateError)
  {
    self.paths = paths
    self.role = role
    self.report = report
    // Before they are read: a change in between is seen as one.
    let states = paths.fileStates
    current = Mutex(Current(loaded: try LoadedCertificates(paths, role), tried: states))
  }

  /// The URI names in the certificate.
  public var uriNames: [String] { current.withLock { $0.loaded.uriNames } }

  /// What a new connection uses. It looks at the files: three calls of stat(2) are little beside a handshake, need no clock,
  /// and the files are small and local.
  var context: NIOSSLContext {
    refresh()
    return current.withLock { $0.loaded.context }
  }

  /// Reads the files if they have changed. What cannot be used, or is half written, is told once and tried again when the
  /// files change again.
  public func refresh() {
    let event: CertificateEvent? = current.withLock { current in
      let states = paths.fileStates
      guard states != current.tried else { return nil }
      current.tried = states
      do throws(CertificateError) {
        current.loaded = try LoadedCertificates(paths, role)
        return .reloaded
      } catch {
        return .keptFormer(error)
      }
    }
    if let event { report(event) }
  }

  func refused(_ peer: String, _ reason: String) { report(.refused(peer: peer, reason: reason)) }
}

/// What was read at one time.
struct LoadedCertificates: Sendable {
  let context: NIOSSLContext
  let uriNames: [String]

  init(_ paths: CertificatePaths, _ role: Credentials.Role) throws(CertificateError) {
    let chain = try paths.certificate.map { path throws(CertificateError) in try certificates(path) } ?? []
    let key = try paths.key.map { path throws(CertificateError) in try privateKey(path) }
    let authorities = try paths.trustRoots.map { path throws(CertificateError) in try certificates(path) }
    uriNames = chain.first?.uriNames ?? []

    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.certificateChain = chain.map { .certificate($0) }
    configuration.privateKey = key.map { .privateKey($0) }
    configuration.trustRoots = authorities.map { .certificates($0) } ?? .default
    configuration.minimumTLSVersion = .tlsv12
    configuration.applicationProtocols = ["h2"]
    // HTTP/2 has said goodbye already, and nobody must wait for TLS's own (RFC 8446 §6.1): grpc-core never sends it.
    configuration.shutdownTimeout = .milliseconds(250)
    // A server's name is compared in `ClientTLS`, where a wrong one can be told with what was found.
    configuration.certificateVerification =
      role == .server && authorities == nil ? .none : .noHostnameVerification
    do {
      context = try NIOSSLContext(configuration: configuration)
    } catch NIOSSLError.failedToLoadPrivateKey {
      // Both were read well: BoringSSL found that they do not belong together.
      throw CertificateError(
        "\(paths.key ?? "") is not the key of the certificate in \(paths.certificate ?? ""): put the two that were made "
          + "together there")
    } catch {
      throw CertificateError("the certificate in \(paths.certificate ?? "") cannot be used: \(error)")
    }
  }
}

private func certificates(_ path: String) throws(CertificateError) -> [NIOSSLCertificate] {
  let bytes = try contents(of: path)
  guard let found = try? NIOSSLCertificate.fromPEMBytes(bytes), !found.isEmpty else {
    throw CertificateError("\(path) holds no certificate in PEM: it should begin with -----BEGIN CERTIFICATE-----")
  }
  return found
}

private func privateKey(_ path: String) throws(CertificateError) -> NIOSSLPrivateKey {
  let bytes = try contents(of: path)
  guard let key = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) else {
    throw CertificateError("\(path) holds no private key in PEM without a passphrase")
  }
  return key
}

extension NIOSSLCertificate {
  /// RFC 5280 §4.2.1.6.
  var uriNames: [String] { names(.uri) }
  var dnsNames: [String] { names(.dnsName) }

  private func names(_ type: _SubjectAlternativeName.NameType) -> [String] {
    _subjectAlternativeNames().filter { $0.nameType == type }.map { name in
      name.contents.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }
  }

  /// Addresses as their bytes, 4 or 16.
  var ipAddresses: [[UInt8]] {
    _subjectAlternativeNames().filter { $0.nameType == .ipAddress }.map { name in
      name.contents.withUnsafeBufferPointer { Array($0) }
    }
  }
}
