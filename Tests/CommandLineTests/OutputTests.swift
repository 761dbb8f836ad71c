import Configuration
import Services
import Testing

@Suite struct OutputTests {
  @Test func everyFormSaysTheSame() async throws {
    let coordinator = try await FakeCoordinator { world in
      world.claims = [Claim { $0.name = "web" }, Claim { $0.name = "data" }]
    }
    let yaml = try await coordinator.iov("claim", "list", "-o", "yaml")
    #expect(try Configuration.decode(ListClaimsResponse.self, from: yaml.output, named: "x").claims.count == 2)
    let json = try await coordinator.iov("claim", "list", "-o", "json")
    // JSON is YAML.
    #expect(try Configuration.decode(ListClaimsResponse.self, from: json.output, named: "x").claims.count == 2)
    #expect(try await coordinator.iov("claim", "list", "-o", "name").lines == ["data", "web"])
    #expect(try await coordinator.iov("claim", "list").lines.count == 3)
    #expect(try await coordinator.iov("claim", "get", "web", "-o", "yaml").output == "name: web\n")
    #expect(try await coordinator.iov("claim", "get", "web", "-o", "name").code == 64)
  }
}
