import Foundation
import Services
import Testing

@testable import Coordinator

/// A coordinator, and agents and plugins in processes of their own, on hosts that see one device; one of them is lost.
@Suite(.timeLimit(.minutes(3))) struct ALostRootOfADevice {
  private static let hosts = ["host-a", "host-b", "host-c"]
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func device(_ name: String) -> String {
    (try? String(contentsOfFile: directory.file("device/\(name)"), encoding: .utf8)) ?? ""
  }

  private func coordinator() async throws -> TestCoordinator {
    // The margin after a lease is 5 s, also here.
    try await TestCoordinator(in: directory) {
      ($0.leaseTermMilliseconds, $0.heartbeatIntervalMilliseconds) = (1000, 200)
    }
  }

  private func start(_ host: String, _ coordinator: TestCoordinator) throws -> RealAgent {
    try RealAgent(host, in: directory, coordinator.endpoint)
  }

  /// One after the other, so that the first one controls the device.
  private func startAll(_ coordinator: TestCoordinator) async throws -> [RealAgent] {
    var agents: [RealAgent] = []
    for (number, host) in Self.hosts.enumerated() {
      agents.append(try start(host, coordinator))
      try await until { try await roots(coordinator).count == number + 1 }
    }
    #expect(try await roots(coordinator) == Self.hosts)
    return agents
  }

  private func roots(_ coordinator: TestCoordinator) async throws -> [String] {
    try await coordinator.inventory.listEndNodes(ListEndNodesRequest()).endNodes.first?.roots.map(\.host) ?? []
  }

  private func until(_ isSo: () async throws -> Bool) async throws {
    while try await !isSo() { try await Task.sleep(for: .milliseconds(20)) }
  }

  private func claim(
    _ name: String, on host: String, bytes: UInt64?, by path: Path = .direct, _ coordinator: TestCoordinator
  ) async throws -> Claim {
    _ = try await coordinator.claims.createClaim(
      CreateClaimRequest {
        $0.name = name
        $0.specification = ClaimSpecification {
          $0.deviceClass = "test"
          $0.host = host
          $0.allowedPaths = [path]
          if let bytes { $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = bytes } } }
        }
      })
    return try await coordinator.claims.wait(for: name, .ready)
  }

  private func delete(_ name: String, _ coordinator: TestCoordinator) async throws {
    let claims = coordinator.claims
    _ = try await claims.deleteClaim(DeleteClaimRequest { $0.name = name })
    try await until { await rpcError { _ = try await claims.getClaim(GetClaimRequest { $0.name = name }) } != nil }
  }

  private func expectNothingIsLeft(of agent: RealAgent, _ coordinator: TestCoordinator) async throws {
    try await until {
      try await coordinator.operations.listOrphans(ListOrphansRequest()).orphans.isEmpty && agent.functionFiles.isEmpty
    }
  }

  @Test func isCutOffAndCleanedUpAfterByAnotherAndCleansItsOwnSideWhenItIsBack() async throws {
    let coordinator = try await coordinator()
    var agents = try await startAll(coordinator)
    let held = try await claim("all", on: "host-a", bytes: nil, coordinator).status?.assignment
    let token = held?.token?.value ?? 0
    #expect(device("holder") == "host-a \(token)")
    try await agents[0].kill()
    try await delete("all", coordinator)
    #expect(device("wiped") == "\(held?.function ?? "") by host-b\n")
    #expect(device("holder").isEmpty)

    let next = try await claim("next", on: "host-c", bytes: nil, coordinator).status?.assignment
    #expect(device("holder") == "host-c \(next?.token?.value ?? 0)")
    #expect(agents[0].functionFiles == ["function-1-\(token)"])
    agents[0] = try start("host-a", coordinator)
    try await expectNothingIsLeft(of: agents[0], coordinator)
    #expect(device("wiped") == "\(held?.function ?? "") by host-b\n")
    #expect(device("holder") == "host-c \(next?.token?.value ?? 0)")
    #expect(try await coordinator.claims.getClaim(GetClaimRequest { $0.name = "next" }).status?.phase == .ready)
    for agent in agents { try await agent.kill() }
    try await coordinator.stop()
  }

  @Test func losesControlToAnotherThatServesTheSameFunctionsInTheSamePlace() async throws {
    let coordinator = try await coordinator()
    var agents = try await startAll(coordinator)
    let before = try await claim("far", on: "host-c", bytes: 1 << 20, by: .mediated, coordinator).status?.assignment
    #expect(before?.controllingHost == "host-a" && before?.path == .mediated)
    #expect(device("holder").hasPrefix("host-a "))
    try await agents[0].kill()
    try await until {
      let status = try await coordinator.claims.getClaim(GetClaimRequest { $0.name = "far" }).status
      return status?.assignment?.controllingHost == "host-b" && status?.phase == .ready
    }
    let after = try await coordinator.claims.getClaim(GetClaimRequest { $0.name = "far" }).status?.assignment
    #expect(after?.function == before?.function && after?.extent == before?.extent)
    #expect(after?.token?.value ?? 0 > before?.token?.value ?? .max)
    #expect(device("holder").hasPrefix("host-b "))

    agents[0] = try start("host-a", coordinator)
    try await expectNothingIsLeft(of: agents[0], coordinator)
    #expect(device("wiped").isEmpty)
    #expect(try await coordinator.claims.getClaim(GetClaimRequest { $0.name = "far" }).status?.phase == .ready)
    try await delete("far", coordinator)
    #expect(device("wiped") == "\(before?.function ?? "") by host-b\n")
    #expect(agents.allSatisfy { $0.functionFiles.isEmpty })
    for agent in agents { try await agent.kill() }
    try await coordinator.stop()
  }
}
