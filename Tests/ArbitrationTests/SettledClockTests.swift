import Testing

@testable import Arbitration

/// A wall clock that begins at zero and is an hour and more from being believed.
@Suite struct SettledClocks {
  private struct Machine {
    var clock = SettledClock()
    var minutes: UInt64 = 0
    var aheadMinutes: Int64 = 0

    var now: Instant {
      Instant(
        monotonicMilliseconds: minutes * 60_000, wallMilliseconds: (Int64(minutes) + aheadMinutes) * 60_000)
    }
    var time: Int64? { clock.time(at: now).map { $0 / 60_000 } }

    init() { clock.watch(now) }

    mutating func pass(minutes: UInt64) {
      for _ in 0..<minutes {
        self.minutes += 1
        clock.watch(now)
      }
    }

    mutating func set(aheadMinutes: Int64) {
      self.aheadMinutes = aheadMinutes
      clock.watch(now)
    }
  }

  @Test func knowNothingUntilTheyHaveBeenWatched() {
    #expect(SettledClock().time(at: Instant(monotonicMilliseconds: 9, wallMilliseconds: 9)) == nil)
    var machine = Machine()
    machine.pass(minutes: 9)
    #expect(machine.clock.time(at: machine.now, watchedForMilliseconds: 540_001) == nil)
    #expect(machine.clock.time(at: machine.now, watchedForMilliseconds: 540_000) == 540_000)
  }

  @Test func followAStepForwardThatLasts() {
    var machine = Machine()
    machine.set(aheadMinutes: 1000)
    machine.pass(minutes: 59)
    #expect(machine.time == 59)
    machine.pass(minutes: 1)
    #expect(machine.time == 1060)
  }

  @Test func doNotFollowOneThatIsTakenBack() {
    var machine = Machine()
    for _ in 0..<5 {
      machine.set(aheadMinutes: 1000)
      machine.pass(minutes: 50)
      machine.set(aheadMinutes: 0)
    }
    #expect(machine.time == 250)
  }

  @Test func followAsFarAsAllOfTheHourAgreesWith() {
    var machine = Machine()
    for ahead in [1000, 10, 500] as [Int64] {
      machine.set(aheadMinutes: ahead)
      machine.pass(minutes: 20)
    }
    #expect(machine.time == 70)
    machine.pass(minutes: 61)
    #expect(machine.time == 621)
  }

  @Test func followAStepBackAtOnceAndForgetWhatWasBefore() {
    var machine = Machine()
    machine.pass(minutes: 10)
    machine.set(aheadMinutes: -5)
    #expect(machine.time == 5)
    // By mistake for a moment.
    machine.set(aheadMinutes: 0)
    #expect(machine.time == 10)
    machine.set(aheadMinutes: -5)
    machine.pass(minutes: 60)
    machine.set(aheadMinutes: 0)
    #expect(machine.time == 65)
  }
}
