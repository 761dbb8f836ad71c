import MeshRPC
import NIOCore
import NIOSSL

/// TLS for a channel; mutual where the paths name a certificate and its key.
public struct ClientTLS: ClientSecurity {
  /// How the server proves that it is the one that was meant.
  public enum ServerName: Sendable, Hashable {
    /// By the DNS name or address that was connected to.
    case endpoint
    /// By a DNS name, wherever it was found.
    case dns(String)
    /// By a URI name, wherever it was found.
    case uri(String)
  }

  public let credentials: Credentials
  private let serverName: ServerName

  /// Reads the files, and again when they change. Blocks on the disk.
  public init(
    _ paths: CertificatePaths, serverName: ServerName = .endpoint,
    report: @escaping @Sendable (CertificateEvent) -> Void = { _ in }
  ) throws(CertificateError) {
    guard (paths.certificate == nil) == (paths.key == nil) else {
      throw CertificateError("a certificate and its key come together, and one of them is missing")
    }
    credentials = try Credentials(paths, .client, report: report)
    self.serverName = serverName
  }

  /// The same files, another name.
  public func expecting(_ serverName: ServerName) -> ClientTLS { ClientTLS(credentials, serverName) }

  private init(_ credentials: Credentials, _ serverName: ServerName) {
    self.credentials = credentials
    self.serverName = serverName
  }

  public func secure(
    _ channel: any Channel, to endpoint: SocketEndpoint, within timeout: TimeAmount
  ) throws -> EventLoopFuture<Void> {
    let expected = expected(at: endpoint)
    let tls = try NIOSSLClientHandler(context: credentials.context, serverHostname: expected.indication)
    let promise = channel.eventLoop.makePromise(of: [String].self)
    let handshake = SecureHandshake(
      promise, behind: tls, within: timeout, words: TLSFailureWords(role: .client, paths: credentials.paths)
    ) { certificate in
      expected.objection(to: certificate)
    }
    try channel.pipeline.syncOperations.addHandlers([tls, handshake])
    return promise.futureResult.map { _ in }
  }

  private func expected(at endpoint: SocketEndpoint) -> ExpectedName {
    switch (serverName, endpoint) {
    case (.uri(let name), _): .uri(name)
    case (.dns(let name), _): .host(name)
    case (.endpoint, .tcp(let host, _)): .host(host)
    case (.endpoint, .unix): .host("localhost")
    }
  }
}

/// The name that a server's certificate must have.
private enum ExpectedName: Sendable {
  case host(String)
  case uri(String)

  /// For SNI (RFC 6066 §3), which knows no addresses.
  var indication: String? {
    guard case .host(let name) = self, address == nil, !name.isEmpty, name.utf8.count <= 255 else { return nil }
    return name
  }

  private var address: [UInt8]? {
    guard case .host(let name) = self, let address = try? SocketAddress(ipAddress: name, port: 0) else { return nil }
    switch address {
    case .v4(let address): return withUnsafeBytes(of: address.address.sin_addr) { Array($0) }
    case .v6(let address): return withUnsafeBytes(of: address.address.sin6_addr) { Array($0) }
    case .unixDomainSocket: return nil
    }
  }

  /// nil: the certificate has the name.
  func objection(to certificate: NIOSSLCertificate?) -> String? {
    guard let certificate else { return "the server showed no certificate" }
    switch self {
    case .uri(let name):
      if certificate.uriNames.contains(name) { return nil }
      return wrong(name, certificate.uriNames)
    case .host(let name):
      if let address {
        if certificate.ipAddresses.contains(address) { return nil }
      } else if certificate.dnsNames.contains(where: { matches(name, $0) }) {
        return nil
      }
      return wrong(name, certificate.dnsNames + certificate.ipAddresses.map(text) + certificate.uriNames)
    }
  }

  private func wrong(_ name: String, _ found: [String]) -> String {
    let found = found.isEmpty ? "has no such names" : "is for \(found.joined(separator: ", "))"
    return "the server should be \(name), and its certificate \(found): connect to the right one, or issue it a "
      + "certificate with that name"
  }

  /// RFC 6125 §6.4: letters of either case are the same, and `*` is a whole first label.
  private func matches(_ name: String, _ pattern: String) -> Bool {
    let name = name.lowercased().split(separator: ".", omittingEmptySubsequences: false)
    let pattern = pattern.lowercased().split(separator: ".", omittingEmptySubsequences: false)
    guard name.count == pattern.count, !name.isEmpty else { return false }
    if pattern[0] == "*" { return pattern.count > 2 && name.dropFirst() == pattern.dropFirst() }
    return name == pattern
  }

  private func text(_ address: [UInt8]) -> String {
    var packed = ByteBuffer(bytes: address)
    guard let bytes = packed.readBytes(length: packed.readableBytes),
      let address = try? SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0)
    else { return "\(address)" }
    return address.ipAddress ?? "\(address)"
  }
}
