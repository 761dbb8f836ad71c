import CLinux
import Glibc
import Testing

@testable import LinuxDevices

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"))
struct TrafficControlTests {
  @Test(arguments: [8_000, 1_000_000, 10_000_000_000, 100_000_000_000] as [UInt64])
  func aLimitReadsBackAndChangesInPlace(rate: UInt64) throws {
    let host = try TestNamespace()
    try host.connect("card", to: "wire", in: host)
    let card = try host.index("card")
    try host.route.limit(card, to: TokenBucket(rateBitsPerSecond: 5_000_000, mtu: 1500))
    let handle = try #require(try host.route.queueingDisciplines(of: card).first { $0.kind == "tbf" }).handle
    try host.route.limit(card, to: TokenBucket(rateBitsPerSecond: rate, mtu: 1500))
    let changed = try #require(try host.route.queueingDisciplines(of: card).first { $0.kind == "tbf" })
    #expect(changed.rateBitsPerSecond == rate)
    #expect(changed.handle == handle)
    try host.route.deleteQueueingDiscipline(of: card, parent: .root)
    try host.route.deleteQueueingDiscipline(of: card, parent: .root)
    #expect(try host.route.queueingDisciplines(of: card).allSatisfy(\.isDefault))
  }

  @Test(arguments: [1_000_000, 40_000_000_000] as [UInt64])
  func aClassTakesTheTrafficOfOneSource(rate: UInt64) throws {
    let host = try TestNamespace()
    try host.connect("card", to: "wire", in: host)
    let card = try host.index("card")
    let root = TrafficHandle(major: 0x10f, minor: 0)
    let handle = TrafficHandle(major: 0x10f, minor: 3)
    let mac = try #require(MACAddress("02:12:34:56:78:9a"))
    try host.route.addHierarchicalTokenBucket(to: card, handle: root)
    try host.route.setClass(handle, of: card, to: HierarchicalClass(rateBitsPerSecond: 2_000_000, mtu: 1500))
    try host.route.setClass(handle, of: card, to: HierarchicalClass(rateBitsPerSecond: rate, mtu: 1500))
    let filter = TrafficFilter(preference: 3, match: .source(mac), action: .classify(as: handle))
    try host.route.add(filter, to: card, parent: root)
    #expect(try host.route.classes(of: card) == [TrafficClass(handle: handle, rateBitsPerSecond: rate)])
    #expect(try host.route.filters(of: card, parent: root) == [filter])
    for _ in 0..<2 {
      try host.route.deleteFilter(preference: 3, of: card, parent: root)
      try host.route.deleteClass(handle, of: card)
    }
    #expect(try host.route.filters(of: card, parent: root).isEmpty)
    #expect(try host.route.classes(of: card).isEmpty)
  }

  @Test func joinedInterfacesAreRedirectedToEachOther() throws {
    let host = try TestNamespace()
    try host.connect("card", to: "wire", in: host)
    let first = try host.index("card")
    let second = try host.index("wire")
    try host.route.join(first, second)
    for (from, to) in [(first, second), (second, first)] {
      #expect(
        try host.route.filters(of: from, parent: .ingressFilters)
          == [TrafficFilter(preference: 1, match: .everything, action: .redirect(to: to))])
    }
    for _ in 0..<2 { try host.route.deleteQueueingDiscipline(of: first, parent: .ingress) }
    #expect(try host.route.filters(of: first, parent: .ingressFilters).isEmpty)
  }

  @Test func aFilterForADestinationReadsBack() throws {
    let host = try TestNamespace()
    try host.connect("card", to: "wire", in: host)
    let card = try host.index("card")
    try host.route.addIngress(to: card)
    try host.route.addIngress(to: card)
    let mac = try #require(MACAddress("02:12:34:56:78:9a"))
    let filter = try TrafficFilter(preference: 9, match: .destination(mac), action: .redirect(to: host.index("wire")))
    try host.route.add(filter, to: card, parent: .ingressFilters)
    #expect(try host.route.filters(of: card, parent: .ingressFilters) == [filter])
    for _ in 0..<2 { try host.route.deleteFilter(preference: 9, of: card, parent: .ingressFilters) }
    #expect(try host.route.filters(of: card, parent: .ingressFilters).isEmpty)
  }
}
