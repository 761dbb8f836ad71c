import Messages
import Testing

@testable import Reconciliation

@Suite struct ControlOfAnEndNode {
  private func wanted(
    _ entries: [WantedFunction], token: UInt64 = 4, complete: Bool = true, unused: Bool = false, count: UInt32? = nil
  ) -> WantedState {
    var state = makeWanted(entries, complete: complete)
    state.controls = [
      WantedControl {
        $0.endNode = "ethernet/a"
        $0.deviceClass = "ethernet"
        $0.controlToken = FencingToken { $0.value = token }
        $0.unused = unused
        $0.functionCount = count
      }
    ]
    return state
  }

  @Test(arguments: [Role.direct, .server])
  func isTakenBeforeAnythingIsSetUp(role: Role) {
    var host = FakeHost()
    host.start(wanted([makeEntry("f/1", role, token: 5)]))
    host.settle()
    #expect(host.plugin.calls.prefix(2) == ["control ethernet/a 4", "create f/1"])
    #expect(host.phase("f/1", role) == .inUse)
  }

  @Test func isNotWaitedForByAConsumerNorByARelease() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("g/2", token: 2)]))
    host.settle()
    host.plugin.calls = []
    let released = makeEntry("g/2", token: 2, revision: 2, released: true)
    host.handle(.wanted(wanted([makeEntry("f/1", .consumer), released], complete: false)))
    host.pending.removeAll { if case .takeControl = $0 { true } else { false } }
    host.settle()
    #expect(host.plugin.calls.contains("connect f/1") && host.plugin.calls.contains("destroy g/2"))
  }

  @Test func thatCannotBeTakenIsTriedAgainAndSaid() {
    var host = FakeHost()
    host.start(wanted([makeEntry("f/1", token: 5)]))
    host.performNext()
    let failure = StepFailure(code: 14, message: "the card does not answer")
    host.pending = []
    host.handle(.controlFailed(endNode: "ethernet/a", token: 4, failure, draw: 0.5))
    #expect(host.reported("f/1")?.error?.message.contains("the card does not answer") == true)
    host.settle()
    #expect(host.phase("f/1") == .inUse)
  }

  @Test func isTakenAgainUnderANewTokenAndFromANewProcess() {
    var host = FakeHost()
    host.start(wanted([]))
    host.settle()
    host.handle(.wanted(wanted([], token: 9, complete: false)))
    host.settle()
    host.handle(.pluginGone(plugin: "ethernet", reason: "killed"))
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    #expect(host.plugin.calls == ["control ethernet/a 4", "control ethernet/a 9", "control ethernet/a 9"])
  }

  @Test func anEndNodeThatNobodyUsesIsLetGoOfOnce() {
    var host = FakeHost()
    host.start(wanted([]))
    host.settle()
    host.handle(.wanted(wanted([], complete: false, unused: true)))
    host.settle()
    host.handle(.pluginGone(plugin: "ethernet", reason: "killed"))
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    #expect(host.plugin.calls == ["control ethernet/a 4", "control ethernet/a 4 unused", "control ethernet/a 4"])
  }

  @Test func anEndNodeThatIsUsedMeanwhileIsKept() {
    var host = FakeHost()
    host.start(wanted([]))
    // It is being asked for control when it hears that nobody uses it, and then that somebody does.
    host.handle(.wanted(wanted([], complete: false, unused: true)))
    host.handle(.wanted(makeWanted([makeEntry("f/1", token: 5)], complete: false)))
    host.settle()
    #expect(host.plugin.calls.prefix(2) == ["control ethernet/a 4", "create f/1"])
    #expect(!host.plugin.calls.contains { $0.contains("unused") })
    #expect(host.phase("f/1") == .inUse)
  }

  @Test func whatIsSaidWhileItIsAskedIsSaidToIt() {
    var host = FakeHost()
    host.start(wanted([]))
    host.handle(.wanted(wanted([], complete: false, unused: true)))
    host.settle()
    #expect(host.plugin.calls.last == "control ethernet/a 4 unused")
  }

  // MARK: How many functions the device is to make

  @Test func anotherNumberOfFunctionsIsSaidOnceAndAgainToANewProcess() {
    var host = FakeHost()
    host.start(wanted([], count: 4))
    host.settle()
    for _ in 0..<2 {
      host.handle(.wanted(wanted([], complete: false, count: 2)))
      host.settle()
    }
    host.handle(.pluginGone(plugin: "ethernet", reason: "killed"))
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    host.handle(.wanted(wanted([], complete: false)))
    host.settle()
    #expect(
      host.plugin.calls == [
        "control ethernet/a 4 of 4", "control ethernet/a 4 of 2", "control ethernet/a 4 of 2", "control ethernet/a 4",
      ])
  }

  @Test func aNumberThatIsSaidWhileItIsAskedIsSaidToIt() {
    var host = FakeHost()
    host.start(wanted([]))
    host.handle(.wanted(wanted([], complete: false, count: 3)))
    host.handle(.wanted(wanted([], complete: false, count: 0)))
    host.settle()
    #expect(host.plugin.calls == ["control ethernet/a 4", "control ethernet/a 4 of 0"])
    // And one that is taken back meanwhile is not.
    host.handle(.wanted(wanted([], complete: false, count: 5)))
    host.handle(.wanted(wanted([], complete: false, count: 0)))
    host.handle(.wanted(wanted([], complete: false, count: 5)))
    host.settle()
    #expect(host.plugin.calls.dropFirst(2) == ["control ethernet/a 4 of 5"])
  }

  @Test func anotherNumberHoldsNoFunctionUp() {
    var host = FakeHost()
    host.start(wanted([]))
    host.settle()
    host.handle(.wanted(wanted([makeEntry("f/1", token: 5)], complete: false, count: 3)))
    host.pending.removeAll { if case .takeControl = $0 { true } else { false } }
    let failure = StepFailure(code: 14, message: "the card does not answer")
    host.handle(.controlFailed(endNode: "ethernet/a", token: 4, failure, draw: 0.5))
    host.performAll()
    #expect(host.phase("f/1") == .inUse && host.reported("f/1")?.error == nil)
    // It is said again all the same.
    host.settle()
    #expect(host.plugin.calls.last == "control ethernet/a 4 of 3")
  }

  @Test func anEndNodeThatIsLetGoOfIsWaitedForWhateverItsNumber() {
    var host = FakeHost()
    host.start(wanted([]))
    host.settle()
    host.handle(.wanted(wanted([], complete: false, count: 3)))
    host.handle(.wanted(wanted([], complete: false, unused: true, count: 3)))
    host.handle(.wanted(makeWanted([makeEntry("f/1", token: 5)], complete: false)))
    #expect(host.pending.allSatisfy { if case .step = $0 { false } else { true } })
    host.settle()
    #expect(host.plugin.calls.contains("create f/1") && host.phase("f/1") == .inUse)
  }
}

@Suite struct AnOrphanThatIsGone {
  private func host() -> FakeHost {
    var host = FakeHost()
    host.plugin.functions[.init(function: "o/9", role: .direct)] = .init(phase: .inUse, token: 9, role: .direct)
    host.start(makeWanted([]))
    host.settle()
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.pending = []
    return host
  }

  @Test func isSaidToBe() {
    var host = host()
    host.handle(.observed(plugin: "ethernet", []))
    #expect(host.reports.last?.functions.map(\.phase) == [.unspecified])
    #expect(host.reconciler.statuses.isEmpty)
  }

  @Test func isNotSaidToBeWhenItIsThereInAnotherRole() {
    var host = host()
    host.handle(.observed(plugin: "ethernet", [makeStatus("o/9", .server, token: 9, .inUse)]))
    #expect(host.reports.last?.functions.map(\.role) == [.server])
  }
}
