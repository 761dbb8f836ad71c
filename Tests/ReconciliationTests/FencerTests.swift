import Messages
import Testing

@testable import Reconciliation

@Suite struct AFencer {
  private func entry(_ path: Path = .direct) -> WantedFunction {
    var entry = makeEntry("f/1", .fencer, token: 9, released: true)
    entry.assignment?.path = path
    return entry
  }

  @Test func cutsOffCleansAndDestroysWhatItNeverHad() {
    var host = FakeHost()
    host.start(makeWanted([entry()]))
    host.settle()
    #expect(host.plugin.calls == ["fence f/1", "scrub f/1", "destroy f/1"])
    let phases = host.reports.flatMap(\.functions).map(\.phase)
    #expect(phases.contains(.scrubbing) && phases.last == .absent)
    #expect(host.reported("f/1")?.role == .fencer)
    #expect(host.reported("f/1")?.function?.token?.value == 9)
    #expect(host.reconciler.statuses.isEmpty)
  }

  @Test func ofAPartWaitsForControlOfTheEndNode() {
    var host = FakeHost()
    var wanted = makeWanted([entry(.mediated)])
    wanted.controls = [
      WantedControl {
        $0.endNode = "ethernet/a"
        $0.deviceClass = "ethernet"
        $0.controlToken = FencingToken { $0.value = 8 }
        $0.formerControlTokens = [FencingToken { $0.value = 4 }]
      }
    ]
    host.start(wanted)
    guard
      case .takeControl(_, let request) = host.pending.first(where: {
        if case .takeControl = $0 { true } else { false }
      })
    else { return #expect(Bool(false)) }
    #expect(request.formerControlTokens.map(\.value) == [4])
    host.settle()
    #expect(host.plugin.calls == ["control ethernet/a 8", "fence f/1", "scrub f/1", "destroy f/1"])
  }

  @Test func thatIsNotNeededAnyMoreStops() {
    var host = FakeHost()
    host.start(makeWanted([entry()]))
    while host.plugin.calls.isEmpty { host.performNext() }
    host.handle(.wanted(makeWanted([], revision: 2)))
    host.settle()
    // The step that was under way is brought to its end, and no other is begun.
    #expect(!host.plugin.calls.contains("destroy f/1"))
    #expect(host.reconciler.statuses.isEmpty)
    #expect(host.journal.isEmpty)
  }

  @Test func goesOnAfterItsAgentWasKilled() {
    var host = FakeHost()
    host.start(makeWanted([entry()]))
    while !host.plugin.calls.contains("scrub f/1") { host.performNext() }
    host.killAgent()
    host.start(makeWanted([entry()]))
    host.settle()
    #expect(host.plugin.calls.suffix(3) == ["fence f/1", "scrub f/1", "destroy f/1"])
  }

  @Test func leavesItsVictimToCleanItsOwnSideAlone() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.calls = []
    var released = makeEntry("f/1", revision: 2, released: true)
    released.fenced = true
    host.plugin.isCutOff = true
    host.handle(.wanted(makeWanted([released], revision: 2, complete: false)))
    host.settle()
    #expect(host.plugin.calls == ["detach f/1", "destroy f/1"])
    #expect(host.reported("f/1")?.phase == .absent)
    #expect(host.plugin.violations.isEmpty)
  }
}
