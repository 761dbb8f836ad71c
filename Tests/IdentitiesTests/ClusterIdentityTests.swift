import Identities
import Testing

@Suite struct ClusterIdentityTests {
  @Test(arguments: [
    "iov://rack/coordinator", "iov://rack/agent/host-a", "iov://r-1/operator/alice", "iov://rack/tenant/blue",
  ])
  func aURISaysWhoSomeoneIs(_ uri: String) {
    #expect(ClusterIdentity(uri: uri)?.description == uri)
  }

  @Test(arguments: [
    "", "iov://", "iov://rack", "iov://rack/", "iov:///coordinator", "iov://rack/coordinator/", "iov://rack/agent",
    "iov://rack/agent/", "iov://rack/agent/a/b", "iov://rack/Agent/a", "iov://rack/agent/A", "iov://rack/king/a",
    "http://rack/agent/a", "iov://rack/agent/a?x", "iov://rack/agent/a%2fb", "iov://rack/agent/\u{0}",
    "iov://rack/agent/" + String(repeating: "a", count: 64),
  ])
  func whatIsNoneNamesNobody(_ uri: String) {
    #expect(ClusterIdentity(uri: uri) == nil)
  }

  @Test func aNameThatIsNoneIsExplained() {
    let error = #expect(throws: IdentityError.self) { try ClusterIdentity(cluster: "rack", role: .operator("Alice B")) }
    #expect(error?.description.contains("'Alice B' is not an operator's name") == true)
  }
}
