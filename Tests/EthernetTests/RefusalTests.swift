import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_ethernet

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(1)))
struct RefusalTests {
  struct Refusal: Sendable, CustomTestStringConvertible {
    var role: Role
    var code: StatusCode
    var says: String
    var change: @Sendable (inout Assignment) -> Void
    var testDescription: String { says }

    init(_ role: Role, _ code: StatusCode, _ says: String, _ change: @escaping @Sendable (inout Assignment) -> Void) {
      self.role = role
      self.code = code
      self.says = says
      self.change = change
    }
  }

  static let refusals = [
    Refusal(.direct, .notFound, "no network namespace 'nowhere'") {
      $0.consumer?.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = "nowhere" })
    },
    Refusal(.consumer, .notFound, "no network namespace 'nowhere'") {
      $0.consumer?.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = "nowhere" })
    },
    Refusal(.direct, .invalidArgument, "cannot name a network namespace") {
      $0.consumer?.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = "../etc" })
    },
    Refusal(.direct, .invalidArgument, "cannot name an interface") { $0.consumer?.interfaceName = "a/b" },
    Refusal(.direct, .invalidArgument, "cannot name an interface") { $0.consumer?.interfaceName = "0123456789abcdef" },
    Refusal(.direct, .alreadyExists, "already has an interface lo") { $0.consumer?.interfaceName = "lo" },
    Refusal(.consumer, .alreadyExists, "already has an interface lo") { $0.consumer?.interfaceName = "lo" },
    Refusal(.direct, .invalidArgument, "is not unicast") { $0.attributes?.ethernet?.macAddress = "03:00:00:00:00:01" },
    Refusal(.direct, .invalidArgument, "is no MAC address") { $0.attributes?.ethernet?.macAddress = "card" },
    Refusal(.direct, .invalidArgument, "card0 carries 68 to 1500") { $0.attributes?.ethernet?.mtu = 1501 },
    Refusal(.direct, .invalidArgument, "card0 carries 68 to 1500") { $0.attributes?.ethernet?.mtu = 60 },
    Refusal(.server, .failedPrecondition, "ask for at most 1550") { $0.attributes?.ethernet?.mtu = 1551 },
    Refusal(.direct, .invalidArgument, "card0 has 10000000000 bit/s") {
      $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 10_000_000_001
    },
    Refusal(.direct, .notFound, "has no end node ethernet/none") { $0.endNode = "ethernet/none" },
    Refusal(.server, .invalidArgument, "mediator 'nbd' is unknown") { $0.mediation?.mediator = "nbd" },
    Refusal(.server, .invalidArgument, "VNI 16777216") { $0.mediation?.vni = 1 << 24 },
    Refusal(.server, .invalidArgument, "not two IP addresses") { $0.mediation?.consumerAddress = "2001:db8::2" },
    Refusal(.server, .failedPrecondition, "no interface with the mediation address 192.0.2.9") {
      $0.mediation?.serverAddress = "192.0.2.9"
    },
  ]

  @Test(arguments: refusals) func aBadRequestIsRefusedWithItsReason(refusal: Refusal) throws {
    let hosts = try TestHosts()
    // The card of a server must be large enough for the underlay to be what is too small.
    if refusal.says.contains("1550") {
      for (namespace, name) in [(hosts.hosts[0], "card0"), (hosts.wire, "wire0")] {
        try namespace.route.change(namespace.index(name), LinkChange { $0.mtu = 9000 })
      }
    }
    let before = try hosts.traces()
    let request = try hosts.request(refusal.role, refusal.change)
    let functions = refusal.role == .consumer ? hosts.b : hosts.a
    let problems = functions.validate(request)
    #expect(problems.contains { $0.contains(refusal.says) }, "\(problems)")
    let error = #expect(throws: (any Error).self) {
      switch refusal.role {
      case .direct: try functions.attach(request)
      case .server: try functions.serve(request)
      default: try functions.connect(request)
      }
    }
    let told = try PluginError(#require(error))
    #expect(told.code == refusal.code)
    #expect(told.message.contains(refusal.says), "\(told.message)")
    #expect(try hosts.traces() == before)
  }

  @Test func anAddressInUseIsRefused() throws {
    let hosts = try TestHosts()
    _ = try hosts.a.attach(hosts.request(.direct))
    let second = try hosts.request(.direct, token: 2) { $0.consumer?.interfaceName = "net1" }
    let error = #expect(throws: PluginError.self) { try hosts.a.attach(second) }
    #expect(error?.code == .alreadyExists)
    #expect(error?.message.contains("in use on card0 by function ethernet/") == true)
    // Taking back what was never given must not touch the function that has the address.
    _ = try hosts.a.detach(second)
    #expect(try hosts.tenant.route.link(named: "net0") != nil)
  }

  @Test func theCardsOwnAddressIsRefused() throws {
    let hosts = try TestHosts()
    let own = try #require(try hosts.hosts[0].link("card0").macAddress).description
    let request = try hosts.request(.direct) { $0.attributes?.ethernet?.macAddress = own }
    #expect(throws: PluginError.self) { try hosts.a.create(request) }
  }

  @Test func theSameFunctionWithAnotherAddressIsRefused() throws {
    let hosts = try TestHosts()
    _ = try hosts.a.attach(hosts.request(.direct))
    let other = try hosts.request(.direct) { $0.attributes?.ethernet?.macAddress = "02:00:00:00:00:cc" }
    let error = #expect(throws: PluginError.self) { try hosts.a.attach(other) }
    #expect(error?.code == .invalidArgument)
  }

  @Test func aGoodRequestHasNoProblems() throws {
    let hosts = try TestHosts()
    for role in [Role.direct, .server] { #expect(try hosts.a.validate(hosts.request(role)).isEmpty) }
    #expect(try hosts.b.validate(hosts.request(.consumer)).isEmpty)
  }
}
