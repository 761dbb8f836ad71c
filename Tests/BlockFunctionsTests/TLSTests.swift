import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct TLSTests {
  /// host-c has the disk, host-a uses a function of it; both are this machine.
  private struct Rack {
    let disk: TestDisk
    let server: BlockPlugin<SATADisks>
    let consumer: BlockPlugin<SATADisks>
    let served: FunctionRequest

    init(server tls: PluginTLS?, consumer: PluginTLS?, consumerHost: String = "host-a") async throws {
      disk = try TestDisk()
      server = try await disk.plugin(host: "host-c", tls: tls)
      self.consumer = try await disk.plugin(host: consumerHost, tls: consumer)
      served = try await disk.request(.server, on: server)
      _ = try await server.create(served)
    }

    func consumerRequest() async throws -> FunctionRequest {
      try await disk.request(.consumer, on: server, serverPort: try await server.serve(served).serverPort)
    }

    /// The message with which the consumer's claim waits. Nothing has come of it there.
    func refusal() async throws -> String {
      let request = try await consumerRequest()
      let error = try await #require(throws: PluginError.self) { try await consumer.connect(request) }
      #expect(error.code == .unavailable)
      #expect(consumer.networkDisk(try FunctionPlan(request)).isAbsent)
      return error.message
    }

    func end() async throws {
      _ = try await server.unserve(served)
      _ = try await server.destroy(served)
      #expect(disk.leftovers() == [])
    }
  }

  @Test func aMediatedDiskGoesOverTLS() async throws {
    let certificates = try TestCertificates()
    let rack = try await Rack(
      server: try certificates.issue("host-c"), consumer: try certificates.issue("host-a", addresses: []))
    let request = try await rack.consumerRequest()
    let connected = try await rack.consumer.connect(request)
    #expect(connected.arrival?.uri.hasPrefix("nbds://127.0.0.1:") == true)
    #expect(try await rack.consumer.connect(request) == connected)
    #expect(try await rack.consumer.observe().contains(connected))
    let device = try #require(connected.arrival?.devicePath)
    let data = randomBytes(1 << 20)
    try await write(data, to: device, at: 1 << 20)
    #expect(try await read(rack.disk.loop.path, at: 1 << 20, count: 1 << 20) == data)
    _ = try await rack.server.unserve(rack.served)
    _ = try await rack.consumer.disconnect(request)
    try await rack.end()
  }

  @Test func aClientWithoutTLSIsRefused() async throws {
    let certificates = try TestCertificates()
    let rack = try await Rack(server: try certificates.issue("host-c"), consumer: nil)
    let refusal = try await rack.refusal()
    #expect(refusal.contains("host-c gives its disks away over TLS alone"), "\(refusal)")
    #expect(refusal.contains("iov pki issue agent host-a"))
    try await rack.end()
  }

  @Test func aServerWithoutTLSIsRefused() async throws {
    let certificates = try TestCertificates()
    let rack = try await Rack(server: nil, consumer: try certificates.issue("host-a"))
    let refusal = try await rack.refusal()
    #expect(refusal.contains("host-c offers its disk in plain text"), "\(refusal)")
    #expect(refusal.contains("iov pki issue agent host-c --ip 127.0.0.1"))
    try await rack.end()
  }

  /// Of the same cluster and from the right address, and still not the host whose disk it is.
  @Test func aPeerWithAnotherHostsCertificateIsRefused() async throws {
    let certificates = try TestCertificates()
    let rack = try await Rack(
      server: try certificates.issue("host-c"), consumer: try certificates.issue("host-b"), consumerHost: "host-b")
    let refusal = try await rack.refusal()
    #expect(refusal.contains("host-c closed the connection when it had seen this host's certificate"), "\(refusal)")
    let daemon = rack.server.daemon(try FunctionPlan(rack.served))
    #expect(daemon.directory.text("daemon.log")?.contains("O=iovmesh,OU=rack,OU=agent,CN=host-b is denied") == true)
    try await rack.end()
  }

  @Test func aPeerOfAnotherAuthorityIsRefused() async throws {
    let (certificates, others) = (try TestCertificates(), try TestCertificates())
    let rack = try await Rack(
      server: try certificates.issue("host-c"), consumer: try certificates.issue("host-a", by: others))
    #expect(try await rack.refusal().contains("host-c closed the connection"))
    try await rack.end()
  }

  /// A server that the consumer does not believe: its daemon is one of another cluster's.
  @Test func aServerOfAnotherAuthorityIsRefused() async throws {
    let (certificates, others) = (try TestCertificates(), try TestCertificates())
    let rack = try await Rack(server: try others.issue("host-c"), consumer: try certificates.issue("host-a"))
    let refusal = try await rack.refusal()
    #expect(refusal.contains("host-c's certificate was refused"), "\(refusal)")
    #expect(refusal.contains("iov pki issue agent host-c --ip 127.0.0.1"))
    try await rack.end()
  }

  enum Fault: String, CaseIterable, Sendable {
    case noAddress =
      "its certificate @ has none and is not for servers: issue it again, with iov pki issue agent host-c --ip 127.0.0.1"
    case otherAddress = "its certificate @ has 10.0.0.1: issue it again"
    case ended = "this host's certificate @ ended on "
    case othersName = "has the subject 'O=iovmesh,OU=rack,OU=agent,CN=host-b', and other hosts know host-c by"
    case noCertificate = "certificate.pem cannot be read: No such file or directory"
    case noKey = "key.pem cannot be read: No such file or directory"
    case brokenKey = "key.pem holds no private key in PEM"
    case othersKey = "do not match"
    case noAuthority = "ca.pem holds no certificate in PEM"
    case otherAuthority = "known issuer"
  }

  @Test(arguments: Fault.allCases)
  func aServerThatNobodyWouldBelieveServesNobody(_ fault: Fault) async throws {
    let certificates = try TestCertificates()
    let tls = try certificates.issue("host-c")
    let rack = try await Rack(server: tls, consumer: nil)
    switch fault {
    case .noAddress: try certificates.issue("host-c", addresses: [])
    case .otherAddress: try certificates.issue("host-c", addresses: [[10, 0, 0, 1]])
    case .ended: try certificates.issue("host-c", days: -1)
    case .othersName: try certificates.issue("host-c", as: "host-b")
    case .noCertificate: unlink(tls.certificate)
    case .noKey: unlink(tls.key)
    case .brokenKey: try SmallFile.replace(tls.key, with: Array("nonsense".utf8), durably: false)
    case .othersKey: try SmallFile.replace(tls.key, with: SmallFile.read(certificates.issue("x").key), durably: false)
    case .noAuthority: try SmallFile.replace(tls.trustRoots, with: [], durably: false)
    case .otherAuthority:
      let others = try TestCertificates()
      try SmallFile.replace(tls.trustRoots, with: SmallFile.read(others.issue("x").trustRoots), durably: false)
    }
    let error = try await #require(throws: PluginError.self) { try await rack.server.serve(rack.served) }
    #expect(error.message.contains(fault.rawValue.replacing("@", with: tls.certificate)), "\(error)")
    #expect(try await rack.server.observe().map(\.phase) == [.created])
    // Mended, it serves.
    unlink(tls.key)
    try certificates.issue("host-c")
    #expect(try await rack.server.serve(rack.served).phase == .inUse)
    try await rack.end()
  }

  @Test func aConsumersOwnCertificateIsLookedAtBeforeItIsShown() async throws {
    let certificates = try TestCertificates()
    let rack = try await Rack(server: try certificates.issue("host-c"), consumer: try certificates.issue("host-a"))
    try certificates.issue("host-a", days: -1)
    let refusal = try await rack.refusal()
    #expect(refusal.contains("ended on ") && refusal.contains("iov pki issue agent host-a"), "\(refusal)")
    try await rack.end()
  }

  /// With an authority of the operator's own, subjects are the operator's: a setting says what they are like.
  @Test func certificatesOfAnotherKindAreKnownByTheSetting() async throws {
    let certificates = try TestCertificates(cluster: "elsewhere")
    let (server, consumer) = (try certificates.issue("host-c"), try certificates.issue("host-a"))
    func expecting(_ subject: String, _ tls: PluginTLS) -> PluginTLS {
      PluginTLS(certificate: tls.certificate, key: tls.key, trustRoots: tls.trustRoots, peerSubject: subject)
    }
    let other = "O=Example,CN={host}"
    let refused = try await Rack(server: expecting(other, server), consumer: consumer)
    let error = try await #require(throws: PluginError.self) { try await refused.consumerRequest() }
    #expect(error.message.contains("mediation.certificateSubject"), "\(error)")
    try await refused.end()

    let own = "O=iovmesh,OU=elsewhere,OU=agent,CN={host}"
    let rack = try await Rack(server: expecting(own, server), consumer: expecting(own, consumer))
    let request = try await rack.consumerRequest()
    #expect(try await rack.consumer.connect(request).phase == .inUse)
    _ = try await rack.consumer.disconnect(request)
    try await rack.end()
  }

  @Test func renewedCertificatesAreUsedByTheNextConnectionAndDisturbNobody() async throws {
    let certificates = try TestCertificates()
    let rack = try await Rack(server: try certificates.issue("host-c"), consumer: try certificates.issue("host-a"))
    let request = try await rack.consumerRequest()
    let connected = try await rack.consumer.connect(request)
    let device = try #require(connected.arrival?.devicePath)
    let daemon = rack.server.daemon(try FunctionPlan(rack.served))
    let former = try #require(daemon.process?.identity)

    // Both go to another authority at once, as nobody does: whoever uses the former files now is refused.
    let next = try TestCertificates()
    for host in ["host-c", "host-a"] {
      let (old, new) = (try certificates.issue(host), try next.issue(host))
      for (from, to) in [
        (new.certificate, old.certificate), (new.key, old.key), (new.trustRoots, old.trustRoots),
      ] {
        try SmallFile.replace(to, with: SmallFile.read(from), durably: false)
      }
    }
    #expect(try await rack.server.observe().first { $0.role == .server }?.phase == .inUse)
    #expect(try await rack.server.serve(rack.served).phase == .inUse)
    #expect(daemon.process?.identity == former)
    let data = randomBytes(4096)
    try await write(data, to: device)
    #expect(try await read(rack.disk.loop.path, count: 4096) == data)

    _ = try await rack.consumer.disconnect(request)
    // The daemon hears of it in its own time.
    while try await rack.server.observe().first(where: { $0.role == .server })?.phase == .inUse {
      try await Task.sleep(for: .milliseconds(5))
    }
    let again = try await rack.consumerRequest()
    #expect(again == request, "the consumer finds it where it was")
    #expect(daemon.process?.identity != former)
    #expect(try await rack.consumer.connect(again).phase == .inUse)
    #expect(try await rack.server.observe().first { $0.role == .server }?.phase == .inUse)
    _ = try await rack.consumer.disconnect(again)
    try await rack.end()
  }

  @Test func filesThatAreOfNoUseLeaveTheFormerOnesInUse() async throws {
    let certificates = try TestCertificates()
    let tls = try certificates.issue("host-c")
    let rack = try await Rack(server: tls, consumer: nil)
    _ = try await rack.server.serve(rack.served)
    try SmallFile.replace(tls.certificate, with: Array("half".utf8), durably: false)
    #expect(try await rack.server.observe().map(\.phase) == [.inUse])
    #expect(try await rack.server.serve(rack.served).phase == .inUse)
    try await rack.end()
  }

  /// An agent that gets a certificate takes no disk away; what is connected afterwards is secured.
  @Test func aDiskInUseStaysWhenTLSIsSwitchedOn() async throws {
    let rack = try await Rack(server: nil, consumer: nil)
    let request = try await rack.consumerRequest()
    let connected = try await rack.consumer.connect(request)
    let certificates = try TestCertificates()
    let server = try await rack.disk.plugin(host: "host-c", tls: try certificates.issue("host-c"))
    let consumer = try await rack.disk.plugin(host: "host-a", tls: try certificates.issue("host-a"))
    #expect(try await server.serve(rack.served).phase == .inUse)
    #expect(try await consumer.connect(request) == connected)
    _ = try await consumer.disconnect(request)
    while try await server.observe().first(where: { $0.role == .server })?.phase == .inUse {
      try await Task.sleep(for: .milliseconds(5))
    }
    #expect(try await server.serve(rack.served).serverPort == request.assignment?.mediation?.serverPort)
    #expect(try await consumer.connect(request).arrival?.uri.hasPrefix("nbds://") == true)
    _ = try await consumer.disconnect(request)
    try await rack.end()
  }
}
