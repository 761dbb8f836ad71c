import Messages
import Testing

@testable import Reconciliation

private func seconds(_ count: Int64) -> Instant { Instant(nanoseconds: count * 1_000_000_000) }

/// A host whose lease ends after 10 s.
private func leasedHost(_ entries: [WantedFunction]) -> FakeHost {
  var host = FakeHost()
  host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
  host.performAll()
  host.handle(.sessionOpened(epoch: 1, leaseUntil: seconds(10)))
  host.handle(.wanted(makeWanted(entries)))
  return host
}

@Suite struct WithoutALease {
  @Test func nothingIsSetUp() {
    var host = leasedHost([makeEntry("f/1")])
    host.performNext()
    host.now = seconds(10)
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.performAll()
    #expect(host.plugin.calls == ["create f/1"])
    #expect(host.reported("f/1")?.error?.message.contains("the lease has run out") == true)
    host.handle(.leaseRenewed(until: seconds(20)))
    host.performAll()
    #expect(host.phase("f/1") == .inUse)
    #expect(host.reported("f/1")?.error == nil)
  }

  @Test func aReleaseGoesOn() {
    var host = leasedHost([makeEntry("f/1")])
    host.performAll()
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 2, released: true)], revision: 2, complete: false)))
    host.now = seconds(11)
    host.performAll()
    #expect(host.phase("f/1") == nil)
  }

  @Test func aFencerDoesNothing() {
    var host = leasedHost([makeEntry("f/1", .fencer, token: 9, released: true)])
    host.performNext()
    #expect(host.plugin.calls == ["fence f/1"])
    guard case .step(let step) = host.pending.first else { return #expect(Bool(false)) }
    #expect(step.verb == .scrub)
    // The disk may have been given to somebody else by then.
    #expect(!host.reconciler.mayBegin(step, at: seconds(10)))
    host.now = seconds(10)
    host.performAll()
    #expect(host.plugin.calls == ["fence f/1"])
    #expect(host.reported("f/1")?.error?.message.contains("the lease has run out") == true)
    host.handle(.leaseRenewed(until: seconds(20)))
    host.performAll()
    #expect(host.plugin.calls == ["fence f/1", "scrub f/1", "destroy f/1"])
  }

  @Test func aStepThatWasDecidedOnIsNotBegun() {
    var host = leasedHost([makeEntry("f/1")])
    guard case .step(let step) = host.pending.first else { return #expect(Bool(false)) }
    #expect(host.reconciler.mayBegin(step, at: seconds(9)))
    // The process was stopped between the decision and its doing.
    #expect(!host.reconciler.mayBegin(step, at: seconds(10)))
    host.pending = []
    host.now = seconds(10)
    host.handle(.stepWithheld(step.key))
    #expect(host.pending.isEmpty)
    host.handle(.leaseRenewed(until: seconds(20)))
    #expect(host.pending == [.step(step)])
  }

  @Test func aNewSessionsLeaseDoesNotMakeOldWordsGood() {
    var host = leasedHost([makeEntry("f/1")])
    host.performNext()
    host.handle(.sessionClosed)
    host.now = seconds(30)
    host.performAll()
    host.handle(.sessionOpened(epoch: 1, leaseUntil: seconds(40)))
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.performAll()
    #expect(host.phase("f/1") == .created)
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 2, released: true)], revision: 2)))
    host.settle()
    #expect(host.phase("f/1") == nil)
    #expect(!host.plugin.calls.contains("attach f/1"))
  }

  @Test func norDoesTheEndOfThatSession() {
    var host = leasedHost([makeEntry("f/1")])
    host.performNext()
    host.handle(.sessionClosed)
    host.now = seconds(30)
    host.performAll()
    // It ends before it has said what is wanted under its lease.
    host.handle(.sessionOpened(epoch: 1, leaseUntil: seconds(40)))
    host.handle(.sessionClosed)
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.performAll()
    #expect(host.phase("f/1") == .created)
    #expect(!host.plugin.calls.contains("attach f/1"))
  }
}

@Suite struct AClaimThatAsksForSelfFence {
  private func host(_ role: Role = .direct) -> FakeHost {
    var host = leasedHost([makeEntry("f/1", role, token: 3, lossPolicy: .selfFence)])
    host.performAll()
    host.plugin.calls = []
    host.handle(.sessionClosed)
    return host
  }

  @Test(arguments: [(Role.direct, "detach f/1"), (.consumer, "disconnect f/1")])
  func isLetGoOfAtTheEndOfTheLeaseAndReportedLater(role: Role, cut: String) {
    var host = host(role)
    #expect(host.timer == seconds(10))
    host.settle()
    #expect(host.now == seconds(10))
    #expect(host.plugin.calls == [cut])
    #expect(host.plugin.released["f/1"] == 3)
    host.handle(.sessionOpened(epoch: 1, leaseUntil: seconds(40)))
    host.handle(.wanted(makeWanted([makeEntry("f/1", role, token: 3, lossPolicy: .selfFence)])))
    host.settle()
    #expect(host.plugin.calls == [cut])
    let reported = host.reported("f/1")
    #expect(reported?.phase != .inUse && reported?.phase != .absent)
    #expect(reported?.error?.step == "self-fence")
    #expect(reported?.error?.highestToken?.value == 3)
  }

