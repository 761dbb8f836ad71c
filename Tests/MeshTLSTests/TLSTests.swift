import CertificateAuthority
import ClusterSecurity
import FoundationEssentials
import Identities
import MeshRPC
import MeshTLS
import NIOCore
import NIOPosix
import Testing

@Suite struct TLSTests {
  @Test func callsPassAndTheHandlerKnowsWhoCalls() async throws {
    let cluster = try TestCluster()
    try await withSecureServer(cluster) { endpoint, _ in
      for (role, name) in [
        (ClusterIdentity.Role.agent(host: "host-a"), "iov://rack/agent/host-a"),
        (.operator("alice"), "iov://rack/operator/alice"),
      ] {
        let channel = RPCChannel(endpoint, security: try cluster.client(role))
        #expect(try await channel.unary(whoAmI, Text("who?")).name == "https \(name)")
        await channel.close()
      }
    }
  }

  @Test func largeMessagesPassBothWays() async throws {
    let cluster = try TestCluster()
    try await withSecureServer(cluster) { endpoint, _ in
      let channel = RPCChannel(endpoint, security: try cluster.client(.operator("a")))
      let text = String(repeating: "x", count: 3 << 20)
      #expect(try await channel.unary(echo, Text(text)).name == text)
      await channel.close()
    }
  }

  // MARK: Who is turned away, and what it is told

  @Test func aClientWithoutACertificateIsToldToGetOne() async throws {
    let cluster = try TestCluster()
    try await withSecureServer(cluster) { endpoint, events in
      let security = try ClientTLS(
        CertificatePaths(certificate: nil, key: nil, trustRoots: cluster.directory.file("ca.pem")),
        serverName: .uri("iov://rack/coordinator"))
      let error = await refusal(endpoint, security)
      #expect(error.contains("asks for a certificate"))
      #expect(await events.first { $0.contains("showed no certificate") } != nil)
    }
  }

  @Test func aClientOfAnotherAuthorityIsTurnedAway() async throws {
    let cluster = try TestCluster()
    let other = try TestCluster()
    try await withSecureServer(cluster) { endpoint, events in
      var settings = TLSSettings(directory: try other.files(.operator("eve")))
      settings.trustRoots = cluster.directory.file("ca.pem")
      let security = try settings.client().security
      #expect(await refusal(endpoint, security).contains("does not know the authority"))
      #expect(await events.first { $0.contains("iov://rack/operator/eve was not issued by") } != nil)
    }
  }

  @Test func aClientDoesNotBelieveAServerOfAnotherAuthority() async throws {
    let cluster = try TestCluster()
    let other = try TestCluster()
    try await withSecureServer(cluster) { endpoint, _ in
      let error = await refusal(endpoint, try other.client(.operator("a")))
      #expect(error.contains("the server's certificate for iov://rack/coordinator, localhost was not issued by"))
    }
  }

  @Test func expiredCertificatesAreNamedAsSuchOnBothSides() async throws {
    let cluster = try TestCluster()
    let late = try cluster.files(.operator("late"), validFor: -86_400)
    try await withSecureServer(cluster) { endpoint, events in
      let error = await refusal(endpoint, try TLSSettings(directory: late).client().security)
      #expect(error.contains("refused this side's certificate (\(late)/certificate.pem) as expired"))
      #expect(await events.first { $0.contains("iov://rack/operator/late expired on ") } != nil)
    }
    let server = try cluster.files(.coordinator, validFor: -86_400)
    try await withSecureServer(cluster, certificate: server) { endpoint, _ in
      let error = await refusal(endpoint, try cluster.client(.operator("a")))
      #expect(error.contains("the server's certificate for iov://rack/coordinator, localhost expired on "))
    }
  }

