import Messages
import Testing

@testable import Arbitration

@Suite struct ScaleTests {
  /// A decision looks at the end nodes of one class, so that it must not matter how many claims there are already.
  @Test func theThousandthClaimIsGrantedLikeTheFirst() {
    var world = World()
    for number in 0..<20 {
      var host = FakeHost("host-\(number)", address: "10.0.0.\(number + 1)")
      host.plugins = [ethernetPlugin()]
      host.endNodes = [card("ethernet/\(number)", functions: 100)]
      world.add(host)
    }
    for number in 0..<1000 { world.create("claim-\(number)", host: "host-\(number % 20)") }
    let nodes = world.arbiter.listedEndNodes
    #expect(nodes.reduce(0) { $0 + ($1.used?.functions ?? 0) } == 1000)
    #expect(nodes.allSatisfy { $0.used?.functions == 50 })
    #expect(world.arbiter.listedClaims.allSatisfy { $0.status?.assignment?.path == .directSoftware })
  }
}
