import Messages
import Testing

@testable import Reconciliation

@Suite struct SettingUp {
  @Test func aDirectFunctionIsCreatedThenAttached() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", revision: 7)]))
    host.settle()
    #expect(host.plugin.calls == ["create f/1", "attach f/1"])
    #expect(host.reported("f/1")?.phase == .inUse)
    #expect(host.reported("f/1")?.revision == 7)
  }

  @Test func aServerCreatesThenServesAndAConsumerConnects() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", .server), makeEntry("g/2", .consumer, token: 2)]))
    host.settle()
    #expect(host.plugin.calls.sorted() == ["connect g/2", "create f/1", "serve f/1"])
    #expect(host.phase("f/1", .server) == .inUse)
    #expect(host.phase("g/2", .consumer) == .inUse)
  }

  @Test func nothingIsDoneBeforeThePluginWasAskedWhatThereIs() {
    var host = FakeHost()
    host.handle(.sessionOpened(epoch: 1, leaseUntil: .farOff))
    host.handle(.wanted(makeWanted([makeEntry("f/1")])))
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    #expect(host.pending == [.observe(plugin: "ethernet")])
    #expect(host.reports.isEmpty)
  }

  @Test func aFunctionInUseIsLeftAloneWhenTheAgentStartsAgain() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.killAgent()
    host.plugin.calls = []
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    #expect(host.plugin.calls.isEmpty)
    #expect(host.reports.last?.complete == true)
    #expect(host.reports.last?.functions.map(\.phase) == [.inUse])
  }

  @Test func aFunctionThatWasLostIsMadeAgain() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.functions = [:]
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.settle()
    #expect(host.phase("f/1") == .inUse)
  }

  @Test func aFunctionThatWasLostIsNotReportedAsReleased() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.functions = [:]
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.performNext()
    #expect(host.reported("f/1")?.phase == .unspecified)
  }

  @Test(arguments: ["uid", "theirs"])
  func whatAnotherClaimHasUnderTheSameTokenIsReportedAsThatOnes(uid: String) {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    var made = makeStatus("f/1", .direct, token: 1, .created, attributes: nil)
    made.assignment = Assignment {
      $0.function = "f/1"
      $0.claimUid = uid
    }
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.handle(.observed(plugin: "ethernet", [made]))
    #expect(host.reported("f/1")?.phase == .created)
    #expect(host.reported("f/1")?.assignment?.claimUid == (uid == "uid" ? nil : uid))
  }

  @Test func howWellAFunctionDoesIsReportedWhileItIsInUse() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.calls = []
    let health = Health {
      $0.state = .unhealthy
      $0.message = "no carrier"
    }
    for (phase, told) in [(FunctionPhase.inUse, health), (.created, nil)] {
      var observed = makeStatus("f/1", .direct, token: 1, phase, attributes: nil)
      observed.health = health
      host.handle(.pluginChanged(plugin: "ethernet"))
      host.handle(.observed(plugin: "ethernet", [observed]))
      #expect(host.reported("f/1")?.health == told)
      // It is no reason to do anything.
      #expect(host.plugin.calls.isEmpty)
    }
  }

  @Test func aFunctionThatThePluginCannotLookAtIsLeftAloneUntilItIsReleased() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.calls = []
    var unknown = makeStatus("f/1", .direct, token: 1, .unspecified, attributes: nil)
    unknown.error = FunctionError {
      $0.step = "observe"
      $0.message = "its disk is gone"
    }
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.handle(.observed(plugin: "ethernet", [unknown]))
    #expect(host.plugin.calls.isEmpty)
    #expect(host.reported("f/1")?.phase == .unspecified)
    #expect(host.reported("f/1")?.error?.message == "its disk is gone")
    host.pending = []
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 2, released: true)], revision: 2, complete: false)))
    host.settle()
    #expect(host.plugin.calls == ["detach f/1", "scrub f/1", "destroy f/1"])
    #expect(host.reported("f/1")?.phase == .absent)
  }
}

