import Glibc
import Identities
import LinuxDevices

/// This host's certificate, for what a plugin's functions carry to other hosts. Where the agent has one, that is TLS with
/// certificates on both sides, without exception.
///
/// The files may be replaced at any time; look at them anew for each connection, by these paths.
public struct PluginTLS: Sendable, Hashable {
  /// PEM files.
  public let certificate: String
  public let key: String
  public let trustRoots: String
  /// The subject of each host's certificate, with `{host}` in the place of its name.
  let peerSubject: String

  public static let hostPlaceholder = "{host}"

  /// Public so that a plugin's tests can make one without an agent.
  public init(certificate: String, key: String, trustRoots: String, peerSubject: String) {
    self.certificate = certificate
    self.key = key
    self.trustRoots = trustRoots
    self.peerSubject = peerSubject
  }

  /// By which a host's certificate is known, as GnuTLS writes it: `O=iovmesh,OU=rack,OU=agent,CN=host-a`.
  public func subject(ofHost name: String) -> String {
    var (text, rest) = ("", peerSubject[...])
    while let place = rest.firstRange(of: Self.hostPlaceholder) {
      text += rest[..<place.lowerBound] + name
      rest = rest[place.upperBound...]
    }
    return text + rest
  }

  /// What keeps other hosts from believing this one: what was found, what to do; nil: nothing that the files tell. Blocks on
  /// the disk.
  ///
  /// - Parameters:
  ///   - host: This host's name.
  ///   - address: Where it is a server to other hosts; nil: it is a client.
  ///   - now: Seconds since 1970.
  public func problem(host: String, servingAt address: String? = nil, now: Int64) -> String? {
    problemWithKey ?? problemWithTrustRoots ?? problemWithCertificate(host: host, servingAt: address, now: now)
  }

  private var problemWithKey: String? {
    contents(of: key, "key") { text in
      if text.contains("-----BEGIN ENCRYPTED ") {
        return "this host's key \(key) has a passphrase, and there is nobody to ask: replace it by one without"
      }
      guard text.contains("PRIVATE KEY-----") else {
        return "\(key) holds no private key in PEM: put this host's there"
      }
      return nil
    }
  }

  private var problemWithTrustRoots: String? {
    contents(of: trustRoots, "trust roots") { text in
      guard CertificateFacts(pem: text) != nil else {
        return "\(trustRoots) holds no certificate in PEM: put those of the authorities there that are to be believed"
      }
      return nil
    }
  }

  private func problemWithCertificate(host: String, servingAt address: String?, now: Int64) -> String? {
    let command = "iov pki issue agent \(host)"
    return contents(of: certificate, "certificate") { text in
      guard let facts = CertificateFacts(pem: text) else {
        return "\(certificate) holds no certificate in PEM: put this host's there (\(command))"
      }
      if facts.notValidAfter < now {
        return "this host's certificate \(certificate) ended on \(day(facts.notValidAfter)): issue it again "
          + "(\(command)), and check this machine's clock"
      }
      if facts.notValidBefore > now {
        return "this host's certificate \(certificate) is not valid before \(day(facts.notValidBefore)): check this "
          + "machine's clock"
      }
      if let subject = facts.subject, subject != self.subject(ofHost: host) {
        return "this host's certificate \(certificate) has the subject '\(subject)', and other hosts know \(host) by "
          + "'\(self.subject(ofHost: host))': issue it again (\(command)), or, if it is from an authority of your own, have "
          + "`mediation.certificateSubject` in each agent's configuration say what hosts' subjects are like"
      }
      guard let address else { return nil }
      guard let octets = IPAddress(address)?.octets, facts.ipAddresses.contains(octets), facts.isForServers else {
        let found = facts.ipAddresses.compactMap { IPAddress(octets: $0)?.description }.joined(separator: ", ")
        return
          "other hosts know this one as a server by its address \(address), and its certificate \(certificate) has "
          + (found.isEmpty ? "none" : found) + (facts.isForServers ? "" : " and is not for servers")
          + ": issue it again, with \(command) --ip \(address)"
      }
      return nil
    }
  }

  private func contents(of path: String, _ what: String, _ check: (String) -> String?) -> String? {
    do {
      return check(String(decoding: try SmallFile.read(path), as: UTF8.self))
    } catch {
      return "this host's \(what) \(path) cannot be read: \(String(cString: strerror(error.errno))). Put it there, or "
        + "correct `tls` in the agent's configuration"
    }
  }
}

/// In UTC, 2026-01-31.
private func day(_ seconds: Int64) -> String {
  var seconds = time_t(seconds)
  var parts = tm()
  gmtime_r(&seconds, &parts)
  func padded(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
  return "\(parts.tm_year + 1900)-\(padded(parts.tm_mon + 1))-\(padded(parts.tm_mday))"
}
