import FunctionPluginKit
import Glibc
import LinuxDevices

/// How a function that another host has, or has from here, is secured. QEMU and libnbd look for files of fixed names in one
/// directory: links in the function's own, so that a new connection uses what is there by then.
struct DiskTLS: Sendable {
  enum Side: String, Sendable {
    case server, client
  }

  /// Nil: the agent has no certificate, and nothing is secured.
  let tls: PluginTLS?
  let host: String

  /// Throws when this host would not be believed by others.
  ///
  /// - Parameter address: Where it serves; nil: it is a client.
  func check(servingAt address: String? = nil) throws(PluginError) {
    if let problem = problem(servingAt: address) { throw PluginError(.unavailable, problem) }
  }

  private func problem(servingAt address: String?) -> String? {
    tls?.problem(host: host, servingAt: address, now: Int64(time(nil)))
      .map { "disks go between hosts over TLS, but " + $0 + "." }
  }

  func link(_ side: Side, in directory: FunctionDirectory) throws {
    guard let tls else { return }
    var links = [
      ("ca-cert.pem", tls.trustRoots), ("\(side)-cert.pem", tls.certificate), ("\(side)-key.pem", tls.key),
    ]
    // Where libnbd looks, .pki/libnbd, is this directory, too.
    if side == .client { links += [(".pki", "."), ("libnbd", ".")] }
    for (name, target) in links {
      try SmallFile.remove(directory.file(name))
      guard symlink(target, directory.file(name)) == 0 else {
        throw SystemCallError("link \(directory.file(name))", errno: errno)
      }
    }
    if side == .server { try directory.write("dh-params.pem", Self.ffdhe3072) }
  }

  /// The group ffdhe3072 of RFC 7919. Where there is none QEMU 7.2 searches for one at each start, for 0.5 to 2 s of a
  /// core (measured), and not even uses it with TLS 1.3 or elliptic curves.
  private static let ffdhe3072 = """
    -----BEGIN DH PARAMETERS-----
    MIIBiAKCAYEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
    +8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
    87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
    YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
    7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
    ssbzSibBsu/6iGtCOGEfz9zeNVs7ZRkDW7w09N75nAI4YbRvydbmyQd62R0mkff3
    7lmMsPrBhtkcrv4TCYUTknC0EwyTvEN5RPT9RFLi103TZPLiHnH1S/9croKrnJ32
    nuhtK8UiNjoNq8Uhl5sN6todv5pC1cRITgq80Gv6U93vPBsg7j/VnXwl5B0rZsYu
    N///////////AgEC
    -----END DH PARAMETERS-----

    """

  // MARK: nbdfuse

  /// Changes the user and the rights of a program before it starts it.
  static let rightsChanger = "setpriv"
  /// An account that nobody has: numbers from 2³¹ − 2¹⁶ are given to none, not to containers either.
  private static let user = "2147418112"

  /// How nbdfuse is started. It does not take the certificates' place from a URI (libnbd 1.14 leaves that to each program,
  /// and nbdfuse does not), and libnbd looks in one place for all programs of root's, for others' below their home directory.
  /// So it is another user, at home in the function's directory, with the rights that it takes to mount and to read there.
  func client(
    _ program: String, _ arguments: [String], in directory: FunctionDirectory, environment: inout [String: String]
  ) -> (executable: String, arguments: [String]) {
    guard tls != nil else { return (program, arguments) }
    environment["HOME"] = directory.path
    let rights = "-all,+sys_admin,+dac_override"
    let change = [
      "--reuid", Self.user, "--regid", Self.user, "--clear-groups", "--inh-caps", rights, "--ambient-caps", rights,
      "--bounding-set", rights,
      // access(2) would otherwise say what the user can read without the rights.
      "--securebits", "+no_setuid_fixup",
    ]
    return (
      Self.rightsChanger, change + [ChildProcess.path(of: program) ?? program, "-o", "allow_other"] + arguments
    )
  }

  // MARK: Renewal

  /// Tells one version of the files from the next.
  private var version: String {
    guard let tls else { return "plain" }
    return [tls.certificate, tls.key, tls.trustRoots].map { path in
      var facts = stat()
      guard stat(path, &facts) == 0 else { return "-" }
      return "\(facts.st_dev):\(facts.st_ino):\(facts.st_size):\(facts.st_mtim.tv_sec):\(facts.st_mtim.tv_nsec)"
    }.joined(separator: " ")
  }

  private static let record = "certificates"

  /// Before a daemon reads them: a change in between is seen as one.
  func writeDown(in directory: FunctionDirectory) throws {
    try directory.write(Self.record, version)
  }

  /// Whether a daemon that is started now would use other files than the one that was written down, and could. Files that
  /// are of no use, or half written, leave the former ones in use.
  func isRenewed(since directory: FunctionDirectory, servingAt address: String) -> Bool {
    directory.text(Self.record) != version && problem(servingAt: address) == nil
  }

  // MARK: What went wrong

  /// What nbdfuse wrote, for whoever must do something about it; nil: nothing that has to do with TLS.
  func explanation(of log: String, server: String, at address: String) -> String? {
    func says(_ words: String...) -> Bool { words.contains { log.contains($0) } }
    guard let tls else {
      guard says("server requires TLS") else { return nil }
      return "\(server) gives its disks away over TLS alone, and this host's agent has no certificate: issue it one "
        + "(iov pki issue agent \(host)) and name its files under `tls` in the agent's configuration."
    }
    if says("server refused TLS", "server does not support TLS") {
      return
        "\(server) offers its disk in plain text, and this host takes disks over TLS alone: give \(server)'s agent a "
        + "certificate (iov pki issue agent \(server) --ip \(address)) and name its files under `tls` in its configuration."
    }
    if says("certificate verification", "certificate is not trusted") {
      return
        "\(server)'s certificate was refused: either it does not have the address \(address), or it has ended, or it "
        + "was not issued by an authority in \(tls.trustRoots), or another host answered. On \(server), iov pki show says "
        + "which; iov pki issue agent \(server) --ip \(address) makes a good one."
    }
    if says("do not match", "does not match") {
      return
        "\(tls.key) is not the key of the certificate in \(tls.certificate): put the two that were made together there."
    }
    if says("non-properly terminated", "fatal alert", "record_recv", "gnutls_handshake") {
      return
        "\(server) closed the connection when it had seen this host's certificate \(tls.certificate): it admits one "
        + "with the subject '\(tls.subject(ofHost: host))' by an authority that it believes, and no other. The daemon.log of "
        + "the function on \(server) says what it found; iov pki issue agent \(host) makes a good one."
    }
    return nil
  }
}
