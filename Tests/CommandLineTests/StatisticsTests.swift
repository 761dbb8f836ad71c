import FoundationEssentials
import Services
import Testing

@testable import iov

@Suite struct StatisticsCommandTests {
  private func rack(problem: String = "") async throws -> FakeCoordinator {
    try await FakeCoordinator { world in
      world.fillWithSample()
      world.claims.append(.waiting("later", .pending, for: "a card"))
      world.readings = [
        FunctionReading {
          $0.function = FakeCoordinator.World.functionID
          $0.claim = "web"
          $0.host = "host-b"
          $0.deviceClass = "ethernet"
          $0.problem = problem
          guard problem.isEmpty else { return }
          $0.statistics = FunctionStatistics {
            $0.function = FakeCoordinator.World.functionID
            $0.receivedBytes = 15_360
            $0.receivedOperations = 12
            $0.transmittedBytes = 64
            $0.transmittedOperations = 1
            $0.transmittedDrops = 3
          }
        }
      ]
    }
  }

  @Test func allAreATable() async throws {
    let run = try await rack().iov("function", "stats")
    #expect(run.code == 0)
    #expect(run.lines.first?.hasPrefix("CLAIM  HOST    BYTES IN  BYTES OUT") == true)
    #expect(run.lines.last == "web    host-b  15360     64         12        1          0         3          0")
  }

  @Test(arguments: ["web", FakeCoordinator.World.functionID])
  func oneIsNamedByItsClaimOrItsId(name: String) async throws {
    let run = try await rack().iov("function", "stats", name)
    #expect(run.output.contains("Received:     15360 bytes, 12 packets"))
    #expect(run.output.contains("Dropped:      0 received, 3 transmitted"))
    #expect(run.code == 0)
  }

  @Test func programsGetTheMessage() async throws {
    let run = try await rack().iov("function", "stats", "web", "-o", "json")
    let answer = try JSONDecoder().decode(GetStatisticsResponse.self, from: Data(run.output.utf8))
    #expect(answer.functions.first?.statistics?.receivedBytes == 15_360)
  }

  @Test func whyThereAreNoneIsSaid() async throws {
    let problem = "host 'host-b' is disconnected: its counters can be read when it is back"
    let fake = try await rack(problem: problem)
    let one = try await fake.iov("function", "stats", "web")
    #expect(one.code == 1)
    #expect(one.errors.contains(problem))
    let all = try await fake.iov("function", "stats")
    #expect(all.code == 0)
    #expect(all.lines.last?.hasSuffix(problem) == true)
  }

  @Test func whatIsNotThereIsSaidToBeSo() async throws {
    let fake = try await rack()
    let misspelt = try await fake.iov("function", "stats", "wev")
    #expect(misspelt.code == 2)
    #expect(misspelt.errors.contains("did you mean 'web'?"))
    let pending = try await fake.iov("function", "stats", "later")
    #expect(pending.code == 1)
    #expect(pending.errors.contains("claim 'later' has no function yet"))
  }
}
