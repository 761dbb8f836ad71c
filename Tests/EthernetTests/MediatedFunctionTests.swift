import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_ethernet

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(1)))
struct MediatedFunctionTests {
  @Test func packetsFlowBothWaysBetweenTheWireAndATenantOfAnotherHost() async throws {
    let hosts = try TestHosts()
    try hosts.mediate()
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    #expect(tenant.send("out", to: TestHosts.wireAddress))
    #expect(try await wire.receive() == "out")
    #expect(wire.send("in", to: TestHosts.tenantAddress))
    #expect(try await tenant.receive() == "in")
    // The sender hears its own broadcast too.
    #expect(wire.send("to all", to: "10.9.0.255"))
    #expect(try await wire.receive() == "to all")
    #expect(try await tenant.receive() == "to all")
    #expect(tenant.send(String(repeating: "x", count: 1450 - 28), to: TestHosts.wireAddress))
    #expect(try await wire.receive()?.count == 1450 - 28)
  }

  @Test func bothEndsHaveTheQueuesThatWereAskedFor() throws {
    let hosts = try TestHosts()
    let server = try hosts.request(.server) { $0.attributes?.ethernet?.queues = 3 }
    _ = try hosts.a.create(server)
    #expect(try hosts.a.serve(server).function?.enforced?.ethernet?.queues == 3)
    let consumer = try hosts.request(.consumer) { $0.attributes?.ethernet?.queues = 3 }
    #expect(try hosts.b.connect(consumer).arrival?.enforced?.ethernet?.queues == 3)
    let link = try hosts.tenant.link("net0")
    #expect(link.transmitQueues == 3 && link.receiveQueues == 3)
  }

  @Test func theHolderIsToldWhatArrived() throws {
    let hosts = try TestHosts()
    let server = try hosts.request(.server)
    #expect(try hosts.a.create(server).phase == .created)
    let served = try hosts.a.serve(server)
    #expect(served.phase == .inUse)
    #expect(served.function?.id == server.assignment?.function)
    #expect(served.function?.token?.value == 1)
    let connected = try hosts.b.connect(hosts.request(.consumer))
    #expect(connected.phase == .inUse)
    #expect(connected.arrival?.interfaceName == "net0")
    #expect(connected.arrival?.networkNamespace == hosts.tenant.name)
    #expect(connected.arrival?.enforced?.ethernet?.macAddress == TestHosts.mac)
    #expect(connected.arrival?.enforced?.ethernet?.mtu == 1450)
    let link = try hosts.tenant.link("net0")
    #expect(link.macAddress?.description == TestHosts.mac)
    #expect(link.mtu == 1450)
    #expect(link.isUp)
  }

