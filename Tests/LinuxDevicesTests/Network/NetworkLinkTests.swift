import CLinux
import Glibc
import Testing

@testable import LinuxDevices

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"))
struct NetworkLinkTests {
  @Test func aMissingNamespaceIsNamedWithThoseThatThereAre() throws {
    let present = try TestNamespace()
    let error = #expect(throws: NetworkNamespaceError.self) { try NetworkNamespace.named("no-such") }
    #expect(error?.description.contains("'no-such'") == true)
    #expect(error?.description.contains(present.name) == true)
  }

  @Test func anOrdinaryFileIsNoNamespace() throws {
    let path = "\(NetworkNamespace.directory)/iovtest-\(getpid())-file"
    close(open(path, O_CREAT | O_RDONLY, 0o600))
    defer { unlink(path) }
    #expect(throws: NetworkNamespaceError.self) { try NetworkNamespace.named("iovtest-\(getpid())-file") }
  }

  @Test func aNamespaceIsKnownByItsInode() throws {
    let test = try TestNamespace()
    #expect(try NetworkNamespace.named(test.name).inode == test.namespace.inode)
    #expect(try NetworkNamespace.current().inode != test.namespace.inode)
  }

  @Test func aSocketStaysInTheNamespaceThatItWasOpenedIn() throws {
    let test = try TestNamespace()
    #expect(try test.route.links().map(\.name) == ["lo"])
  }

  @Test func aMacvlanIsCreatedInAnotherNamespaceInOneMessage() throws {
    let host = try TestNamespace("host")
    let tenant = try TestNamespace("tenant")
    try host.connect("card", to: "wire", in: host)
    let mac = try #require(MACAddress("02:00:00:00:00:07"))
    try host.route.create(
      NewLink(
        .macvlan(lower: host.index("card")), name: "share", macAddress: mac, mtu: 1400, namespace: tenant.namespace))
    let link = try #require(try tenant.route.link(named: "share"))
    #expect(link.kind == "macvlan")
    #expect(link.macAddress == mac)
    #expect(link.mtu == 1400)
    #expect(try link.lowerLink == host.index("card"))
    #expect(try link.lowerLinkNamespaceID == tenant.route.namespaceID(of: host.namespace))
    #expect(!link.isUp)
  }

  @Test func aLinkInANamespaceWithoutANameIsFoundByTheNamespacesID() throws {
    let host = try TestNamespace("host")
    let tenant = try TestNamespace("tenant")
    try host.connect("card", to: "wire", in: host)
    let kind = try NewLink.Kind.macvlan(lower: host.index("card"))
    try host.route.create(NewLink(kind, name: "share", namespace: tenant.namespace))
    try tenant.route.change(tenant.index("share"), LinkChange { $0.alias = "iov:x" })
    for _ in 0..<2 { try host.route.know(tenant.namespace) }
    let id = try #require(try host.route.namespaceID(of: tenant.namespace))
    #expect(try host.route.namespaceIDs().contains(id))
    let link = try #require(try host.route.links(inNamespaceWithID: id).first { $0.alias == "iov:x" })
    #expect(try link.lowerLinkNamespaceID == host.route.namespaceID(of: host.namespace))
    try host.route.delete(link.index, inNamespaceWithID: id)
    #expect(try tenant.route.link(named: "share") == nil)
    try host.route.delete(link.index, inNamespaceWithID: id)
  }

  @Test func oneMessageRenamesMovesAndStartsALink() throws {
    let host = try TestNamespace("host")
    let tenant = try TestNamespace("tenant")
    let tunnel = VXLANParameters(
      networkIdentifier: 0xabcdef, local: IPAddress("192.0.2.1"), remote: IPAddress("192.0.2.2"), port: 4790)
    try host.route.create(NewLink(.vxlan(tunnel), name: "tunnel", mtu: 1450))
    try host.route.change(
      host.index("tunnel"),
      LinkChange {
        $0.namespace = tenant.namespace
        $0.name = "net0"
        $0.alias = "iov:ethernet/1"
        $0.isUp = true
        $0.receivesAllMulticast = true
        $0.macAddress = MACAddress("02:00:00:00:00:09")
      })
    #expect(try host.route.link(named: "tunnel") == nil)
    let link = try #require(try tenant.route.link(named: "net0"))
    #expect(link.vxlan == tunnel)
    #expect(link.isUp)
    #expect(link.flags & 0x200 != 0)
    #expect(link.alias == "iov:ethernet/1")
    #expect(link.macAddress?.description == "02:00:00:00:00:09")
    #expect(link.mtu == 1450)
  }

  @Test func aRefusalCarriesTheKernelsExplanation() throws {
    let host = try TestNamespace("host")
    let tunnel = VXLANParameters(networkIdentifier: 1 << 24, local: nil, remote: nil, port: 4789)
    let error = #expect(throws: NetlinkError.self) { try host.route.create(NewLink(.vxlan(tunnel), name: "bad")) }
    #expect(error?.operation == "create vxlan interface bad")
    #expect(error?.kernelMessage?.isEmpty == false)
  }

  @Test func aLinkThatIsGoneIsDeletedWithoutError() throws {
    let host = try TestNamespace("host")
    try host.route.create(NewLink(.intermediateFunctionalBlock, name: "gone"))
    let index = try host.index("gone")
    try host.route.delete(index)
    try host.route.delete(index)
    #expect(try host.route.link(index: index) == nil)
  }

  @Test func anAddressLeadsToItsInterface() throws {
    let host = try TestNamespace("host")
    try host.connect("card", to: "wire", in: host)
    for text in ["192.0.2.9", "2001:db8::9"] {
      let address = try #require(IPAddress(text))
      #expect(try host.route.interfaceIndex(carrying: address) == nil)
      try host.route.add(address, prefixLength: 24, to: host.index("card"))
      #expect(try host.route.interfaceIndex(carrying: address) == host.index("card"))
    }
  }

  @Test func ethtoolTellsSpeedAndDriverWithinTheNamespace() throws {
    let host = try TestNamespace("host")
    try host.connect("card", to: "wire", in: host)
    #expect(try host.route.driver(of: "card") == "veth")
    #expect(try host.route.speedBitsPerSecond(of: "card") == 10_000_000_000)
    #expect(try host.route.speedBitsPerSecond(of: "lo") == nil)
  }

  @Test(.timeLimit(.minutes(1))) func aWatchTellsOfANewLink() async throws {
    let host = try TestNamespace("host")
    let watch = try LinkWatch(in: host.namespace)
    try host.route.create(NewLink(.intermediateFunctionalBlock, name: "new"))
    var changes = watch.changes.makeAsyncIterator()
    #expect(await changes.next() != nil)
    withExtendedLifetime(watch) {}
  }
}
