import Services
import Testing

@testable import iov

@Suite struct TenantCommandTests {
  @Test func aTenantIsMadeShownChangedAndDeleted() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let created = try await fake.iov(
      "tenant", "create", "lab", "--weight", "2", "--quota", "ethernet:functions=20,bandwidth=40gbit", "--quota",
      "sata:iops=500")
    #expect(created.code == 0)
    let quotas = fake.world.withLock { $0.tenants.last?.quotas }
    #expect(quotas?.map(\.deviceClass) == ["ethernet", "sata"])
    #expect(quotas?[0].functions == 20 && quotas?[0].bitsPerSecond == 40_000_000_000 && quotas?[1].functions == nil)
    #expect(quotas?[1].operationsPerSecond == 500)
    #expect(try await fake.iov("tenant", "list").output.contains("ethernet: 0 of 20"))
    #expect(try await fake.iov("tenant", "show", "lab").output.contains("0 of 20"))
    #expect(try await fake.iov("tenant", "show", "lob").code == 2)
    let weightless = try await run(fake.arguments(["tenant", "create", "none", "--weight", "0"]))
    #expect(weightless.code == 64 && weightless.errors.contains("at least 1"))
    #expect(try await fake.iov("tenant", "set", "lab", "--weight", "3", "--no-quota", "sata").code == 0)
    #expect(fake.world.withLock { $0.tenants.last?.weight } == 3)
    #expect(fake.world.withLock { $0.tenants.last?.quotas.map(\.deviceClass) } == ["sata"])
    #expect(try await fake.iov("tenant", "delete", "lab").code == 0)
    #expect(fake.world.withLock { $0.tenants.isEmpty })
  }

  @Test func aClaimNamesItsTenant() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let words = ["claim", "create", "web2", "--class", "ethernet", "--host", "host-a", "--tenant", "lab"]
    #expect(try await run(fake.arguments(words)).code == 0)
    #expect(fake.world.withLock { $0.claims.last?.specification?.tenant } == "lab")
  }

  @Test(arguments: [
    ["tenant", "set", "lab"], ["tenant", "create", "lab", "--quota", "ethernet"],
    ["tenant", "create", "lab", "--quota", "ethernet:functions=many"],
    ["tenant", "create", "lab", "--quota", "ethernet:size=1"],
  ])
  func whatSaysNothingIsRefused(words: [String]) async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    #expect(try await run(fake.arguments(words)).code == 64)
  }
}
