import Glibc
import LinuxDevices
import Services
import Synchronization

@testable import iov_plugin_ethernet

/// Whether this process may make network namespaces and interfaces.
let canAdministerNetworks: Bool = (try? TestNamespace("probe")) != nil

private let counter = Mutex(0)

/// A named network namespace that goes with this value.
final class TestNamespace: Sendable {
  let name: String
  let namespace: NetworkNamespace
  let route: RouteNetlink

  init(_ purpose: String) throws {
    let number = counter.withLock { number in
      number += 1
      return number
    }
    name = "iovtest-\(getpid())-\(purpose)-\(number)"
    namespace = try NetworkNamespace.create(named: name)
    route = try RouteNetlink(in: namespace)
    try route.change(index("lo"), LinkChange { $0.isUp = true })
  }

  deinit { try? NetworkNamespace.remove(named: name) }

  func index(_ name: String) throws -> Int32 { try link(name).index }

  func link(_ name: String) throws -> Link {
    guard let link = try route.link(named: name) else {
      throw NetlinkError(errno: ENODEV, operation: "find \(name) in \(self.name)")
    }
    return link
  }

  func give(_ address: String, prefixLength: UInt8 = 24, to interface: String) throws {
    guard let address = IPAddress(address) else { throw NetlinkError(errno: EINVAL, operation: "read \(address)") }
    try route.add(address, prefixLength: prefixLength, to: index(interface))
  }

  /// A cable to another namespace, both ends up.
  func connect(_ name: String, to otherName: String, in other: TestNamespace, mtu: UInt32 = 1500) throws {
    try route.create(
      NewLink(.virtualEthernet(peerName: otherName, peerNamespace: other.namespace), name: name, mtu: mtu))
    let up = LinkChange {
      $0.isUp = true
      $0.mtu = mtu
    }
    try other.route.change(other.index(otherName), up)
    try route.change(index(name), up)
  }

  /// What a release must give back: every interface and every qdisc that is not the kernel's own.
  func traces() throws -> [String] {
    try route.links().flatMap { link in
      try ["\(link.name) \(link.kind ?? "") \(link.alias ?? "")"]
        + route.queueingDisciplines(of: link.index).filter { !$0.isDefault }.map { "\(link.name) \($0.kind)" }
    }.sorted()
  }
}

/// Hosts on a mediation network; host a has the card `card0`, whose cable ends in `wire`.
struct TestHosts {
  let wire: TestNamespace
  let tenant: TestNamespace
  let hosts: [TestNamespace]
  let functions: [EthernetFunctions]
  private let switchNamespace: TestNamespace

  var a: EthernetFunctions { functions[0] }
  var b: EthernetFunctions { functions[1] }
  static let mac = "02:00:00:00:00:aa"
  static let tenantAddress = "10.9.0.2"
  static let wireAddress = "10.9.0.1"
  static let uplinkAddress = "10.9.0.9"

  init(count: Int = 2, underlayMTU: UInt32 = 1600) throws {
    wire = try TestNamespace("wire")
    tenant = try TestNamespace("tenant")
    switchNamespace = try TestNamespace("switch")
    try switchNamespace.route.create(NewLink(.bridge, name: "bridge", mtu: underlayMTU))
    try switchNamespace.route.change(switchNamespace.index("bridge"), LinkChange { $0.isUp = true })
    var hosts: [TestNamespace] = []
    for number in 1...count {
      let host = try TestNamespace("host\(number)")
      try host.connect("med0", to: "port\(number)", in: switchNamespace, mtu: underlayMTU)
      let bridge = try switchNamespace.index("bridge")
      try switchNamespace.route.change(
        switchNamespace.index("port\(number)"), LinkChange { $0.controller = bridge })
      try host.give("192.0.2.\(number)", to: "med0")
      try host.give("2001:db8::\(number)", prefixLength: 64, to: "med0")
      hosts.append(host)
    }
    try hosts[0].connect("card0", to: "wire0", in: wire)
    try wire.give(Self.wireAddress, to: "wire0")
    let configuration = EthernetConfiguration(endNodes: [InterfaceSelection(.matching("card*"))])
    var functions: [EthernetFunctions] = []
    for (index, host) in hosts.enumerated() {
      functions.append(
        try EthernetFunctions(
          hostName: "host-\(index + 1)", configuration: index == 0 ? configuration : EthernetConfiguration(),
          namespace: host.namespace))
    }
    self.functions = functions
    self.hosts = hosts
  }

  /// A card for another host, on one switch with the first one's. Answers the host's functions, and the switch's own interface, which
  /// has `uplinkAddress`.
  func addCard(to number: Int) throws -> (functions: EthernetFunctions, uplink: String) {
    try hosts[number].connect("card0", to: "wire1", in: wire)
    try wire.route.create(NewLink(.bridge, name: "switch"))
    let bridge = try wire.index("switch")
    for port in ["wire0", "wire1"] { try wire.route.change(wire.index(port), LinkChange { $0.controller = bridge }) }
    try wire.route.change(bridge, LinkChange { $0.isUp = true })
    try wire.give(Self.uplinkAddress, to: "switch")
    let configuration = EthernetConfiguration(endNodes: [InterfaceSelection(.matching("card*"))])
    let functions = try EthernetFunctions(
      hostName: "host-\(number + 1)", configuration: configuration, namespace: hosts[number].namespace)
    return (functions, "switch")
  }

  func endNode() throws -> String { try a.cards()[0].id }

  /// A request for a function; the first token unless said otherwise.
  func request(
    _ role: Role, token: UInt64 = 1, _ change: (inout Assignment) -> Void = { _ in }
  ) throws -> FunctionRequest {
    let endNode = try endNode()
    var assignment = Assignment {
      $0.function = "\(endNode)/\(token)"
      $0.endNode = endNode
      $0.deviceClass = "ethernet"
      $0.claimUid = "uid-\(token)"
      $0.token = FencingToken { $0.value = token }
      $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.macAddress = Self.mac } }
      $0.consumer = Consumer {
        $0.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = tenant.name })
        $0.interfaceName = "net0"
      }
      if role != .direct {
        $0.attributes?.ethernet?.mtu = 1450
        $0.mediation = Mediation {
          $0.mediator = "vxlan"
          $0.serverAddress = "192.0.2.1"
          $0.consumerAddress = "192.0.2.2"
          $0.vni = UInt32(77 + token)
        }
      }
    }
    change(&assignment)
    return FunctionRequest {
      $0.assignment = assignment
      $0.role = role
    }
  }

  /// A function of host a, used by the tenant on host b.
  func mediate(_ change: (inout Assignment) -> Void = { _ in }) throws {
    let server = try request(.server, change)
    _ = try a.create(server)
    _ = try a.serve(server)
    _ = try b.connect(request(.consumer, change))
    try tenant.give(Self.tenantAddress, to: "net0")
  }

  /// Another namespace under the tenant's name, as when a container is started again.
  func renewTenant() throws -> NetworkNamespace {
    try NetworkNamespace.remove(named: tenant.name)
    return try NetworkNamespace.create(named: tenant.name)
  }

  /// Everything that a release must give back, on every host and with the tenant.
  func traces() throws -> [String] {
    try (hosts + [tenant, wire]).flatMap { try $0.traces() }
      + functions.map { try "admission \($0.admission.isActive())" }
  }
}
