import Services
import Testing

@testable import iov

/// Claims that end by themselves.
@Suite struct ExtendTests {
  @Test func aClaimIsMadeForATimeAndExtended() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let created = try await fake.iov(
      "claim", "create", "short", "--class", "ethernet", "--host", "host-a", "--ttl", "2h")
    #expect(created.code == 0)
    #expect(fake.world.withLock { $0.claims.last?.specification?.timeToLiveSeconds } == 7200)
    #expect(try await fake.iov("claim", "extend", "short", "--ttl", "1d").code == 0)
    #expect(fake.world.withLock { $0.claims.last?.specification?.timeToLiveSeconds } == 86_400)
    #expect(try await fake.iov("claim", "extend", "short", "--forever").code == 0)
    #expect(fake.world.withLock { $0.claims.last?.specification?.timeToLiveSeconds } == 0)
    #expect(try await fake.iov("claim", "extend", "shorn", "--ttl", "1d").code == 2)
  }

  @Test(arguments: [[], ["--ttl", "2h", "--forever"], ["--ttl", "1500ms"], ["--ttl", "0s"], ["--ttl", "200000d"]])
  func otherTimesAreRefused(words: [String]) async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    #expect(try await run(fake.arguments(["claim", "extend", "web"] + words)).code == 64)
  }
}
