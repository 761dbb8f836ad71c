import CertificateAuthority
import ClusterSecurity
import Foundation
import Identities
import LinuxDevices
import Logging
import Services

/// Many hosts in this process.
final class SwarmFleet: Sendable {
  let agents: [SwarmAgent]

  /// - Parameter directory: for what the hosts keep; gone with whoever made it.
  init(
    hosts: Int, cards: Int, functionsEach: Int, coordinator: SocketEndpoint, directory: String,
    certificates: SwarmCertificates? = nil
  ) throws {
    let storage = BlockingThread(name: "hosts' disks")
    let unused = VirtualFunctionsClient(RPCChannel(.unix(path: directory + "/unused")))
    let logger = Logger(label: "swarm") { _ in SwiftLogNoOpLogHandler() }
    agents = try (0..<hosts).map { host in
      let devices = SwarmDevices(host: host, cards: cards, functionsEach: functionsEach)
      let certificate = try certificates?.directory(ofHost: "host-\(host)")
      let security = try certificate.map { try TLSSettings(directory: $0).client().security }
      return try SwarmAgent(
        devices, coordinator: coordinator, security: security, directory: directory, storage: storage, unused: unused,
        logger: logger)
    }
  }

  /// Runs all hosts beside `body`, and ends them after it.
  func whileRunning(_ body: () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for agent in agents { group.addTask { try await agent.run() } }
      defer { group.cancelAll() }
      try await body()
    }
  }

  /// Functions that hosts have taken from those who used them.
  var cuts: Int { agents.reduce(0) { $0 + $1.cuts } }

  /// Returns when every host has a session, and with it a lease.
  func welcomed(within limit: Duration) async throws {
    let deadline = ContinuousClock.now + limit
    while !agents.allSatisfy(\.hasSession) {
      try check(deadline, "\(agents.count { !$0.hasSession }) hosts have no session")
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// Returns when every host has a session in which it has said all, and the coordinator has taken that: all hosts are connected,
  /// and it has heard of every function that is granted.
  func settled(_ channel: RPCChannel, within limit: Duration) async throws {
    let deadline = ContinuousClock.now + limit
    while !agents.allSatisfy(\.hasReported) {
      try check(deadline, "\(agents.count { !$0.hasReported }) hosts have no session, or have not reported in it")
      try await Task.sleep(for: .milliseconds(20))
    }
    let inventory = InventoryClient(channel)
    while true {
      let hosts = try await inventory.listHosts(ListHostsRequest()).hosts
      let functions = try await inventory.listFunctions(ListFunctionsRequest()).functions
      let away = hosts.count { $0.state != .connected }
      let unknown = functions.count { !$0.reports.contains { $0.status?.phase == .inUse } }
      if hosts.count == agents.count, away == 0, unknown == 0 { return }
      try check(
        deadline, "of \(hosts.count) hosts \(away) are away, and of \(functions.count) functions \(unknown) unknown")
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  private func check(_ deadline: ContinuousClock.Instant, _ found: String) throws {
    guard ContinuousClock.now < deadline else {
      throw RPCError(.deadlineExceeded, "the swarm of \(agents.count) did not settle: \(found)")
    }
  }
}

/// A cluster's authority, and a certificate for the coordinator and each host.
struct SwarmCertificates {
  private let authority: CertificateAuthority
  private let path: String

  init(in directory: String) throws {
    authority = try CertificateAuthority(cluster: "swarm", days: 1)
    path = directory + "/pki"
  }

  func coordinatorDirectory() throws -> String { try directory("coordinator", .coordinator) }
  func directory(ofHost host: String) throws -> String { try directory(host, .agent(host: host)) }

  private func directory(_ name: String, _ role: ClusterIdentity.Role) throws -> String {
    let directory = CertificateDirectory(path + "/" + name)
    try directory.issue(ClusterIdentity(cluster: authority.cluster, role: role), by: authority, days: 1)
    return directory.path
  }
}

/// A directory that is gone with it.
final class ScratchDirectory: Sendable {
  let path: String

  init(in parent: String) throws {
    path = parent + "/iov-bench-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
