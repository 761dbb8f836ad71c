import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_ethernet

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(1)))
struct DirectFunctionTests {
  @Test func packetsFlowBetweenTheWireAndANamespace() async throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    let request = try hosts.request(.direct) {
      $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 50_000_000
      $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 60_000_000
    }
    for _ in 0..<2 { #expect(try hosts.a.create(request).phase == .created) }
    for _ in 0..<2 {
      let status = try hosts.a.attach(request)
      #expect(status.phase == .inUse)
      #expect(status.arrival?.interfaceName == "net0")
      #expect(status.arrival?.networkNamespace == hosts.tenant.name)
      #expect(status.arrival?.enforced?.ethernet?.mtu == 1500)
      #expect(status.arrival?.enforced?.ethernet?.maxTransmitBitsPerSecond == 50_000_000)
      #expect(status.arrival?.enforced?.ethernet?.maxReceiveBitsPerSecond == 60_000_000)
    }
    try hosts.tenant.give(TestHosts.tenantAddress, to: "net0")
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    tenant.send("out", to: TestHosts.wireAddress)
    #expect(try await wire.receive() == "out")
    wire.send("in", to: TestHosts.tenantAddress)
    #expect(try await tenant.receive() == "in")
    for _ in 0..<2 { #expect(try hosts.a.detach(request).phase == .absent) }
    for _ in 0..<2 { #expect(try hosts.a.destroy(request).phase == .absent) }
    #expect(try hosts.traces() == before)
  }

  @Test func theHostItselfMayBeTheConsumer() async throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    let request = try hosts.request(.direct) { $0.consumer = Consumer { $0.kind = .host(HostConsumer()) } }
    #expect(try hosts.a.create(request).phase == .created)
    let status = try hosts.a.attach(request)
    let name = try FunctionNames(#require(request.assignment).function).interface
    #expect(status.arrival?.interfaceName == name)
    #expect(status.arrival?.networkNamespace == "")
    try hosts.hosts[0].give(TestHosts.tenantAddress, to: name)
    let here = try Datagrams(in: hosts.hosts[0], on: name)
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    here.send("out", to: TestHosts.wireAddress)
    #expect(try await wire.receive() == "out")
    #expect(try hosts.a.detach(request).phase == .absent)
    #expect(try hosts.traces() == before)
  }

  @Test func theInterfaceHasTheQueuesThatWereAskedFor() throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct) { $0.attributes?.ethernet?.queues = 4 }
    #expect(try hosts.a.attach(request).arrival?.enforced?.ethernet?.queues == 4)
    let link = try hosts.tenant.link("net0")
    #expect(link.transmitQueues == 4 && link.receiveQueues == 4)
    let other = try hosts.request(.direct) { $0.attributes?.ethernet?.queues = 2 }
    let error = #expect(throws: PluginError.self) { try hosts.a.attach(other) }
    #expect(
      error?.message.contains("asked for with 2 queues and exists as net0 with 4 to send and 4 to receive") == true)
    #expect(try hosts.a.detach(request).phase == .absent)
  }

  @Test func limitsOfFunctionsOnOneCardAreApart() throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    let requests = try (1...3).map { number in
      try hosts.request(.direct, token: UInt64(number)) {
        $0.attributes?.ethernet?.macAddress = "02:00:00:00:00:0\(number)"
        $0.attributes?.ethernet?.maxTransmitBitsPerSecond = UInt64(number) * 8_000_000
        $0.attributes?.ethernet?.maxReceiveBitsPerSecond = UInt64(number) * 16_000_000
        $0.consumer?.interfaceName = "net\(number)"
      }
    }
    for request in requests { _ = try hosts.a.attach(request) }
    let card = try hosts.hosts[0].index("card0")
    #expect(
      try hosts.a.route.classes(of: card).map(\.rateBitsPerSecond).sorted() == [8_000_000, 16_000_000, 24_000_000])
    _ = try hosts.a.detach(requests[1])
    #expect(try hosts.a.route.classes(of: card).map(\.rateBitsPerSecond).sorted() == [8_000_000, 24_000_000])
    var unlimited = requests[0]
    unlimited.assignment?.attributes?.ethernet?.maxTransmitBitsPerSecond = nil
    unlimited.assignment?.attributes?.ethernet?.maxReceiveBitsPerSecond = 0
    let status = try hosts.a.configure(unlimited)
    #expect(status.function?.enforced?.ethernet?.maxTransmitBitsPerSecond == nil)
    #expect(status.function?.enforced?.ethernet?.maxReceiveBitsPerSecond == nil)
    let third = try hosts.a.observe { id in requests.first { $0.assignment?.function == id } }[1]
    #expect(third.function?.enforced?.ethernet?.maxTransmitBitsPerSecond == 24_000_000)
    for request in requests { _ = try hosts.a.detach(request) }
    #expect(try hosts.traces() == before)
  }

  @Test func aRootQdiscOfSomebodyElseStays() throws {
    let hosts = try TestHosts()
    let card = try hosts.hosts[0].index("card0")
    try hosts.a.route.limit(card, to: TokenBucket(rateBitsPerSecond: 1_000_000_000, mtu: 1500))
    let request = try hosts.request(.direct) { $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 1_000_000 }
    #expect(hosts.a.validate(request).contains { $0.contains("there is already a tbf") })
    let error = #expect(throws: (any Error).self) { try hosts.a.attach(request) }
    #expect(error.map { PluginError($0).code } == .failedPrecondition)
    _ = try hosts.a.detach(request)
    #expect(try hosts.a.route.queueingDisciplines(of: card).contains { $0.kind == "tbf" })
  }

  @Test func aFunctionInANamespaceThatLostItsNameIsTakenBack() throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct)
    _ = try hosts.a.attach(request)
    // Something in it keeps the namespace alive: here, the open file that the test holds.
    try NetworkNamespace.remove(named: hosts.tenant.name)
    #expect(try hosts.a.observe { _ in request }.map(\.phase) == [.inUse])
    #expect(try hosts.a.detach(request).phase == .absent)
    #expect(try hosts.tenant.route.link(named: "net0") == nil)
  }

  @Test func aFunctionGoesWithItsNamespace() throws {
    let hosts = try TestHosts()
    let before = try hosts.hosts[0].traces()
    var short: TestNamespace? = try TestNamespace("short")
    let request = try hosts.request(.direct) {
      $0.consumer?.kind = .networkNamespace(named(short))
      $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 1_000_000
      $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 1_000_000
    }
    _ = try hosts.a.attach(request)
    short = nil
    while try hosts.a.observe(known: { _ in request }).contains(where: { $0.phase == .inUse }) { sched_yield() }
    #expect(try hosts.a.detach(request).phase == .absent)
    #expect(try hosts.a.destroy(request).phase == .absent)
    #expect(try hosts.hosts[0].traces() == before)
  }

  @Test(arguments: [false, true])
  func aNamespaceIsKnownByItsInodeAndNotByItsName(theFormerLivesOn: Bool) throws {
    let hosts = try TestHosts()
    let before = try hosts.hosts[0].traces()
    let request = try hosts.request(.direct) { $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 1_000_000 }
    _ = try hosts.a.attach(request)
    // While somebody holds the former one open, as a process in it would, it lives on without its name.
    let former = theFormerLivesOn ? try RouteNetlink(in: .named(hosts.tenant.name)) : nil
    let second = try hosts.renewTenant()
    #expect(try hosts.a.observe { _ in request }.map(\.phase) != [.inUse])
    let status = try hosts.a.attach(request)
    #expect(status.phase == .inUse)
    #expect(try RouteNetlink(in: second).link(named: "net0") != nil)
    #expect(try former?.link(named: "net0") == nil)
    #expect(try hosts.a.observe { _ in request } == [status])
    #expect(try hosts.a.detach(request).phase == .absent)
    #expect(try RouteNetlink(in: second).link(named: "net0") == nil)
    #expect(try hosts.hosts[0].traces() == before)
  }

  @Test func countersAreTheHolders() async throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct)
    _ = try hosts.a.attach(request)
    try hosts.tenant.give(TestHosts.tenantAddress, to: "net0")
    let tenant = try Datagrams(in: hosts.tenant, on: "net0")
    let wire = try Datagrams(in: hosts.wire, on: "wire0")
    for _ in 0..<3 {
      tenant.send(String(repeating: "x", count: 1000), to: TestHosts.wireAddress)
      #expect(try await wire.receive()?.count == 1000)
    }
    let counters = try hosts.a.statistics(function: request.assignment?.function)
    #expect(counters.count == 1)
    #expect(try #require(counters.first).transmittedBytes > 3000)
    #expect(try hosts.a.statistics(function: "another").isEmpty)
  }
}

private func named(_ namespace: TestNamespace?) -> NetworkNamespaceConsumer {
  NetworkNamespaceConsumer { $0.name = namespace?.name ?? "" }
}