  @Test func isReleasedInTheUsualOrderAfterwards() {
    var host = host()
    host.settle()
    host.handle(.sessionOpened(epoch: 1, leaseUntil: seconds(40)))
    host.handle(.wanted(makeWanted([makeEntry("f/1", token: 3, revision: 2, released: true)], revision: 2)))
    host.settle()
    #expect(host.plugin.calls == ["detach f/1", "detach f/1", "scrub f/1", "destroy f/1"])
    #expect(host.reported("f/1")?.phase == .absent)
    #expect(host.reported("f/1")?.error == nil)
  }

  @Test func isKeptByAHostThatServesItToAnother() {
    var host = host(.server)
    host.settle()
    #expect(host.plugin.calls.isEmpty && host.timer == nil)
  }

  @Test func isKeptWhileTheCoordinatorAnswers() {
    var host = host()
    host.handle(.leaseRenewed(until: seconds(18)))
    host.now = seconds(10)
    host.timer = nil
    host.handle(.timerFired)
    #expect(host.pending.isEmpty)
    #expect(host.timer == seconds(18))
  }

  @Test func isCutToTheEndOnceThatHasBegun() {
    var host = host()
    host.now = seconds(10)
    host.handle(.timerFired)
    guard case .step(let step) = host.pending.first else { return #expect(Bool(false)) }
    host.pending = []
    host.handle(.stepFailed(step.key, StepFailure(code: 14, message: "busy"), draw: 0.5))
    host.handle(.sessionOpened(epoch: 1, leaseUntil: seconds(40)))
    host.handle(.wanted(makeWanted([makeEntry("f/1", token: 3, lossPolicy: .selfFence)])))
    host.settle()
    #expect(host.phase("f/1") == .created)
    #expect(host.reported("f/1")?.error?.step == "self-fence")
  }

  @Test func isCutWhenItsSetUpEndsAfterTheLease() {
    var host = leasedHost([makeEntry("f/1", lossPolicy: .selfFence)])
    host.performNext()
    guard case .step(let step) = host.pending.removeFirst() else { return #expect(Bool(false)) }
    _ = host.plugin.perform(step)
    host.now = seconds(10)
    host.handle(.stepSucceeded(step.key, makeStatus("f/1", .direct, token: 1, .inUse)))
    host.performAll()
    #expect(host.plugin.calls == ["create f/1", "attach f/1", "detach f/1"])
  }

  @Test func isKeptWithoutThePolicy() {
    var host = leasedHost([makeEntry("f/1")])
    host.performAll()
    host.now = seconds(100)
    host.handle(.pluginChanged(plugin: "ethernet"))
    host.performAll()
    #expect(host.phase("f/1") == .inUse)
  }
}

@Suite struct WhatWasWrittenDown {
  @Test func aReleaseIsCarriedOnAfterARestartWithoutACoordinator() {
    var host = leasedHost([makeEntry("f/1")])
    host.performAll()
    host.handle(.wanted(makeWanted([makeEntry("f/1", revision: 2, released: true)], revision: 2, complete: false)))
    host.performNext()
    host.killAgent()
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    #expect(host.phase("f/1") == nil)
    #expect(host.journal.isEmpty)
  }

  @Test func nothingIsSetUpByOldWordsAfterARestart() {
    var host = leasedHost([makeEntry("f/1")])
    host.performNext()
    host.killAgent()
    host.plugin.calls = []
    host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    host.settle()
    #expect(host.plugin.calls.isEmpty)
    host.handle(.sessionOpened(epoch: 1, leaseUntil: .farOff))
    host.handle(.wanted(makeWanted([makeEntry("f/1")])))
    host.settle()
    #expect(host.phase("f/1") == .inUse)
  }

  @Test func aHostThatHadBegunToLetGoIsDoneWithThatFirst() {
    var host = leasedHost([makeEntry("f/1", lossPolicy: .selfFence)])
    host.performAll()
    host.selfFenced = [FunctionKey(function: "f/1", role: .direct, token: 1)]
    host.killAgent()
    host.plugin.calls = []
    host.start(makeWanted([makeEntry("f/1", lossPolicy: .selfFence)]))
    host.settle()
    #expect(host.plugin.calls == ["detach f/1"])
    #expect(host.reported("f/1")?.error?.step == "self-fence")
  }

  @Test func nothingIsSetUpWhileNothingCanBeWrittenDown() {
    var host = leasedHost([makeEntry("g/2", token: 2)])
    host.performAll()
    host.handle(.writingFailed(.journal, reason: "No space left on device"))
    let released = makeEntry("g/2", token: 2, revision: 2, released: true)
    host.handle(.wanted(makeWanted([makeEntry("f/1"), released], revision: 2, complete: false)))
    host.performAll()
    #expect(host.phase("f/1") == nil && host.phase("g/2") == nil)
    #expect(host.reported("f/1")?.error?.message.contains("No space left") == true)
    host.handle(.written(.journal))
    host.performAll()
    #expect(host.phase("f/1") == .inUse)
  }
}
