import Configuration
import Messages
import Services
import Testing

@testable import iov

@Suite(.timeLimit(.minutes(1))) struct AuditTests {
  private func holding(_ number: Int) -> Holding {
    Holding {
      $0.number = UInt64(number)
      $0.claim = "claim-\(number)"
      $0.function = "ethernet/1/\(number)"
      $0.token = FencingToken { $0.value = UInt64(number) }
      $0.tenant = "lab"
      $0.host = "a"
      $0.path = .mediated
      $0.granted = Timestamp(seconds: 1_700_000_000, nanoseconds: 5)
      $0.ended = Timestamp(seconds: 1_700_000_060)
      $0.decision = PlacementDecision { $0.preference = 4 }
      $0.whyEnded = "the claim was deleted; a has let go of it"
    }
  }

  @Test func itIsTold() async throws {
    let holding = holding(7)
    let coordinator = try await FakeCoordinator { $0.holdings = [holding] }
    let run = try await coordinator.iov(
      "audit", "--claim", "claim-7", "--tenant", "lab", "--endnode", "a/eth1", "--host", "a", "--since",
      "2023-11-14T22:13:20Z")
    #expect(run.lines.count == 2)
    #expect(
      run.lines.last?.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
        == "claim-7 lab ethernet/1/7 7 a mediated 2023-11-14T22:13:20Z - 2023-11-14T22:14:20Z choice 4 of its paths, with 0 functions in use "
        + "there; ended: the claim was deleted; a has let go of it")
    let asked = try #require(coordinator.world.withLock { $0.holdingRequests.first })
    #expect(asked.claim == "claim-7" && asked.tenant == "lab" && asked.endNode == "a/eth1" && asked.host == "a")
    #expect(asked.from == Timestamp(seconds: 1_700_000_000) && asked.to == nil)
    let json = try await coordinator.iov("audit", "-o", "json")
    #expect(try Configuration.decode(ListHoldingsResponse.self, from: json.output, named: "x").holdings == [holding])
  }

  @Test func pagesAreReadUntilTheLimit() async throws {
    let holdings = (0..<2500).map(holding)
    let coordinator = try await FakeCoordinator { $0.holdings = holdings }
    let run = try await coordinator.iov("audit", "--limit", "2100")
    #expect(run.lines.count == 2101 && run.errors.contains("there are older ones"))
    #expect(coordinator.world.withLock { $0.holdingRequests.map(\.pageSize) } == [1000, 1000, 100])
    #expect(try await coordinator.iov("audit", "--since", "yesterday").code == 64)
  }

  @Test func timesAreReadAsTheyAreWritten() {
    let now = Timestamp(seconds: 1_700_000_000)
    let ages = ["90s", "15min", "2h", "7d"].map { PointInTime($0, now: now)?.timestamp.seconds }
    #expect(ages == [1_699_999_910, 1_699_999_100, 1_699_992_800, 1_699_395_200])
    for text in ["", "7", "d", "-1d", "7y", "9223372036854775807d"] { #expect(PointInTime(text, now: now) == nil) }
  }
}