@Suite struct Releasing {
  @Test func aDirectFunctionIsDetachedScrubbedAndDestroyed() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.calls = []
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 2, released: true)], revision: 2, complete: false)))
    host.settle()
    #expect(host.plugin.calls == ["detach f/1", "scrub f/1", "destroy f/1"])
    #expect(host.reported("f/1")?.phase == .absent)
    #expect(host.reported("f/1")?.revision == 2)
    #expect(host.reconciler.statuses.isEmpty)
  }

  @Test func theCutIsReportedBeforeTheScrubIsDone() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", .server)]))
    host.settle()
    host.handle(
      .wanted(makeWanted([makeEntry("f/1", .server, revision: 2, released: true)], revision: 2, complete: false)))
    #expect(host.reported("f/1")?.phase == .inUse)
    host.performNext()
    #expect(host.reported("f/1")?.phase == .scrubbing)
    #expect(host.reported("f/1")?.revision == 2)
  }

  @Test func howFarTheScrubIsIsReportedWhileItGoesOn() throws {
    var host = FakeHost()
    let released = makeEntry("f/1", .server, revision: 2, released: true)
    let key = try #require(FunctionKey(released))
    host.start(makeWanted([makeEntry("f/1", .server)]))
    host.settle()
    host.handle(.wanted(makeWanted([released], revision: 2, complete: false)))
    // What an answer that was long on its way says of no scrub is nobody's news.
    host.handle(.scrubProgressed(key, done: 1, total: 4))
    #expect(host.reported("f/1")?.scrub == nil)
    host.performNext()
    host.handle(.scrubProgressed(key, done: 2, total: 4))
    #expect(host.reported("f/1")?.scrub?.doneBytes == 2)
    #expect(host.reported("f/1")?.phase == .scrubbing)
    host.settle()
    #expect(host.reported("f/1")?.phase == .absent)
  }

  @Test func whatIsNotThereIsConfirmedUnderItsToken() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/5", token: 5, released: true)]))
    host.settle()
    #expect(host.plugin.released["f/5"] == 5)
    #expect(host.reported("f/5")?.phase == .absent)
    #expect(host.reported("f/5")?.function?.token?.value == 5)
  }

  @Test func aDelayedWordThatItIsWantedDoesNotBringItBack() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 2, released: true)], revision: 2, complete: false)))
    host.settle()
    host.handle(.wanted(makeWanted([makeEntry("f/1")], complete: false)))
    host.settle(attempts: 20)
    #expect(host.phase("f/1") == nil)
    #expect(host.reported("f/1")?.error?.permanent == true)
  }

  @Test func aWordOfARestoredCoordinatorDuringAReleaseIsRefusedByThePluginAfterIt() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 2, released: true)], revision: 2, complete: false)))
    host.handle(.sessionOpened(epoch: 2, leaseUntil: .farOff))
    host.handle(.wanted(makeWanted([makeEntry("f/1")], epoch: 2)))
    host.settle(attempts: 20)
    let afterTheRelease = host.plugin.calls.drop { $0 != "destroy f/1" }
    #expect(Set(afterTheRelease.dropFirst()) == ["create f/1"])
    #expect(host.phase("f/1") == nil)
    #expect(host.reported("f/1")?.error?.code == 9)
    #expect(host.reported("f/1")?.revision == 1)
  }

  @Test func anEmptyWantedStateTearsNothingDown() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.calls = []
    host.handle(.sessionOpened(epoch: 2, leaseUntil: .farOff))
    host.handle(.wanted(makeWanted([], epoch: 2)))
    host.settle()
    #expect(host.plugin.calls.isEmpty)
    #expect(host.phase("f/1") == .inUse)
    #expect(host.reported("f/1")?.revision == 0)
  }

  @Test func anOrphanIsReportedAndLeftAlone() {
    var host = FakeHost()
    host.plugin.functions[.init(function: "o/9", role: .direct)] = .init(phase: .inUse, token: 9, role: .direct)
    host.start(makeWanted([]))
    host.settle()
    #expect(host.plugin.calls.isEmpty)
    #expect(host.reported("o/9")?.phase == .inUse)
    #expect(host.reported("o/9")?.function?.token?.value == 9)
  }

  @Test func onlyAnOrphanIsReportedWithWhatTheHostWasTold() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.pending = []
    var known = makeStatus("f/1", .direct, token: 1, .inUse)
    known.assignment = Assignment { $0.function = "f/1" }
    host.handle(.observed(plugin: "ethernet", [known]))
    #expect(host.reported("f/1")?.assignment == nil)
    host.handle(.wanted(makeWanted([], revision: 2)))
    #expect(host.reported("f/1")?.assignment == known.assignment)
  }

  @Test func whatBecomesAnOrphanIsReportedWithWhatTheHostWasToldBeforeItIsObservedAgain() {
    var host = FakeHost()
    let entry = makeEntry("f/1")
    host.start(makeWanted([entry]))
    host.settle()
    host.handle(.wanted(makeWanted([], revision: 2)))
    #expect(host.reported("f/1")?.assignment == entry.assignment)
  }

  @Test(arguments: [Role.direct, .server])
  func whatAHostUsedOfAnotherIsLetGoOfBeforeItServesInItsPlace(role: Role) {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", .consumer, token: 2)]))
    host.settle()
    #expect(host.phase("f/1", .consumer) == .inUse)
    host.plugin.calls = []
    let former = makeEntry("f/1", .consumer, token: 2, revision: 2, released: true)
    // The coordinator's words come in any order.
    host.handle(.wanted(makeWanted([makeEntry("f/1", role, token: 3, revision: 3)], complete: false)))
    #expect(host.reported("f/1")?.error?.message.contains("has to be released first") == true)
    host.handle(.wanted(makeWanted([former], complete: false)))
    host.settle()
    #expect(host.plugin.calls.prefix(2) == ["disconnect f/1", "create f/1"])
    #expect(host.phase("f/1", role) == .inUse)
  }

  @Test func aFunctionIsNotGivenOnBeforeItsFormerGrantIsReleased() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f", token: 1)]))
    host.settle()
    host.plugin.calls = []
    host.handle(.wanted(makeWanted([makeEntry("f", token: 2, revision: 2)], revision: 2)))
    host.settle()
    #expect(host.plugin.calls.isEmpty)
    #expect(host.reported("f")?.error?.code == 9)
    let released = makeEntry("f", token: 1, revision: 3, released: true)
    host.handle(.wanted(makeWanted([released], revision: 3, complete: false)))
    host.settle()
    #expect(host.plugin.calls == ["detach f", "scrub f", "destroy f", "create f", "attach f"])
    #expect(host.plugin.functions[.init(function: "f", role: .direct)]?.token == 2)
    #expect(host.plugin.violations.isEmpty)
  }
}