  @Test func aReleaseSilencesTheTenantAndLeavesNothing() async throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    try hosts.mediate {
      $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 50_000_000
      $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 60_000_000
    }
    #expect(try hosts.traces() != before)
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    tenant.send("out", to: TestHosts.wireAddress)
    #expect(try await wire.receive() == "out")
    let server = try hosts.request(.server)
    #expect(try hosts.a.unserve(server).phase == .created)
    // The tenant still has its interface, and it leads nowhere.
    tenant.send("late", to: "10.9.0.255")
    #expect(try await wire.receive(withinMilliseconds: 200) == nil)
    #expect(try hosts.a.destroy(server).phase == .absent)
    #expect(try hosts.b.disconnect(hosts.request(.consumer)).phase == .absent)
    #expect(try hosts.traces() == before)
  }

  @Test func everyVerbTwiceIsOnce() async throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    let server = try hosts.request(.server) { $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 1_000_000 }
    let consumer = try hosts.request(.consumer)
    for _ in 0..<2 { #expect(try hosts.a.create(server).phase == .created) }
    for _ in 0..<2 { #expect(try hosts.a.serve(server).phase == .inUse) }
    #expect(try hosts.a.create(server).phase == .inUse)
    for _ in 0..<2 { #expect(try hosts.b.connect(consumer).phase == .inUse) }
    let during = try hosts.traces()
    for _ in 0..<2 { #expect(try hosts.a.configure(server).phase == .inUse) }
    #expect(try hosts.traces() == during)
    for _ in 0..<2 { #expect(try hosts.a.unserve(server).phase == .created) }
    for _ in 0..<2 { #expect(try hosts.a.destroy(server).phase == .absent) }
    #expect(try hosts.a.unserve(server).phase == .absent)
    for _ in 0..<2 { #expect(try hosts.b.disconnect(consumer).phase == .absent) }
    #expect(try hosts.traces() == before)
  }

  @Test func onlyThePeerMaySendIntoATunnel() async throws {
    let hosts = try TestHosts(count: 3)
    try hosts.mediate()
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    // A third host that knows the VNI, the port and the address.
    let stranger = VXLANParameters(
      networkIdentifier: 78, local: IPAddress("192.0.2.3"), remote: IPAddress("192.0.2.1"), port: 4789)
    let third = hosts.hosts[2]
    try third.route.create(NewLink(.vxlan(stranger), name: "forged", macAddress: MACAddress(TestHosts.mac), mtu: 1450))
    try third.route.change(third.index("forged"), LinkChange { $0.isUp = true })
    try third.give("10.9.0.3", to: "forged")
    let forged = try Datagrams(in: third, on: "forged")
    forged.send("forged", to: "10.9.0.255")
    tenant.send("true", to: TestHosts.wireAddress)
    #expect(try await wire.receive() == "true")
    // Without the rule the same packet gets through: the kernel's VXLAN does not look at the sender.
    try hosts.a.admission.revoke(VXLANParameters(hosts.request(.server)))
    forged.send("forged", to: "10.9.0.255")
    #expect(try await wire.receive() == "forged")
  }

  @Test func ratesAreSetAtTheServerAndChangeInUse() throws {
    let hosts = try TestHosts()
    try hosts.mediate { $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 50_000_001 }
    let names = try FunctionNames(#require(hosts.request(.server).assignment).function)
    let macvlan = try hosts.hosts[0].index(names.interface)
    let tunnel = try hosts.hosts[0].index(names.tunnel)
    func rate(_ interface: Int32) throws -> UInt64? {
      try hosts.a.route.queueingDisciplines(of: interface).first { $0.parent == .root }?.rateBitsPerSecond
    }
    #expect(try rate(macvlan) == 50_000_000)
    #expect(try rate(tunnel) == nil)
    let changed = try hosts.request(.server) {
      $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 70_000_001
      $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 80_000_000
    }
    let status = try hosts.a.configure(changed)
    // Whole bytes per second are what the kernel can keep of what was asked.
    #expect(status.function?.enforced?.ethernet?.maxTransmitBitsPerSecond == 70_000_001)
    #expect(status.function?.enforced?.ethernet?.maxReceiveBitsPerSecond == 80_000_000)
    #expect(try rate(macvlan) == 70_000_000)
    #expect(try rate(tunnel) == 80_000_000)
    let none = try hosts.a.configure(
      hosts.request(.server) { $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 0 })
    #expect(none.function?.enforced?.ethernet?.maxTransmitBitsPerSecond == nil)
    #expect(try rate(macvlan) == nil)
    #expect(try rate(tunnel) == nil)
  }

  @Test func hostsMayBeJoinedByIPv6() async throws {
    let hosts = try TestHosts(underlayMTU: 1700)
    func six(_ assignment: inout Assignment) {
      assignment.mediation?.serverAddress = "2001:db8::1"
      assignment.mediation?.consumerAddress = "2001:db8::2"
    }
    try hosts.mediate(six)
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    tenant.send("out", to: TestHosts.wireAddress)
    #expect(try await wire.receive() == "out")
    _ = try hosts.a.fence(hosts.request(.server, six))
    #expect(try !hosts.a.admission.isActive())
  }

  @Test func aFenceNeedsNothingOfTheOtherHost() throws {
    let hosts = try TestHosts()
    let before = try hosts.hosts[0].traces()
    try hosts.mediate()
    #expect(try hosts.a.fence(hosts.request(.server)).phase == .absent)
    #expect(try hosts.hosts[0].traces() == before)
    #expect(try !hosts.a.admission.isActive())
  }

  @Test func aTenantThatHidesItsInterfaceLosesItAllTheSame() throws {
    let hosts = try TestHosts()
    try hosts.mediate()
    try hosts.tenant.route.change(
      hosts.tenant.index("net0"),
      LinkChange {
        $0.name = "mine"
        $0.alias = ""
        $0.macAddress = MACAddress("02:00:00:00:00:bb")
      })
    #expect(try hosts.b.disconnect(hosts.request(.consumer)).phase == .absent)
    #expect(try hosts.tenant.route.link(named: "mine") == nil)
  }

  @Test func aConsumerWhoseNamespaceWasMadeAnewIsConnectedThere() async throws {
    let hosts = try TestHosts()
    let before = try hosts.hosts[1].traces()
    try hosts.mediate()
    let consumer = try hosts.request(.consumer)
    let second = try hosts.renewTenant()
    #expect(try hosts.b.observe { _ in consumer }.map(\.phase) != [.inUse])
    #expect(try hosts.b.connect(consumer).phase == .inUse)
    #expect(try RouteNetlink(in: second).link(named: "net0")?.isUp == true)
    #expect(try hosts.b.disconnect(consumer).phase == .absent)
    #expect(try RouteNetlink(in: second).link(named: "net0") == nil)
    #expect(try hosts.hosts[1].traces() == before)
    #expect(try !hosts.b.admission.isActive())
  }

  @Test func aDeadConsumersRemainsAreReclaimed() async throws {
    let hosts = try TestHosts()
    let before = try hosts.hosts[1].traces()
    try hosts.mediate()
    let consumer = try hosts.request(.consumer)
    try NetworkNamespace.remove(named: hosts.tenant.name)
    #expect(try hosts.b.admission.isActive())
    #expect(try hosts.b.disconnect(consumer).phase == .absent)
    #expect(try hosts.hosts[1].traces() == before)
    #expect(try !hosts.b.admission.isActive())
  }

  @Test func aHalfDoneServeIsCompleted() async throws {
    let hosts = try TestHosts()
    let server = try hosts.request(.server)
    let names = try FunctionNames(#require(server.assignment).function)
    let card = try hosts.hosts[0].index("card0")
    // As a plugin leaves it that is killed after its first message, and then after some more.
    let macvlan = NewLink(
      .macvlan(lower: card), name: names.interface, macAddress: MACAddress(TestHosts.mac), mtu: 1450)
    try hosts.a.route.create(macvlan)
    #expect(try hosts.a.serve(server).phase == .inUse)
    try hosts.a.route.deleteQueueingDiscipline(of: hosts.hosts[0].index(names.tunnel), parent: .ingress)
    #expect(try hosts.a.observe { _ in server }.map(\.phase) == [.created])
    #expect(try hosts.a.serve(server).phase == .inUse)
  }

  /// The next function of a claim comes from the card of another host, and its tenant goes on with the interface that it has.
  @Test func aTenantsInterfaceStaysWhenAnotherHostServesIt() async throws {
    let hosts = try TestHosts(count: 3)
    let (other, uplink) = try hosts.addCard(to: 2)
    let before = try hosts.traces()
    try hosts.mediate()
    let index = try hosts.tenant.index("net0")
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let network = try Datagrams(in: hosts.wire, on: uplink)
    #expect(network.send("in", to: TestHosts.tenantAddress))
    #expect(try await tenant.receive() == "in")
    tenant.send("out", to: TestHosts.uplinkAddress)
    #expect(try await network.receive() == "out")

    let (server, consumer) = try (hosts.request(.server), hosts.request(.consumer))
    _ = try hosts.a.unserve(server)
    _ = try hosts.a.destroy(server)
    let endNode = try other.cards()[0].id
    let next: (inout Assignment) -> Void = {
      $0.endNode = endNode
      $0.function = "\(endNode)/2"
      $0.takesOver = server.assignment?.function ?? ""
      $0.mediation?.serverAddress = "192.0.2.3"
      $0.mediation?.vni = server.assignment?.mediation?.vni ?? 0
    }
    let (nextServer, nextConsumer) = try (
      hosts.request(.server, token: 2, next), hosts.request(.consumer, token: 2, next)
    )
    for _ in 0..<2 { #expect(try hosts.b.connect(nextConsumer).phase == .inUse) }
    _ = try other.create(nextServer)
    #expect(try other.serve(nextServer).phase == .inUse)
    // The network has heard from where the address speaks now, although the tenant has said nothing since.
    #expect(network.send("moved", to: TestHosts.tenantAddress))
    #expect(try await tenant.receive() == "moved")
    tenant.send("back", to: TestHosts.uplinkAddress)
    #expect(try await network.receive() == "back")

    // What is left of the former one takes nothing of this one with it.
    #expect(try hosts.b.disconnect(consumer).phase == .absent)
    #expect(
      try hosts.b.observe { $0 == nextConsumer.assignment?.function ? nextConsumer : nil }.map(\.phase) == [.inUse])
    #expect(try hosts.b.admission.isAdmitted(VXLANParameters(nextConsumer)))
    #expect(try hosts.tenant.index("net0") == index)
    tenant.send("still", to: TestHosts.uplinkAddress)
    #expect(try await network.receive() == "still")

    _ = try other.unserve(nextServer)
    _ = try other.destroy(nextServer)
    _ = try hosts.b.disconnect(nextConsumer)
    #expect(try hosts.traces() == before)
  }

  /// Both ends are the same, so that what is done to the former function's tunnel could be done to the next one's.
  @Test func aTenantsInterfaceStaysWhenTheSameHostServesItAnew() async throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    try hosts.mediate()
    let index = try hosts.tenant.index("net0")
    let (server, consumer) = try (hosts.request(.server), hosts.request(.consumer))
    _ = try hosts.a.unserve(server)
    _ = try hosts.a.destroy(server)
    let next: (inout Assignment) -> Void = {
      $0.takesOver = server.assignment?.function ?? ""
      $0.mediation?.vni = server.assignment?.mediation?.vni ?? 0
    }
    let (nextServer, nextConsumer) = try (
      hosts.request(.server, token: 2, next), hosts.request(.consumer, token: 2, next)
    )
    #expect(try hosts.b.connect(nextConsumer).phase == .inUse)
    _ = try hosts.a.create(nextServer)
    #expect(try hosts.a.serve(nextServer).phase == .inUse)
    #expect(try hosts.b.disconnect(consumer).phase == .absent)
    #expect(try hosts.a.unserve(server).phase == .absent)
    #expect(try hosts.a.admission.isAdmitted(VXLANParameters(nextServer)))
    #expect(try hosts.b.admission.isAdmitted(VXLANParameters(nextConsumer)))
    #expect(try hosts.tenant.index("net0") == index)
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    tenant.send("out", to: TestHosts.wireAddress)
    #expect(try await wire.receive() == "out")
    _ = try hosts.a.fence(nextServer)
    _ = try hosts.b.disconnect(nextConsumer)
    #expect(try hosts.traces() == before)
  }

  @Test func whatIsNotTheFormersInterfaceIsNotTaken() throws {
    let hosts = try TestHosts()
    try hosts.mediate()
    let next = try hosts.request(.consumer, token: 2) { $0.takesOver = "\($0.endNode)/1" }
    // It is of another network, which a tunnel that is there cannot change to.
    #expect(throws: PluginError.self) { try hosts.b.connect(next) }
    #expect(try hosts.b.disconnect(hosts.request(.consumer)).phase == .absent)
    #expect(try hosts.b.connect(next).phase == .inUse)
  }
}

extension VXLANParameters {
  init(_ request: FunctionRequest) throws {
    self = try #require(FunctionPlan(request, vxlanPort: 4789).tunnel)
  }
}
