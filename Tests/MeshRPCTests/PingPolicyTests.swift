import NIOCore
import Testing

@testable import MeshRPC

@Suite struct PingPolicyTests {
  private func answers(
    _ pings: [(second: UInt64, sentSomethingSince: Bool)]
  ) -> [PingPolicy.Answer] {
    var policy = PingPolicy(minimumInterval: .seconds(5))
    return pings.map {
      policy.pinged(at: .uptimeNanoseconds($0.second * 1_000_000_000), sentSomethingSince: $0.sentSomethingSince)
    }
  }

  @Test func whoPingsAsOftenAsAllowedIsFine() {
    #expect(answers((0..<10).map { ($0 * 5, false) }).allSatisfy { $0 == .fine })
  }

  @Test func theThirdPingThatComesTooSoonIsOneTooMany() {
    #expect(answers([(1, false), (2, false), (3, false), (4, false)]) == [.fine, .fine, .fine, .tooManyPings])
  }

  @Test func whoWasSentSomethingMayPing() {
    #expect(answers((0..<100).map { ($0 / 10, true) }).allSatisfy { $0 == .fine })
    #expect(
      answers([(1, false), (1, false), (1, false), (1, true), (1, false), (1, false), (1, false)]).last == .tooManyPings
    )
  }
}
