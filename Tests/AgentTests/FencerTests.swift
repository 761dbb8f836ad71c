import Glibc
import LinuxDevices
import Services
import Testing

@testable import Agent

extension Result where Failure == any Error {
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}

/// Agents and plugins of two hosts, each a process, that see one device; and a coordinator for each, which says what the arbiter
/// would say when host-a is lost.
@Suite(.timeLimit(.minutes(3))) struct AnotherRootOfADevice {
  private let (lost, other): (Stage, Stage)

  init() throws {
    lost = try Stage(host: "host-a")
    other = try Stage(host: "host-b")
    mkdir(device, 0o700)
  }

  private var device: String { other.directory + "/device" }

  private func device(_ name: String) -> String {
    SmallFile.text(device + "/" + name) ?? ""
  }

  private func whole(
    _ role: Role = .direct, token: UInt64, revision: UInt64 = 1, released: Bool = false, fenced: Bool = false
  ) -> WantedFunction {
    var wanted = entry("f/1", role, token: token, revision: revision, released: released)
    wanted.fenced = fenced
    wanted.assignment?.path = .direct
    return wanted
  }

  private func part(_ role: Role = .server, token: UInt64, at offset: UInt64? = nil) -> WantedFunction {
    var wanted = entry("f/2", role, token: token)
    wanted.assignment?.path = .mediated
    wanted.assignment?.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 4096 } }
    wanted.assignment?.extent = offset.map { offset in
      Extent {
        $0.offsetBytes = offset
        $0.sizeBytes = 4096
      }
    }
    return wanted
  }

  /// Runs a host's agent until the coordinator has heard that it is so, and kills it.
  private func run(
    _ stage: Stage, _ coordinator: FakeCoordinator, until isSo: @escaping @Sendable (FakeCoordinator) -> Bool
  ) async throws {
    let words = "device=\(device) host=\(stage.host)"
    try await stage.withCoordinator(coordinator) { endpoint in
      let agent = try AgentProcess(stage, endpoint, words: words)
      let heard = await Result { try await coordinator.wait(until: isSo) }
      try await agent.kill(stage)
      try heard.get()
    }
  }

  /// Host-a has all of it under token 1, and is not there any more.
  private func loseTheHolder() async throws {
    let coordinator = FakeCoordinator()
    try await coordinator.want([whole(token: 1)])
    try await run(lost, coordinator) { $0.status("f/1")?.phase == .inUse }
    #expect(device("holder") == "host-a 1")
  }

  private func fence() async throws {
    let coordinator = FakeCoordinator()
    try await coordinator.want([whole(.fencer, token: 2, released: true)])
    try await run(other, coordinator) { $0.status("f/1")?.phase == .absent }
    #expect(coordinator.status("f/1")?.role == .fencer)
    #expect(coordinator.status("f/1")?.function?.token?.value == 2)
  }

  @Test func cutsALostHostOffCleansWhatItHadAndSaysSo() async throws {
    try await loseTheHolder()
    try await fence()
    #expect(device("wiped") == "f/1 by host-b")
    #expect(device("holder").isEmpty)
    #expect(other.functionFiles.isEmpty)
  }

  @Test(arguments: ["before-fence", "after-fence", "before-scrub", "after-scrub", "before-destroy", "after-destroy"])
  func goesOnWhereItWasKilled(at point: String) async throws {
    try await loseTheHolder()
    let coordinator = FakeCoordinator()
    try await coordinator.want([whole(.fencer, token: 2, released: true)])
    let hold = try Hold(point, in: other)
    let words = "device=\(device) host=host-b"
    try await other.withCoordinator(coordinator) { endpoint in
      let first = try AgentProcess(other, endpoint, words: words)
      try await hold.reached()
      try await first.kill(other)
      hold.remove()
    }
    try await run(other, coordinator) { $0.status("f/1")?.phase == .absent }
    #expect(device("wiped").hasPrefix("f/1 by host-b"))
    #expect(device("holder").isEmpty)
  }

  @Test func leavesTheLostHostItsOwnSideToClean() async throws {
    try await loseTheHolder()
    try await fence()
    let next = FakeCoordinator()
    try await next.want([whole(token: 3)])
    try await run(other, next) { $0.status("f/1")?.phase == .inUse }
    #expect(lost.functionFiles == ["function-1-1"])
    let coordinator = FakeCoordinator()
    try await coordinator.want([whole(token: 1, revision: 2, released: true, fenced: true)])
    try await run(lost, coordinator) { $0.status("f/1")?.phase == .absent }
    #expect(lost.functionFiles.isEmpty)
    // It touched neither what is on the device nor whom it is kept for.
    #expect(device("wiped") == "f/1 by host-b")
    #expect(device("holder") == "host-b 3")
  }

  @Test func isNotGotRoundByAHostThatHasNotHeardOfIt() async throws {
    try await loseTheHolder()
    let next = FakeCoordinator()
    try await next.want([whole(token: 3)])
    try await run(other, next) { $0.status("f/1")?.phase == .inUse }
    let coordinator = FakeCoordinator()
    try await coordinator.want([whole(token: 1)])
    try await run(lost, coordinator) { $0.status("f/1")?.error?.highestToken != nil }
    #expect(coordinator.status("f/1")?.error?.highestToken?.value == 3)
    #expect(coordinator.status("f/1")?.phase == .created)
    #expect(device("holder") == "host-b 3")
  }

  @Test func takesControlAndServesTheSamePlace() async throws {
    let first = FakeCoordinator()
    first.giveControl(token: 1)
    try await first.want([part(token: 2)])
    try await run(lost, first) { $0.status("f/2")?.phase == .inUse }
    #expect(device("holder") == "host-a 1")
    let second = FakeCoordinator()
    second.giveControl(token: 5, after: [1])
    try await second.want([part(token: 6, at: 8192)])
    try await run(other, second) { $0.status("f/2")?.phase == .inUse }
    #expect(second.inventory.endNodes.first?.physicalFunction?.controlToken?.value == 5)
    #expect(second.status("f/2")?.function?.extent?.offsetBytes == 8192)
    #expect(device("holder") == "host-b 5")

    // The former one has its part still, and the device takes nothing from it.
    let third = FakeCoordinator()
    try await run(lost, third) { $0.reports.contains { $0.complete } }
    #expect(third.status("f/2")?.phase == .created)
    let again = FakeCoordinator()
    var released = part(token: 2)
    (released.released, released.fenced, released.revision) = (true, true, 3)
    try await again.want([released])
    try await run(lost, again) { $0.status("f/2")?.phase == .absent }
    #expect(lost.functionFiles.isEmpty)
    #expect(device("wiped").isEmpty && device("holder") == "host-b 5")
  }
}