@Suite struct Obedience {
  @Test func aLowerEpochIsRefused() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")], epoch: 5))
    host.settle()
    #expect(host.epoch == 5)
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 9, released: true)], epoch: 4, revision: 9)))
    host.settle()
    #expect(host.refusals == 1)
    #expect(host.phase("f/1") == .inUse)
  }

  @Test func theHighestEpochOutlivesTheAgent() {
    var host = FakeHost()
    host.start(makeWanted([], epoch: 5))
    host.killAgent()
    host.handle(.sessionOpened(epoch: 4, leaseUntil: .farOff))
    #expect(host.refusals == 1)
  }

  @Test func theEpochIsKeptBeforeAnyStep() throws {
    var host = FakeHost()
    host.start(makeWanted([]))
    host.settle()
    let effects = host.reconciler.handle(.wanted(makeWanted([makeEntry("f/1")], epoch: 3)), at: host.now)
    #expect(effects.first == .persistEpoch(3))
    #expect(effects.contains { if case .step = $0 { true } else { false } })
  }

  @Test func aCoordinatorThatIsAwayChangesNothing() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.plugin.calls = []
    host.handle(.sessionClosed)
    host.settle()
    #expect(host.plugin.calls.isEmpty)
    #expect(host.phase("f/1") == .inUse)
  }
}

