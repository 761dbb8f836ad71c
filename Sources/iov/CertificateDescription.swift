import CertificateAuthority
import LinuxDevices
import Services

/// A certificate, told to people.
struct CertificateDescription {
  let path: String
  let certificate: IssuedCertificate
  /// Those that may have issued it; nil: that is not checked.
  let authorities: [IssuedCertificate]?

  var lines: [String] {
    let addresses = certificate.ipAddresses.compactMap { IPAddress(octets: $0)?.description }
    var rows = [
      ["\(path)", certificate.isAuthority ? "an authority" : "a certificate"],
      ["  Identity", certificate.uris.isEmpty ? "none" : certificate.uris.joined(separator: ", ")],
      ["  Subject", certificate.subject],
      ["  Issuer", certificate.issuer],
      ["  Valid", "\(Self.day(certificate.notValidBefore)) to \(Self.day(certificate.notValidAfter)), \(daysLeft)"],
    ]
    if !certificate.dnsNames.isEmpty { rows.append(["  DNS names", certificate.dnsNames.joined(separator: ", ")]) }
    if !addresses.isEmpty { rows.append(["  Addresses", addresses.joined(separator: ", ")]) }
    rows.append(["  Fingerprint", "SHA-256 \(certificate.fingerprint)"])
    if authorities != nil, problems.isEmpty { rows.append(["  Chain", "issued by the authority"]) }
    rows += problems.map { ["  PROBLEM", $0] }
    return table(rows)
  }

  var problems: [String] {
    var problems: [String] = []
    if certificate.notValidAfter < now {
      problems.append("it ended on \(Self.day(certificate.notValidAfter)): issue it again")
    }
    if certificate.notValidBefore > now {
      problems.append("it is not valid before \(Self.day(certificate.notValidBefore)): check this machine's clock")
    }
    if let authorities, !authorities.contains(where: certificate.isIssued) {
      problems.append("it was not issued by this authority, but by \(certificate.issuer)")
    }
    return problems
  }

  private let now = Timestamp.now().seconds

  init(path: String, certificate: IssuedCertificate, authorities: [IssuedCertificate]?) {
    self.path = path
    self.certificate = certificate
    self.authorities = authorities
  }

  private var daysLeft: String {
    let days = certificate.daysLeft(at: now)
    return days < 0 ? "ended" : "\(days) days left"
  }

  private static func day(_ seconds: Int64) -> String {
    String("\(Timestamp(seconds: seconds))".prefix(10))
  }
}

extension IssuedCertificate {
  /// Whole days from `now` (seconds since 1970) to the end; negative: it has ended.
  func daysLeft(at now: Int64) -> Int64 {
    let left = notValidAfter - now
    return left < 0 ? -1 : left / 86_400
  }
}
