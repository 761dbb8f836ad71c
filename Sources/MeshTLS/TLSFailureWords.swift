import Glibc
import NIOSSL

/// Says why there is no TLS connection, to whoever must do something about it.
struct TLSFailureWords: Sendable {
  /// What this side is in the connection.
  let role: Credentials.Role
  let paths: CertificatePaths

  private var peer: String { role == .client ? "the server" : "the client" }
  private var ownCertificate: String { paths.certificate.map { "this side's certificate (\($0))" } ?? "this side" }
  private var authorities: String { paths.trustRoots ?? "the system's authorities" }

  func noHTTP2(_ found: String?) -> String {
    "\(peer) agreed to \(found.map { "'\($0)'" } ?? "no protocol") in the TLS handshake where HTTP/2 (ALPN 'h2') is "
      + "needed: is it a gRPC peer?"
  }

  var endOfStream: String {
    "\(peer) closed the connection in the TLS handshake: it may not speak TLS there, or have refused \(ownCertificate); its "
      + "log says which"
  }

  /// `certificate`: the peer's, as far as it is known.
  func reason(_ error: any Error, peer certificate: NIOSSLCertificate?) -> String {
    // BoringSSL's reasons are known by their names alone.
    let text = "\(error)"
    func says(_ words: String...) -> Bool { words.contains { text.contains($0) } }
    if says("CERTIFICATE_VERIFY_FAILED") { return refusal(of: certificate) }
    if says("PEER_DID_NOT_RETURN_A_CERTIFICATE") {
      return "the client showed no certificate: give it one that an authority in \(authorities) issued"
    }
    if says("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST") {
      return role == .client
        ? "the server answers in plain text where TLS was expected: connect without TLS, or have it listen with TLS"
        : "the client speaks plain text on a port with TLS: give it a certificate to connect with"
    }
    if says("EOF during handshake") { return endOfStream }
    if says("ALERT_CERTIFICATE_EXPIRED") {
      return "\(peer) refused \(ownCertificate) as expired: issue a new one, and compare the two clocks"
    }
    if says("ALERT_UNKNOWN_CA") {
      return "\(peer) does not know the authority that issued \(ownCertificate): use one of its cluster"
    }
    if says("ALERT_CERTIFICATE_REQUIRED") {
      return "\(peer) asks for a certificate, and this side has none: configure one that its cluster issued"
    }
    if says("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_UNSUPPORTED_CERTIFICATE") {
      return "\(peer) refused \(ownCertificate): see its log"
    }
    if says("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION") {
      return "\(peer) speaks no TLS version that is allowed here; at least 1.2 is"
    }
    return "the TLS connection failed: \(text)"
  }

  private func refusal(of certificate: NIOSSLCertificate?) -> String {
    guard let certificate else { return "\(peer)'s certificate is not valid" }
    let names = certificate.uriNames + certificate.dnsNames
    let subject = "\(peer)'s certificate" + (names.isEmpty ? "" : " for \(names.joined(separator: ", "))")
    let now = time(nil)
    if certificate.notValidAfter < now {
      return "\(subject) expired on \(day(certificate.notValidAfter)): issue a new one, and check this machine's clock"
    }
    if certificate.notValidBefore > now {
      return "\(subject) is not valid before \(day(certificate.notValidBefore)): check this machine's clock"
    }
    return
      "\(subject) was not issued by an authority in \(authorities), or not for this use: issue one there, or correct "
      + "the trust roots"
  }
}

/// A day in UTC, 2026-01-31.
func day(_ seconds: time_t) -> String {
  var seconds = seconds
  var parts = tm()
  gmtime_r(&seconds, &parts)
  func padded(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
  return "\(parts.tm_year + 1900)-\(padded(parts.tm_mon + 1))-\(padded(parts.tm_mday))"
}
