import LinuxDevices
import Testing

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(1)))
struct NamespaceWatchTests {
  @Test func theEndOfANamespaceIsTold() async throws {
    let host = try TestNamespace("host")
    var other: TestNamespace? = try TestNamespace("other")
    let name = try #require(other).name
    try host.route.know(#require(other).namespace)
    let watch = try NamespaceWatch(in: host.namespace)
    other = nil
    var seen: Set<NamespaceWatch.Change> = []
    for await change in watch.changes {
      seen.insert(change)
      if seen.isSuperset(of: [.ended, .name(name)]) { break }
    }
    #expect(seen.contains(.ended))
  }
}
