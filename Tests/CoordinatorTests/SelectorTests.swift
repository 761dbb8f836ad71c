import Services
import Testing

@testable import Coordinator

/// Claims with conditions, over real sockets.
@Suite(.timeLimit(.minutes(1))) struct SelectorTests {
  /// Host a has two cards, in different racks.
  private var rack: [FakeAgent] {
    var cards = FakeAgent.withCard.endNodes + FakeAgent.withCard.endNodes
    cards[0].labels = ["rack": "r2"]
    cards[1].id = "ethernet/52:54:00:00:00:02"
    cards[1].labels = ["rack": "r10"]
    cards[1].roots = [Root { $0.localName = "eth2" }]
    return [FakeAgent("a", address: "10.0.0.1", endNodes: cards), .withoutCard]
  }

  private func request(_ name: String, selector: String) -> CreateClaimRequest {
    var request = CreateClaimRequest.ethernet(name)
    request.specification?.selector = selector
    return request
  }

  @Test func aConditionChoosesAndLasts() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    try await withAgents(rack, of: coordinator) {
      _ = try await coordinator.claims.createClaim(
        request("web", selector: #"label.rack > "r2" and free.functions > 2"#))
      let ready = try await coordinator.claims.wait(for: "web", .ready)
      #expect(ready.status?.assignment?.endNode == "ethernet/52:54:00:00:00:02")
      _ = try await coordinator.claims.createClaim(request("none", selector: #"label.rack == "r3""#))
    }
    try await coordinator.stop()

    let second = try await TestCoordinator(in: directory)
    try await withAgents(rack, of: second) {
      let none = try await second.claims.getClaim(GetClaimRequest { $0.name = "none" })
      #expect(none.status?.pending.first?.message.contains(#"it is not label.rack == "r3""#) == true)
    }
    try await second.stop()
  }

  @Test func theErrorArrivesWithItsPlace() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    try await withAgents(rack, of: coordinator) {
      let error = await rpcError {
        _ = try await coordinator.claims.createClaim(request("web", selector: "label.rack == 3"))
      }
      #expect(error?.code == .invalidArgument)
      #expect(
        error?.message == """
          the selector, column 15: label.rack is a text, and 3 is none: a text is in quotes, as in "3"
            label.rack == 3
                          ^
          """)
    }
    try await coordinator.stop()
  }

  @Test func theHostIsChosenWithTheEndNodeAndStays() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    var request = CreateClaimRequest.ethernet("web", host: "")
    request.specification?.hosts = ["b", "a"]
    try await withAgents(rack, of: coordinator) {
      _ = try await coordinator.claims.createClaim(request)
      let ready = try await coordinator.claims.wait(for: "web", .ready)
      #expect(ready.status?.assignment?.host == "a" && ready.status?.assignment?.path == .directSoftware)
      #expect(ready.specification?.hosts == ["a", "b"])
      request.name = "none"
      request.specification?.hosts = ["b", "z"]
      let error = await rpcError { _ = try await coordinator.claims.createClaim(request) }
      #expect(error?.code == .invalidArgument && error?.message.contains("there is no host 'z'") == true)
    }
    try await coordinator.stop()

    let second = try await TestCoordinator(in: directory)
    try await withAgents(rack, of: second) {
      let web = try await second.claims.wait(for: "web", .ready)
      #expect(web.status?.assignment?.host == "a")
    }
    try await second.stop()
  }
}
