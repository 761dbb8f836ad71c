import Services
import Testing

@testable import iov

/// Claims that are more urgent than others.
@Suite struct PriorityTests {
  @Test func aClaimIsMadeWithAPriority() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let words = ["claim", "create", "urgent", "--class", "ethernet", "--host", "host-a"]
    #expect(try await run(fake.arguments(words + ["--priority", "10", "--preempt", "never"])).code == 0)
    let asked = fake.world.withLock { $0.claims.last?.specification }
    #expect(asked?.priority == 10 && asked?.preemption == .never)
    let described = try await fake.iov("claim", "describe", "urgent")
    #expect(described.output.contains("10, nobody has to let go for it"))
    #expect(try await run(fake.arguments(words + ["--priority", "high"])).code == 64)
  }
}
