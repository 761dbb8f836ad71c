import Glibc
import LinuxDevices
import Reconciliation
import Services
import Testing

@testable import Agent

private func key(_ function: String, token: UInt64 = 1) -> FunctionKey {
  FunctionKey(function: function, role: .direct, token: token)
}

@Suite struct TheJournal {
  private let stage: Stage
  private var path: String { stage.directory + "/journal" }

  init() throws { stage = try Stage() }

  private func journal(boot: String = "boot-1") -> Journal { Journal(path, bootID: boot) }

  @Test func remembersWhatIsWantedUntilItIsDoneWith() {
    var first = journal()
    _ = first.write(wanted: [entry("f/1"), entry("g/2", token: 2)])
    _ = first.write([.forgotten(key("f/1"))])
    #expect(journal().remembered.wanted == [entry("g/2", token: 2)])
  }

  @Test func remembersOnlyReleasesOfAnotherBoot() {
    var first = journal()
    _ = first.write(wanted: [entry("f/1"), entry("g/2", token: 2, released: true)])
    #expect(journal(boot: "boot-2").remembered.wanted == [entry("g/2", token: 2, released: true)])
  }

  @Test func remembersThatAHostHadBegunToLetGo() {
    var first = journal()
    _ = first.write(wanted: [entry("f/1"), entry("g/2", token: 2, released: true)])
    _ = first.write([.begun(key("f/1"), verb: "attach"), .begun(key("g/2", token: 2), verb: "detach")])
    #expect(journal().remembered.selfFenced.isEmpty)
    _ = first.write([.begun(key("f/1"), verb: "detach")])
    #expect(journal().remembered.selfFenced == [key("f/1")])
  }

  @Test func thatWasCutAtAnyByteIsUsedAsFarAsItGoes() throws {
    var first = journal()
    _ = first.write(wanted: [entry("f/1")])
    let whole = try SmallFile.read(path)
    _ = first.write(wanted: [entry("f/1", revision: 2, released: true)])
    let bytes = try SmallFile.read(path)
    for length in whole.count..<bytes.count {
      try SmallFile.replace(path, with: Array(bytes[..<length]), durably: false)
      #expect(journal().remembered.wanted == [entry("f/1")])
    }
  }

  @Test func thatIsDamagedSaysSoAndIsUsedAllTheSame() throws {
    var first = journal()
    _ = first.write(wanted: [entry("f/1"), entry("g/2", token: 2)])
    var bytes = try SmallFile.read(path)
    bytes[20] ^= 1
    try SmallFile.replace(path, with: bytes, durably: false)
    let again = journal()
    #expect(again.damagedLines == 1)
    #expect(again.remembered.wanted == [entry("g/2", token: 2)])
  }

  @Test func doesNotGrowForEver() throws {
    var first = journal()
    _ = first.write(wanted: [entry("f/1")])
    for step in 0..<(10 * Journal.stepsKept) {
      _ = first.write([
        .begun(key("s/\(step)"), verb: "create"), .ended(key("s/\(step)"), verb: "create", result: "ok"),
      ])
    }
    var lines = 0
    try Journal.print(path) { _ in lines += 1 }
    #expect(lines < 6 * Journal.stepsKept)
    #expect(journal().remembered.wanted == [entry("f/1")])
  }

  @Test func thatCannotBeWrittenIsMended() throws {
    let directory = stage.directory + "/later"
    var journal = Journal(directory + "/journal", bootID: "boot")
    #expect(journal.problem?.contains("No such file") == true)
    _ = journal.write(wanted: [entry("f/1")])
    _ = journal.rewrite()
    #expect(journal.problem != nil)
    try SmallFile.makeDirectory(directory)
    _ = journal.rewrite()
    #expect(journal.problem == nil)
    #expect(Journal(directory + "/journal", bootID: "boot").remembered.wanted == [entry("f/1")])
  }

  @Test func isReadByPeople() throws {
    var first = journal()
    _ = first.write(wanted: [entry("f/1", revision: 7)])
    _ = first.write([.begun(key("f/1"), verb: "attach"), .ended(key("f/1"), verb: "attach", result: "it is busy")])
    var lines: [String] = []
    try Journal.print(path) { lines.append($0) }
    #expect(lines[0].hasSuffix("is wanted for claim '', revision 7"))
    #expect(lines[2].hasSuffix("attach ends: it is busy"))
    #expect(WallClock.text(1_700_000_000_123) == "2023-11-14 22:13:20.123Z")
  }
}

@Suite(.timeLimit(.minutes(2))) struct AnAgentThatStartsAgain {
  @Test func finishesAReleaseWithoutItsCoordinator() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator()
    try await coordinator.want([entry("f/1")])
    try await stage.withCoordinator(coordinator) { endpoint in
      let first = try AgentProcess(stage, endpoint)
      try await coordinator.wait { $0.status("f/1")?.phase == .inUse }
      let held = try Hold("before-detach", in: stage)
      try await coordinator.want([entry("f/1", revision: 2, released: true)])
      try await held.reached()
      try await first.kill(stage)
      held.remove()
      coordinator.goAway()
      let last = try Hold("after-destroy", in: stage)
      let second = try AgentProcess(stage, endpoint)
      try await last.reached()
      #expect(SmallFile.names(in: stage.state + "/plugins/test").allSatisfy { !$0.hasPrefix("function-") })
      last.remove()
      try await second.kill(stage)
    }
  }

  @Test func letsGoOfWhatAsksForItAfterALeaseTermWithoutItsCoordinator() async throws {
    let stage = try Stage()
    let coordinator = FakeCoordinator(leaseTermMilliseconds: 3000)
    try await coordinator.want([entry("f/1", lossPolicy: .selfFence)])
    try await stage.withCoordinator(coordinator) { endpoint in
      let first = try AgentProcess(stage, endpoint)
      try await coordinator.wait { $0.status("f/1")?.phase == .inUse }
      try await first.kill(stage)
      coordinator.goAway()
      let cut = try Hold("after-detach", in: stage)
      let second = try AgentProcess(stage, endpoint)
      try await cut.reached()
      cut.remove()
      try await second.kill(stage)
      coordinator.comeBack()
      let third = try AgentProcess(stage, endpoint)
      try await coordinator.wait { $0.status("f/1")?.error?.step == "self-fence" }
      try await third.kill(stage)
    }
  }
}