@Suite struct Changing {
  @Test func newRatesAreConfiguredWhileInUse() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", maxTransmit: 100)]))
    host.settle()
    host.plugin.calls = []
    let entry = makeEntry("f/1", revision: 2, maxTransmit: 200)
    host.handle(.wanted(makeWanted([entry], revision: 2, complete: false)))
    // The answer to the new revision waits for the device.
    #expect(host.reported("f/1")?.revision == 1)
    host.settle()
    #expect(host.plugin.calls == ["configure f/1"])
    #expect(host.reported("f/1")?.revision == 2)
    #expect(host.reported("f/1")?.function?.enforced?.ethernet?.maxTransmitBitsPerSecond == 200)
  }

  @Test func ratesThatChangedWhileTheAgentWasDownAreConfigured() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", maxTransmit: 100)]))
    host.settle()
    host.killAgent()
    host.plugin.calls = []
    host.start(makeWanted([makeEntry("f/1", revision: 2, maxTransmit: 200)]))
    host.settle()
    #expect(host.plugin.calls == ["configure f/1"])
  }

  @Test func aServerThatMovedToAnotherPortIsConnectedToAgain() {
    var host = FakeHost()
    var entry = makeEntry("f/1", .consumer)
    entry.assignment?.mediation = Mediation { $0.serverPort = 1 }
    host.start(makeWanted([entry]))
    host.settle()
    host.plugin.calls = []
    entry.revision = 2
    entry.assignment?.mediation = Mediation { $0.serverPort = 2 }
    host.handle(.wanted(makeWanted([entry], revision: 2, complete: false)))
    host.settle()
    #expect(host.plugin.calls == ["connect f/1"])
  }
}

@Suite struct TakingOver {
  private func heir(released: Bool = false) -> WantedFunction {
    var entry = makeEntry("g/2", .consumer, token: 2, revision: 2, released: released)
    entry.assignment?.takesOver = "f/1"
    return entry
  }

  private var former: WantedFunction { makeEntry("f/1", .consumer, revision: 3, released: true) }

  private func connected() -> FakeHost {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", .consumer)]))
    host.settle()
    host.plugin.calls = []
    return host
  }

  @Test func whatComesInItsPlaceHasTheFirstTurn() {
    var host = connected()
    host.handle(.wanted(makeWanted([former, heir()], revision: 3, complete: false)))
    host.settle()
    #expect(host.plugin.calls == ["connect g/2", "disconnect f/1"])
    #expect(host.reported("f/1")?.phase == .absent)
    #expect(host.reported("g/2")?.phase == .inUse)
  }

  @Test func itIsLetGoOfWhereThatFails() {
    var host = connected()
    host.plugin.released["g/2"] = 2
    host.handle(.wanted(makeWanted([former, heir()], revision: 3, complete: false)))
    host.performAll()
    #expect(host.plugin.calls.prefix(2) == ["connect g/2", "disconnect f/1"])
    #expect(host.reported("f/1")?.phase == .absent)
  }

  @Test func nobodyWaitsForOneThatIsLetGoOfItself() {
    var host = connected()
    host.handle(.wanted(makeWanted([former, heir(released: true)], revision: 3, complete: false)))
    host.settle()
    #expect(host.reported("f/1")?.phase == .absent)
    #expect(host.reported("g/2")?.phase == .absent)
  }

  @Test func aReleaseWaitsForNobodyWithoutALease() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", .consumer)]))
    host.settle()
    host.plugin.calls = []
    host.handle(.wanted(makeWanted([former], revision: 3, complete: false)))
    host.killAgent()
    host.handle(.restored([heir()], selfFenced: []))
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    #expect(host.plugin.calls == ["disconnect f/1"])
  }
}
