import Agent
import CertificateAuthority
import Glibc
import Identities
import LinuxDevices
import Quantities
import Services

/// What an agent's configuration asks of this host.
struct ConfigurationChecks: Sendable {
  let configuration: AgentConfiguration

  func run() -> [Check] {
    [certificateCheck()].compactMap { $0 } + pluginChecks() + mediationChecks() + [
      stateDirectoryCheck(configuration.stateDirectory), runtimeDirectoryCheck(configuration.runtimeDirectory),
    ]
  }

  private func pluginChecks() -> [Check] {
    guard !configuration.plugins.isEmpty else {
      return [
        .warn(
          "plugins", "none is configured", cost: "this host can neither offer nor use functions",
          advice: "name them under `plugins`")
      ]
    }
    let problems = configuration.problemsWithPlugins()
    guard problems.isEmpty else {
      return problems.map {
        .fail("plugins", $0, cost: "its device class is not there on this host", advice: "see above")
      }
    }
    return [.ok("plugins", configuration.plugins.map(\.name).joined(separator: ", "))]
  }

  // MARK: The certificate

  private static let soon: Int64 = 30

  /// Nil: none is needed, over a Unix socket.
  private func certificateCheck() -> Check? {
    let name = "certificate"
    let cost = "this host cannot join"
    if configuration.plainText {
      return .warn(
        name, "plainText is set: whoever answers at \(configuration.coordinator) is believed",
        cost: "whoever is on that network can act as the coordinator",
        advice: "use `tls`, with certificates of `iov pki`")
    }
    guard let tls = configuration.tls else { return nil }
    if let problem = configuration.problemWithCertificate() {
      return .fail(name, problem, cost: cost, advice: "see above")
    }
    guard let certificate = try? IssuedCertificate(pem: SmallFile.text(tls.certificate) ?? ""),
      let authorities = try? IssuedCertificate.all(pem: SmallFile.text(tls.trustRoots) ?? "")
    else {
      return .fail(name, "\(tls.certificate) holds no certificate", cost: cost, advice: "issue it again")
    }
    let description = CertificateDescription(path: tls.certificate, certificate: certificate, authorities: authorities)
    if let problem = description.problems.first {
      return .fail(
        name, "\(tls.certificate): \(problem)", cost: cost,
        advice: "iov pki issue agent \(configuration.host), with the cluster's authority")
    }
    var facts = stat()
    if stat(tls.key, &facts) == 0, facts.st_mode & 0o077 != 0 {
      return .warn(
        name, "\(tls.key) can be read by others", cost: "whoever has read it can be this host",
        advice: "chmod 600 \(tls.key), and issue a new one if others were on this machine")
    }
    let days = certificate.daysLeft(at: Timestamp.now().seconds)
    let found = "\(certificate.uris.joined(separator: ", ")), \(days) days left"
    guard days >= Self.soon else {
      return .warn(
        name, found, cost: "this host leaves the cluster when they are over, and its functions stay as they are",
        advice: "iov pki issue agent \(configuration.host) again, into the same directory")
    }
    return .ok(name, found)
  }

  // MARK: Mediation

  /// What a VXLAN packet needs around the function's own: Ethernet, IP, UDP, VXLAN.
  private static let overhead: UInt32 = 50
  private static let usualMTU: UInt32 = 1500
  private static let port: UInt16 = 4789

  private func mediationChecks() -> [Check] {
    guard let text = configuration.mediationAddress, let address = IPAddress(text) else {
      return [
        .warn(
          "mediation address", "none is configured", cost: "no function from or to other hosts",
          advice: "name an address of this host under `mediation.address`")
      ]
    }
    return [interfaceCheck(address), tunnelPortCheck(address), servingPortCheck(address)]
      + [peerCertificateCheck(address)].compactMap { $0 }
  }

