import Configuration
import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_ethernet

@Suite struct EthernetConfigurationTests {
  @Test func everythingHasADefault() throws {
    let configuration = try Configuration.decode(
      EthernetConfiguration.self, from: "endNodes:\n  - interface: eth1\n", named: "ethernet.yaml")
    #expect(configuration.vxlanPort == 4789)
    #expect(configuration.endNodes[0].functions == 256)
    #expect(configuration.endNodes[0].selects("eth1"))
    #expect(!configuration.endNodes[0].selects("eth10"))
  }

  @Test(arguments: [
    ("endNodes: [{interface: a, match: b}]", "either 'interface'"), ("endNodes: [{labels: {}}]", "either 'interface'"),
    ("endNodes: [{interfaces: a}]", "did you mean 'interface'"), ("vxlanPort: 0", "between 1 and 65535"),
    ("endNodes: [{interface: a, functions: 0}]", "at least 1"),
  ]) func aMistakeIsNamed(text: String, says: String) {
    let error = #expect(throws: ConfigurationError.self) {
      try Configuration.decode(EthernetConfiguration.self, from: text, named: "ethernet.yaml")
    }
    #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
  }

  @Test(arguments: [
    ("eth*", "eth0", true), ("eth*", "eth", true), ("eth?", "eth", false), ("*", "wlan0", true),
    ("en*s?", "enp3s0", true), ("en*s?", "enp3", false), ("e*t*h", "eth", true), ("", "eth0", false),
  ]) func aPatternSelectsNames(pattern: String, name: String, selected: Bool) {
    #expect(InterfaceSelection(.matching(pattern)).selects(name) == selected)
  }

  @Test func namesFitTheKernelAndStayTheSame() {
    let names = FunctionNames("ethernet/02:00:00:00:00:01/7")
    #expect(names.interface == "iov" + names.interface.suffix(10))
    for name in [names.interface, names.tunnel, names.unused, names.receiveLimiter] {
      #expect(InterfaceName.isValid(name))
    }
    #expect(FunctionNames("").interface == "iovcbf29ce484")
  }
}

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(1)))
struct InventoryTests {
  @Test func aConfiguredInterfaceIsAnEndNode() throws {
    let hosts = try TestHosts()
    let endNodes = try hosts.a.cards().map(hosts.a.endNode)
    #expect(endNodes.count == 1)
    let endNode = try #require(endNodes.first)
    #expect(try endNode.id == "ethernet/\(#require(hosts.hosts[0].link("card0").macAddress))")
    #expect(endNode.name == "host-1/card0")
    #expect(endNode.roots.first?.localName == "card0")
    #expect(endNode.physicalFunction?.driver == "veth")
    #expect(endNode.capacity?.functions == 256)
    #expect(endNode.capacity?.bitsPerSecond == 10_000_000_000)
    #expect(endNode.capabilities?.maximumMtu == 1500)
    #expect(endNode.capabilities?.minimumMtu == 68)
    #expect(endNode.health?.state == .healthy)
    #expect(try hosts.b.cards().isEmpty)
  }

  @Test func healthFollowsTheLink() throws {
    let hosts = try TestHosts()
    try hosts.wire.route.change(hosts.wire.index("wire0"), LinkChange { $0.isUp = false })
    let health = try hosts.a.cards()[0].endNode(host: "host-a").health
    #expect(health?.state == .unhealthy)
    #expect(health?.message.contains("no carrier") == true)
    try hosts.hosts[0].route.change(hosts.hosts[0].index("card0"), LinkChange { $0.isUp = false })
    #expect(try hosts.a.cards()[0].endNode(host: "host-a").health?.message.contains("ip link set card0 up") == true)
  }

  @Test func neitherLoopbackNorFunctionsAreEndNodes() throws {
    let hosts = try TestHosts()
    let everything = EthernetConfiguration(endNodes: [InterfaceSelection(.matching("*"))])
    let functions = try EthernetFunctions(
      hostName: "host-a", configuration: everything, namespace: hosts.hosts[0].namespace)
    _ = try functions.serve(hosts.request(.server))
    #expect(try functions.cards().map(\.link.name).sorted() == ["card0", "med0"])
  }

  @Test func whatIsThereIsObservedInItsRole() throws {
    let hosts = try TestHosts()
    try hosts.mediate()
    let direct = try hosts.request(.direct, token: 2) {
      $0.attributes?.ethernet?.macAddress = "02:00:00:00:00:dd"
      $0.consumer?.interfaceName = "net1"
    }
    _ = try hosts.a.attach(direct)
    // Nothing is remembered: all of this comes from the kernel.
    let seen = try hosts.a.observe { _ in nil }
    #expect(seen.map(\.role) == [.server, .direct])
    #expect(seen.map(\.phase) == [.inUse, .inUse])
    #expect(seen.map { $0.function?.token?.value } == [1, 2])
    #expect(seen.last?.arrival?.interfaceName == "net1")
    #expect(seen.last?.arrival?.networkNamespace == hosts.tenant.name)
    // The tenant's namespace holds an interface of either host: each sees its own.
    let other = try hosts.b.observe { _ in nil }
    #expect(other.map(\.role) == [.consumer])
    #expect(other.first?.arrival?.interfaceName == "net0")
  }

  @Test func anExistingFunctionIsAdoptedAndAMissingOneIsNot() throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct)
    let error = #expect(throws: PluginError.self) { try hosts.a.adopt(request) }
    #expect(error?.code == .notFound)
    _ = try hosts.a.attach(request)
    #expect(try hosts.a.adopt(request).phase == .inUse)
  }
}
