import CertificateAuthority
import ClusterSecurity
import Foundation
import Identities
import MeshTLS
import Services
import Testing

@testable import Coordinator

/// Who may do what over TCP, with certificates and sockets as they are in a rack.
@Suite(.timeLimit(.minutes(1))) struct AccessTests {
  private struct Cluster {
    let directory: TemporaryDirectory
    let authority: CertificateAuthority

    init() throws {
      directory = try TemporaryDirectory()
      authority = try AuthorityDirectory(directory.file("pki")).create(cluster: "rack", days: 2)
    }

    func settings(_ role: ClusterIdentity.Role, cluster: String = "rack") throws -> TLSSettings {
      let place = CertificateDirectory(directory.file(UUID().uuidString))
      try place.issue(try ClusterIdentity(cluster: cluster, role: role), by: authority, days: 1)
      return TLSSettings(directory: place.path)
    }

    func coordinator() async throws -> TestCoordinator {
      let settings = try settings(.coordinator)
      return try await TestCoordinator(in: directory) { configuration in
        configuration.listen = [.tcp(host: "127.0.0.1", port: 0)]
        configuration.tls = settings
      }
    }

    func channel(_ coordinator: TestCoordinator, _ role: ClusterIdentity.Role) throws -> RPCChannel {
      RPCChannel(coordinator.endpoint, security: try settings(role).client().security)
    }
  }

  @Test func anAgentSpeaksForItsOwnHostAlone() async throws {
    let cluster = try Cluster()
    let coordinator = try await cluster.coordinator()
    let operations = try cluster.channel(coordinator, .operator("alice"))
    let agent = Task { try await FakeAgent.withCard.run(try cluster.channel(coordinator, .agent(host: "a"))) }
    let created = try await ClaimsClient(operations).createClaimWhenKnown(.ethernet("web", host: "a"))
    #expect(created.name == "web")
    #expect(try await ClaimsClient(operations).wait(for: "web", .ready).name == "web")

    let other = await rpcError { try await FakeAgent.withCard.run(try cluster.channel(coordinator, .agent(host: "b"))) }
    #expect(other?.code == .permissionDenied)
    #expect(other?.message.contains("says it is host 'a', and its certificate is for iov://rack/agent/b") == true)
    agent.cancel()
    _ = await agent.result
    try await coordinator.stop()
  }

  @Test func onlyAgentsHaveSessionsAndOnlyOperatorsOperate() async throws {
    let cluster = try Cluster()
    let coordinator = try await cluster.coordinator()
    let session = await rpcError { try await FakeAgent.withCard.run(try cluster.channel(coordinator, .operator("a"))) }
    #expect(session?.code == .permissionDenied)
    #expect(session?.message.contains("iov://rack/operator/a is no agent") == true)
    for role in [ClusterIdentity.Role.agent(host: "a"), .tenant("blue"), .coordinator] {
      let channel = try cluster.channel(coordinator, role)
      let create = await rpcError { _ = try await ClaimsClient(channel).createClaim(.ethernet("web")) }
      #expect(create?.code == .permissionDenied)
      #expect(create?.message.contains("takes an operator's certificate") == true)
      await channel.close()
    }
    // What a host's doctor asks.
    let agent = try cluster.channel(coordinator, .agent(host: "a"))
    #expect(try await !InventoryClient(agent).getCluster(GetClusterRequest()).id.isEmpty)
    await agent.close()
    try await coordinator.stop()
  }

  @Test func whatACertificateSaysOfAnotherClusterCountsForNothing() {
    let access = CallAccess(cluster: "rack")
    func code(_ path: String, _ names: [String]?) -> StatusCode? {
      do throws(RPCError) {
        try access.check(path, names)
        return nil
      } catch {
        return error.code
      }
    }
    let list = "/iov.v1.Claims/ListClaims"
    #expect(code(list, ["iov://rack/operator/a"]) == nil)
    #expect(code(list, ["iov://other/operator/a"]) == .permissionDenied)
    #expect(code(list, []) == .permissionDenied)
    #expect(code(list, ["https://example.org", "iov://rack/operator/a"]) == nil)
    #expect(code("/grpc.health.v1.Health/Check", ["iov://rack/tenant/a"]) == nil)
    #expect(code("/grpc.health.v1.Health/Check", ["iov://other/tenant/a"]) == .permissionDenied)
    // Unix sockets, and listeners that were asked to go without TLS.
    #expect(code(list, nil) == nil)
    #expect(throws: RPCError.self) { try access.checkHost("a", ["iov://other/agent/a"]) }
    #expect(throws: Never.self) { try access.checkHost("a", ["iov://rack/agent/a"]) }
  }

  @Test func nobodyListensInPlainTextByAnOversight() async throws {
    let directory = try TemporaryDirectory()
    await #expect(throws: (any Error).self) {
      _ = try await TestCoordinator(in: directory) { $0.listen = [.tcp(host: "127.0.0.1", port: 0)] }
    }
    let coordinator = try await TestCoordinator(in: directory) {
      $0.listen = [.tcp(host: "127.0.0.1", port: 0)]
      $0.plainText = true
    }
    #expect(try await !coordinator.inventory.getCluster(GetClusterRequest()).id.isEmpty)
    try await coordinator.stop()
  }
}

extension ClaimsClient {
  /// As soon as the claim's host has joined.
  fileprivate func createClaimWhenKnown(_ request: CreateClaimRequest) async throws -> Claim {
    while true {
      do {
        return try await createClaim(request)
      } catch let error as RPCError where error.code == .invalidArgument {
        await Task.yield()
      }
    }
  }
}