  /// Whether other hosts believe this one when it serves disks to them, and admit it when it uses theirs. Nil: without TLS
  /// nobody looks, and a certificate that is of no use is told of above.
  private func peerCertificateCheck(_ address: IPAddress) -> Check? {
    let name = "certificate between hosts"
    guard let tls = configuration.tls, let identity = try? tls.client().identity,
      let facts = CertificateFacts(pem: SmallFile.text(tls.certificate) ?? "")
    else { return nil }
    let expected = configuration.peerSubject(in: identity.cluster).replacing("{host}", with: configuration.host)
    let command = "iov pki issue agent \(configuration.host) --ip \(address) again, into the same directory"
    if let subject = facts.subject, subject != expected {
      return .warn(
        name, "its subject is '\(subject)', and hosts are known by theirs: '\(expected)'",
        cost: "no disk from or to other hosts",
        advice: "\(command); or set `mediation.certificateSubject` if it is from an authority of your own")
    }
    guard facts.ipAddresses.contains(address.octets), facts.isForServers else {
      return .warn(
        name, "it does not have the mediation address \(address)",
        cost: "this host's disks cannot be used on other hosts", advice: command)
    }
    return .ok(name, "\(address), \(expected)")
  }

  private func interfaceCheck(_ address: IPAddress) -> Check {
    let name = "mediation address"
    let cost = "no function from or to other hosts"
    do {
      let netlink = try RouteNetlink(in: .current())
      guard let index = try netlink.interfaceIndex(carrying: address), let link = try netlink.link(index: index) else {
        return .fail(
          name, "no interface carries \(address)", cost: cost, advice: "add it to one, or correct `mediation.address`")
      }
      let found = "\(address) on \(link.name), MTU \(link.mtu)"
      guard link.mtu >= Self.usualMTU + Self.overhead else {
        return .warn(
          name, found, cost: "mediated Ethernet functions have an MTU of \(link.mtu - min(link.mtu, Self.overhead))",
          advice: "ip link set \(link.name) mtu \(Self.usualMTU + Self.overhead), or more, on the switch as well")
      }
      return .ok(name, found)
    } catch {
      return .fail(name, "\(error)", cost: cost, advice: "run as root")
    }
  }

  private func tunnelPortCheck(_ address: IPAddress) -> Check {
    let name = "UDP port \(Self.port)"
    switch SocketTrial.bind(address, Self.port, SOCK_DGRAM) {
    case 0: return .ok(name, "free on \(address)")
    case EADDRINUSE where SocketTrial.kernelHoldsUDP(Self.port): return .ok(name, "the kernel's VXLAN has it already")
    case let code:
      return .fail(
        name, "\(SystemCallError.reason(code)) on \(address)", cost: "no Ethernet function from or to other hosts",
        advice: code == EADDRINUSE
          ? "find who has it with `ss -ulnp`, or give every host's Ethernet plugin another `vxlanPort`"
          : "see the mediation address")
    }
  }

  private func servingPortCheck(_ address: IPAddress) -> Check {
    let name = "TCP ports for disks"
    let code = SocketTrial.bind(address, 0, SOCK_STREAM)
    guard code != 0 else { return .ok(name, "can be opened on \(address)") }
    return .fail(
      name, "\(SystemCallError.reason(code)) on \(address)", cost: "this host's disks cannot be used on others",
      advice: "see the mediation address")
  }

  // MARK: Directories

  /// File systems that forget at a reboot.
  private static let volatile: Set<String> = ["tmpfs", "ramfs", "devtmpfs"]
  private static let neededBytes: UInt64 = 64 << 20

  private func stateDirectoryCheck(_ path: String) -> Check {
    let name = "state directory"
    let cost = "the agent would not know after a restart who it is and what it has released"
    if let problem = writingProblem(path) {
      return .fail(name, problem, cost: cost, advice: "correct `stateDirectory`, or its permissions")
    }
    let existing = nearestExisting(path)
    if let kind = Self.fileSystem(of: existing), Self.volatile.contains(kind) {
      return .fail(
        name, "\(path) is on \(kind), which forgets at a reboot", cost: cost,
        advice: "choose a disk for `stateDirectory`")
    }
    var facts = statvfs()
    guard statvfs(existing, &facts) == 0 else {
      return .fail(
        name, "statvfs \(existing): \(SystemCallError.reason(errno))", cost: cost, advice: "see the system's log")
    }
    let free = UInt64(facts.f_bavail) * UInt64(facts.f_frsize)
    guard free >= Self.neededBytes else {
      return .warn(
        name, "\(path) has \(roundedByteCount(free)) left", cost: "a full disk stops the agent from taking on anything",
        advice: "make room there")
    }
    return .ok(name, "\(path), \(roundedByteCount(free)) free")
  }

