import ArgumentParser
import MeshTLS

/// Certificates; PEM files.
struct TLSFlags: ParsableArguments {
  @Option(name: .customLong("use_tls"), help: "Whether connections go through TLS.") var usesTLS = false
  @Option(
    name: .customLong("ca_file"),
    help: "The authorities that are believed. A server with them asks its clients for certificates (mutual TLS).")
  var authorities: String?
  @Option(name: .customLong("tls_cert_file"), help: "The certificate to show.") var certificate: String?
  @Option(name: .customLong("tls_key_file"), help: "Its key.") var key: String?

  func validate() throws {
    let names = [authorities, certificate, key].compactMap { $0 }
    guard usesTLS || names.isEmpty else { throw ValidationError("certificates are of no use without --use_tls=true") }
  }

  var paths: CertificatePaths { CertificatePaths(certificate: certificate, key: key, trustRoots: authorities) }
}
