import Messages
import Testing

@testable import Reconciliation

@Suite struct Failing {
  private func started() -> (FakeHost, Step?) {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", revision: 4)]))
    host.performNext()
    guard case .step(let step) = host.pending.first else { return (host, nil) }
    host.pending = []
    return (host, step)
  }

  @Test func aFailureIsReportedWithItsHostAndStep() throws {
    var (host, step) = started()
    let key = try #require(step).key
    host.handle(.stepFailed(key, StepFailure(code: 14, message: "busy"), draw: 0))
    let error = try #require(host.reported("f/1")?.error)
    #expect(error.host == "host-a")
    #expect(error.step == "create")
    #expect(error.code == 14)
    #expect(error.message == "busy")
    #expect(!error.permanent)
  }

  @Test func aSpentTokenIsSaidWithTheHighestSeen() throws {
    var (host, step) = started()
    let key = try #require(step).key
    host.handle(.stepFailed(key, StepFailure(code: 9, message: "stale", highestToken: 4), draw: 0))
    #expect(host.reported("f/1")?.error?.highestToken?.value == 4)
  }

  @Test func aFailureIsRetriedAndForgottenOnceItWorks() throws {
    var (host, step) = started()
    host.handle(.stepFailed(try #require(step).key, StepFailure(code: 14, message: "busy"), draw: 0))
    host.settle()
    #expect(host.reported("f/1")?.phase == .inUse)
    #expect(host.reported("f/1")?.error == nil)
  }

  @Test func delaysGrowFromATenthOfASecondToTenSeconds() {
    let delays = (1...12).map { Backoff.delay(afterFailures: $0, isPermanent: false, draw: 1) }
    #expect(delays.first == .milliseconds(100))
    #expect(delays.last == .seconds(10))
    #expect(zip(delays, delays.dropFirst()).allSatisfy { $0 <= $1 })
    #expect(Backoff.delay(afterFailures: 1, isPermanent: true, draw: 1) == .seconds(10))
    #expect(Backoff.delay(afterFailures: .max, isPermanent: false, draw: 0) == .seconds(5))
  }

  @Test func aPermanentFailureWaitsForAChange() throws {
    var (host, step) = started()
    host.handle(.stepFailed(try #require(step).key, StepFailure(code: 3, message: "no"), draw: 1))
    host.performAll()
    #expect(host.timer == Instant(nanoseconds: 10_000_000_000))
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 5)], revision: 5, complete: false)))
    host.performAll()
    #expect(host.reported("f/1")?.phase == .inUse)
  }

  @Test func aPluginThatAnswersWithoutDoingIsNotAskedInALoop() throws {
    var (host, step) = started()
    let idle = makeStatus("f/1", .direct, token: 1, .absent)
    host.handle(.stepSucceeded(try #require(step).key, idle))
    #expect(host.pending == [.observe(plugin: "ethernet")])
    #expect(host.reported("f/1")?.error?.code == 13)
    #expect(host.timer != nil)
  }

  @Test func aPluginThatDiedDuringAStepIsNotTheFunctionsFailure() throws {
    var (host, step) = started()
    host.handle(.pluginGone(plugin: "ethernet", reason: "signal 9"))
    host.handle(.stepFailed(try #require(step).key, StepFailure(code: 14, message: "gone"), draw: 0))
    #expect(host.reported("f/1")?.error?.message == "the plugin 'ethernet' does not serve: signal 9")
    #expect(host.pending.isEmpty && host.timer == nil)
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    #expect(host.reported("f/1")?.phase == .inUse)
    #expect(host.reported("f/1")?.error == nil)
  }

  @Test func aPluginThatIsAwaySaysNothingOfItsFunctions() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1")]))
    host.settle()
    host.handle(.pluginGone(plugin: "ethernet", reason: "signal 9"))
    #expect(host.reported("f/1")?.phase == .inUse)
    #expect(host.reported("f/1")?.error == nil)
  }

  @Test func aClassWithoutPluginIsSaidToBeMissing() {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("d/1", deviceClass: "sata")]))
    host.settle()
    #expect(host.reported("d/1")?.error?.message == "no plugin of class 'sata' serves on this host")
  }

  @Test func nothingIsSaidToBeMissingBeforeEveryPluginWasAsked() {
    var host = FakeHost()
    host.handle(.sessionOpened(epoch: 1, leaseUntil: .farOff))
    host.handle(.wanted(makeWanted([])))
    #expect(host.reports.isEmpty)
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    #expect(host.reports.isEmpty)
    host.settle()
    #expect(host.reports.map(\.complete) == [true])
  }

  /// The coordinator may remember functions of it from another session, of which nothing is left here.
  @Test func whatAPluginHasIsAllListedOnceItServes() {
    var host = FakeHost()
    host.handle(.pluginGone(plugin: "ethernet", reason: "it crashed"))
    host.handle(.sessionOpened(epoch: 1, leaseUntil: .farOff))
    host.handle(.wanted(makeWanted([])))
    #expect(host.reports.map(\.complete) == [true])
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    #expect(host.reports.map(\.complete) == [true, true])
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.settle()
    #expect(host.reports.count == 2)
  }

  @Test func anObservationFromBeforeAStepDoesNotUndoItsAnswer() {
    var host = FakeHost()
    host.start(makeWanted([]))
    host.settle()
    host.handle(.pluginChanged(plugin: "ethernet"))
    let before = host.plugin.observe()
    host.pending = []
    host.handle(.wanted(makeWanted([makeEntry("f/1")], revision: 2, complete: false)))
    host.performAll()
    #expect(host.reported("f/1")?.phase == .inUse)
    host.handle(.observed(plugin: "ethernet", before))
    #expect(host.pending.isEmpty)
    #expect(host.reported("f/1")?.phase == .inUse)
  }
}