  private func runtimeDirectoryCheck(_ path: String) -> Check {
    let name = "runtime directory"
    guard let problem = writingProblem(path) else { return .ok(name, path) }
    return .fail(
      name, problem, cost: "the agent cannot reach its plugins",
      advice: "correct `runtimeDirectory`, or its permissions")
  }

  /// Makes nothing: what is not there yet must be possible to make in the nearest directory that is.
  private func writingProblem(_ path: String) -> String? {
    let existing = nearestExisting(path)
    var facts = stat()
    guard stat(existing, &facts) == 0 else { return "stat \(existing): \(SystemCallError.reason(errno))" }
    guard facts.st_mode & S_IFMT == S_IFDIR else { return "\(existing) is no directory" }
    guard access(existing, W_OK | X_OK) == 0 else {
      return "\(existing) cannot be written: \(SystemCallError.reason(errno))"
    }
    return nil
  }

  /// The kind of file system, by the device of the file in /proc/self/mountinfo (proc(5)).
  private static func fileSystem(of path: String) -> String? {
    var facts = stat()
    guard stat(path, &facts) == 0 else { return nil }
    // As makedev(3) puts them together, for the numbers that there are.
    let major = (facts.st_dev >> 8) & 0xfff
    let minor = (facts.st_dev & 0xff) | ((facts.st_dev >> 12) & 0xfff00)
    for line in (SmallFile.text("/proc/self/mountinfo") ?? "").split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count > 2, fields[2] == "\(major):\(minor)", let end = fields.firstIndex(of: "-"),
        end + 1 < fields.count
      else { continue }
      return String(fields[end + 1])
    }
    return nil
  }

  private func nearestExisting(_ path: String) -> String {
    var path = path
    while access(path, F_OK) != 0, let end = path.lastIndex(of: "/"), end != path.startIndex {
      path = String(path[..<end])
    }
    return access(path, F_OK) == 0 ? path : "/"
  }
}

/// Sockets that are bound for a moment.
private enum SocketTrial {
  /// 0, or the errno.
  static func bind(_ address: IPAddress, _ port: UInt16, _ type: __socket_type) -> CInt {
    let family = address.isIPv4 ? AF_INET : AF_INET6
    let descriptor = socket(family, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    var storage = sockaddr_storage()
    let length = withUnsafeMutableBytes(of: &storage) { bytes in
      // struct sockaddr_in: family, port, address; sockaddr_in6 has the flow between the two.
      bytes.storeBytes(of: sa_family_t(family), toByteOffset: 0, as: sa_family_t.self)
      bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
      UnsafeMutableRawBufferPointer(rebasing: bytes[(address.isIPv4 ? 4 : 8)...]).copyBytes(from: address.octets)
      return address.isIPv4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
    }
    let result = withUnsafePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(descriptor, $0, socklen_t(length)) }
    }
    return result == 0 ? 0 : errno
  }

  /// A socket of the kernel's own, such as VXLAN's, has no inode in /proc/net/udp.
  static func kernelHoldsUDP(_ port: UInt16) -> Bool {
    ["/proc/net/udp", "/proc/net/udp6"].contains { path in
      (SmallFile.text(path) ?? "").split(separator: "\n").dropFirst().contains { line in
        let fields = line.split(separator: " ")
        guard fields.count > 9, let local = fields[1].split(separator: ":").last else { return false }
        return UInt16(local, radix: 16) == port && fields[9] == "0"
      }
    }
  }
}