  @Test func aServerWithAnotherNameIsNotTheOneThatWasMeant() async throws {
    let cluster = try TestCluster()
    // Whoever else the authority knows cannot stand in for the coordinator.
    let imposter = try cluster.files(.agent(host: "host-a"))
    try await withSecureServer(cluster, certificate: imposter) { endpoint, _ in
      let error = await refusal(endpoint, try cluster.client(.operator("a")))
      #expect(error.contains("iov://rack/agent/host-a was not issued by an authority in"))
      #expect(error.contains("or not for this use"))
    }
    try await withSecureServer(cluster) { endpoint, _ in
      let paths = try cluster.paths(.operator("a"))
      #expect(
        await refusal(endpoint, try ClientTLS(paths, serverName: .uri("iov://other/coordinator"))).contains(
          "the server should be iov://other/coordinator, and its certificate is for iov://rack/coordinator"))
      #expect(
        await refusal(endpoint, try ClientTLS(paths, serverName: .dns("mesh.example.org"))).contains(
          "the server should be mesh.example.org, and its certificate is for localhost, 127.0.0.1"))
      for name in [ClientTLS.ServerName.endpoint, .dns("LOCALHOST"), .uri("iov://rack/coordinator")] {
        let channel = RPCChannel(endpoint, security: try ClientTLS(paths, serverName: name))
        #expect(try await channel.unary(echo, Text("x")).name == "x")
        await channel.close()
      }
    }
  }

  @Test func plainTextOnATLSPortIsExplainedToBoth() async throws {
    let cluster = try TestCluster()
    try await withSecureServer(cluster) { endpoint, events in
      #expect(await refusal(endpoint, nil).contains("speaks TLS"))
      #expect(await events.first { $0.contains("speaks plain text on a port with TLS") } != nil)
    }
  }

  @Test func tlsOnAPlainPortIsExplained() async throws {
    let cluster = try TestCluster()
    try await withServing { server in
      let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
      let error = await refusal(endpoint, try cluster.client(.operator("a")))
      #expect(error.contains("answers in plain text where TLS was expected"))
    }
  }

  @Test func aPeerThatSaysNothingDoesNotKeepItsConnection() async throws {
    let cluster = try TestCluster()
    var limits = ServerLimits()
    limits.handshakeTimeout = .milliseconds(50)
    try await withSecureServer(cluster, limits: limits) { endpoint, events in
      let bytes = try await RawConnection(endpoint).bytesUntilClosed()
      #expect(bytes.isEmpty)
      #expect(await events.first { $0.contains("the TLS handshake was not over within 50 ms") } != nil)
    }
  }

  @Test func aServerThatSaysNothingIsGivenUp() async throws {
    let cluster = try TestCluster()
    let silent = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(
      host: "127.0.0.1", port: 0
    )
    .get()
    var limits = ChannelLimits()
    limits.handshakeTimeout = .milliseconds(50)
    let channel = RPCChannel(
      .tcp(host: "127.0.0.1", port: silent.localAddress?.port ?? 0), security: try cluster.client(.operator("a")),
      limits: limits)
    let error = await rpcError { _ = try await channel.unary(echo, Text("x")) }
    #expect(error?.message.contains("the TLS handshake was not over within 50 ms") == true)
    await channel.close()
    try await silent.close()
  }

  // MARK: Changed files

  @Test func newConnectionsSeeTheNewCertificateAndOldOnesGoOn() async throws {
    let cluster = try TestCluster()
    let files = try cluster.files(.coordinator)
    try await withSecureServer(cluster, certificate: files) { endpoint, events in
      let old = RPCChannel(endpoint, security: try cluster.client(.operator("a")))
      #expect(try await old.unary(echo, Text("1")).name == "1")

      // An ended certificate is one whose use can be seen.
      try cluster.issue(.coordinator, into: files, validFor: -86_400)
      #expect(await refusal(endpoint, try cluster.client(.operator("a"))).contains("expired on "))
      #expect(await events.first { $0.contains("the changed certificate files are in use") } != nil)
      #expect(try await old.unary(echo, Text("2")).name == "2")

      try cluster.issue(.coordinator, into: files, validFor: 86_400)
      let new = RPCChannel(endpoint, security: try cluster.client(.operator("a")))
      #expect(try await new.unary(echo, Text("3")).name == "3")
      #expect(try await old.unary(echo, Text("4")).name == "4")
      await old.close()
      await new.close()
    }
  }

  @Test(arguments: ["", "-----BEGIN CERTIFICATE-----\nAAAA", "no certificate"])
  func aBrokenFileLeavesTheFormerCertificateInUse(_ text: String) async throws {
    let cluster = try TestCluster()
    let files = try cluster.files(.coordinator)
    try await withSecureServer(cluster, certificate: files) { endpoint, events in
      try text.write(toFile: files + "/certificate.pem", atomically: true, encoding: .utf8)
      let channel = RPCChannel(endpoint, security: try cluster.client(.operator("a")))
      #expect(try await channel.unary(echo, Text("x")).name == "x")
      #expect(await events.first { $0.contains("cannot be used, the former ones stay") } != nil)
      await channel.close()
    }
  }

  @Test func aClientUsesItsRenewedCertificate() async throws {
    let cluster = try TestCluster()
    let files = try cluster.files(.operator("a"), validFor: -86_400)
    let security = try TLSSettings(directory: files).client().security
    try await withSecureServer(cluster) { endpoint, _ in
      #expect(await refusal(endpoint, security).contains("as expired"))
      try cluster.issue(.operator("a"), into: files, validFor: 86_400)
      let channel = RPCChannel(endpoint, security: security)
      #expect(try await channel.unary(echo, Text("x")).name == "x")
      await channel.close()
    }
  }

  // MARK: Files that are of no use

  @Test func filesThatAreOfNoUseAreExplained() throws {
    let cluster = try TestCluster()
    let files = try cluster.files(.coordinator)
    func problem(_ change: (inout TLSSettings) -> Void) -> String {
      var settings = TLSSettings(directory: files)
      change(&settings)
      do {
        _ = try settings.server()
        return ""
      } catch {
        return "\(error)"
      }
    }
    #expect(problem { _ in } == "")
    #expect(problem { $0.key = "/nowhere/key.pem" } == "cannot open /nowhere/key.pem: No such file or directory")
    #expect(problem { $0.key = $0.certificate }.contains("holds no private key in PEM"))
    #expect(problem { $0.certificate = $0.key }.contains("holds no certificate in PEM"))
    let other = TLSSettings(directory: try cluster.files(.operator("a")))
    #expect(problem { $0.key = other.key }.contains("is not the key of the certificate in"))
    #expect(problem { $0 = other }.contains("agents look for iov://rack/coordinator"))
  }
}
