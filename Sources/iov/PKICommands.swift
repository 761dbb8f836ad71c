import ArgumentParser
import CertificateAuthority
import Glibc
import Identities
import LinuxDevices
import Services

struct PKICommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pki",
    abstract: "Make the cluster's authority and the certificates that say who someone is.",
    discussion: """
      Over TCP everybody shows a certificate. Its URI name says who it is: iov://CLUSTER/coordinator, \
      iov://CLUSTER/agent/HOST, iov://CLUSTER/operator/NAME. Make the authority once, on a machine that you trust, and \
      keep its directory there:

        iov pki init --cluster rack --directory /srv/iov-pki
        iov pki issue coordinator --ca /srv/iov-pki --out coordinator --dns iov.example.org --ip 10.77.0.1
        iov pki issue agent host-a --ca /srv/iov-pki --out host-a --ip 10.78.0.2
        iov pki issue operator alice --ca /srv/iov-pki --out alice
        iov pki show coordinator host-a alice

      A host's --ip is its mediation address: other hosts take its disks over TLS, and know it by that address. Each \
      directory goes to its owner's machine. To renew, issue again into the same directory: the key stays, and a \
      running daemon uses the new certificate from its next connection on.
      """,
    subcommands: [PKIInitCommand.self, PKIIssueCommand.self, PKIShowCommand.self])
}

/// Runs `body`; what goes wrong becomes a message and an exit code.
private func orRefuse(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let error as IdentityError {
    printToStandardError("iov: \(error)")
    throw ExitCode.refused
  }
}

struct PKIInitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make the authority of a new cluster: ca.pem and ca.key.",
    discussion: "Whoever has ca.key can be anybody in the cluster. It is never overwritten.")

  @Option(help: "The cluster's name: 1 to 63 lower-case letters, digits and hyphens.") var cluster: String
  @Option(help: "Where to put the authority.", completion: .directory) var directory = "pki"
  @Option(help: "For how many days the authority is good.") var days = 3650

  func validate() throws { try validateDays(days) }

  func run() async throws {
    try orRefuse {
      let place = AuthorityDirectory(directory)
      _ = try place.create(cluster: cluster, days: days)
      print("The authority of '\(cluster)' is in \(directory). Keep \(place.keyPath) secret, and a copy of it safe.")
    }
  }
}

struct PKIIssueCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "issue", abstract: "Issue or renew a certificate: certificate.pem, key.pem and ca.pem in a directory.")

  enum Role: String, ExpressibleByArgument, CaseIterable { case coordinator, agent, `operator`, tenant }

  @Argument(help: "What it is for: coordinator, agent, operator or tenant.") var role: Role
  @Argument(help: "The agent's host, or the operator's or tenant's name; none for the coordinator.") var name: String?
  @Option(help: "The authority's directory.", completion: .directory) var ca = "pki"
  @Option(help: "Where to put the certificate; a key that is there already stays.", completion: .directory)
  var out: String
  @Option(help: "For how many days the certificate is good.") var days = 365
  @Option(help: "A DNS name that clients find the coordinator by; may be repeated.") var dns: [String] = []
  @Option(
    help: ArgumentHelp(
      "An address that clients find the coordinator at, or an agent's mediation address; may be repeated.",
      discussion: "A renewal keeps the addresses and DNS names of before unless others are given."))
  var ip: [String] = []

  func validate() throws {
    try validateDays(days)
    guard (name == nil) == (role == .coordinator) else {
      throw ValidationError(
        role == .coordinator
          ? "the coordinator has no name: iov pki issue coordinator" : "say which: iov pki issue \(role.rawValue) NAME")
    }
    guard role == .coordinator || dns.isEmpty else {
      throw ValidationError("--dns is for the coordinator: nobody looks for an \(role.rawValue) by a DNS name")
    }
    guard role == .coordinator || role == .agent || ip.isEmpty else {
      throw ValidationError("--ip is for the coordinator and for agents: nobody connects to an \(role.rawValue)")
    }
  }

  func run() async throws {
    let addresses = try ip.map { text in
      guard let address = IPAddress(text) else { throw ValidationError("--ip '\(text)' is no address") }
      return address.octets
    }
    try orRefuse {
      let authority = try AuthorityDirectory(ca).authority()
      let identity = try ClusterIdentity(cluster: authority.cluster, role: identityRole)
      let place = CertificateDirectory(out)
      try place.issue(identity, by: authority, dnsNames: dns, ipAddresses: addresses, days: days)
      let certificate = try IssuedCertificate(pem: readText(place.certificatePath))
      print(
        "\(identity) is in \(out), good for \(certificate.daysLeft(at: Timestamp.now().seconds)) days. Keep \(place.keyPath) secret."
      )
    }
  }

  private var identityRole: ClusterIdentity.Role {
    switch role {
    case .coordinator: .coordinator
    case .agent: .agent(host: name ?? "")
    case .operator: .operator(name ?? "")
    case .tenant: .tenant(name ?? "")
    }
  }
}

struct PKIShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "What certificates say, and for how long they are good.",
    discussion: "Exit code 1: one of them has ended, is not good yet, or was not issued by the authority of --ca.")

  @Argument(help: "Certificates (PEM), or directories of `iov pki issue`.", completion: .file()) var paths: [String]
  @Option(help: "The authority's certificate, or its directory: checks that it issued them.", completion: .file())
  var ca: String?

  func run() async throws {
    try orRefuse {
      let authorities = try ca.map { try Self.certificates($0, in: "ca.pem") }
      var problems = 0
      for (index, path) in paths.enumerated() {
        if index > 0 { print("") }
        guard let certificate = try Self.certificates(path, in: "certificate.pem").first else { continue }
        let description = CertificateDescription(path: path, certificate: certificate, authorities: authorities)
        for line in description.lines { print(line) }
        problems += description.problems.count
      }
      if problems > 0 { throw ExitCode.needsAttention }
    }
  }

  /// At least one.
  private static func certificates(_ path: String, in name: String) throws -> [IssuedCertificate] {
    var names = [path]
    // An authority's own directory holds nothing but its certificate and key.
    if access(path + "/.", F_OK) == 0 { names = [path + "/" + name, path + "/ca.pem"] }
    let file = names.first { SmallFile.text($0) != nil } ?? names[0]
    let text = try readText(file)
    guard let found = try? IssuedCertificate.all(pem: text), !found.isEmpty else {
      throw IdentityError("\(file) holds no certificate in PEM")
    }
    return found
  }
}

private func readText(_ path: String) throws(IdentityError) -> String {
  do throws(SystemCallError) {
    return String(decoding: try SmallFile.read(path), as: UTF8.self)
  } catch {
    throw IdentityError("\(error)")
  }
}

private func validateDays(_ days: Int) throws {
  guard (1...36_500).contains(days) else { throw ValidationError("--days is \(days); it must be 1 to 36500") }
}
