import Testing

@testable import MeshRPC

/// When a channel connects to which endpoint: decided without sockets.
@Suite struct EndpointPoolTests {
  static let start = ContinuousClock.now
  static let backoff = ExponentialBackoff(initial: .seconds(1), multiplier: 2, maximum: .seconds(10))

  /// A draw of one half is a delay without jitter.
  private struct World {
    var pool: EndpointPool

    init(_ count: Int, _ policy: EndpointPolicy = .failover) {
      pool = EndpointPool(endpointCount: count, policy: policy, backoff: backoff)
    }

    mutating func call(at seconds: Double = 0, waits: Bool = false) -> [EndpointPool.Action]? {
      pool.callWaits(forReady: waits, at: at(seconds))
    }

    mutating func connected(_ index: Int, at seconds: Double = 0) -> [EndpointPool.Action] {
      pool.connected(index, at: at(seconds))
    }

    mutating func failed(_ index: Int, at seconds: Double = 0) -> [EndpointPool.Action] {
      pool.attemptFailed(index, at: at(seconds), draw: 0.5)
    }

    mutating func ended(_ index: Int, at seconds: Double) -> [EndpointPool.Action] {
      pool.ended(index, at: at(seconds))
    }

    mutating func pauseEnded(_ index: Int, at seconds: Double) -> [EndpointPool.Action] {
      pool.pauseEnded(index, at: at(seconds))
    }

    /// The endpoints of the next calls.
    mutating func picks(_ count: Int) -> [Int?] { (0..<count).map { _ in pool.pick() } }
  }

  static func at(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int64(seconds * 1000)) }

  @Test func nothingIsConnectedBeforeACallNeedsIt() {
    var world = World(2)
    #expect(world.pool.state == .idle)
    #expect(world.picks(1) == [nil])
    #expect(world.call() == [.connect(0)])
    #expect(world.pool.state == .connecting)
  }

  @Test func callsThatWaitTogetherShareOneAttempt() {
    var world = World(1)
    #expect(world.call() == [.connect(0)])
    #expect(world.call() == [])
    #expect(world.connected(0) == [.beginWaiting])
    #expect(world.pool.state == .ready)
  }

  @Test func failoverTriesEndpointsInOrder() {
    var world = World(3)
    _ = world.call()
    #expect(world.failed(0) == [.pause(0, until: Self.at(1)), .connect(1)])
    #expect(world.failed(1) == [.pause(1, until: Self.at(1)), .connect(2)])
    #expect(world.connected(2) == [.beginWaiting])
    #expect(world.picks(2) == [2, 2])
  }

  @Test func failoverStaysOnWhatWorks() {
    var world = World(2)
    _ = world.call()
    _ = world.failed(0)
    _ = world.connected(1)
    #expect(world.pauseEnded(0, at: 1) == [])
    #expect(world.picks(3) == [1, 1, 1])
  }

  @Test func afterALossFailoverBeginsWithTheFirstAgain() {
    var world = World(2)
    _ = world.call()
    _ = world.failed(0)
    _ = world.connected(1)
    _ = world.pauseEnded(0, at: 1)
    #expect(world.ended(1, at: 50) == [])
    #expect(world.pool.state == .idle)
    #expect(world.call(at: 51) == [.connect(0)])
  }

  @Test func whenAllHaveFailedOnlyCallsThatWaitForReadyGoOnWaiting() {
    var world = World(2)
    _ = world.call()
    #expect(world.call(waits: true) == [])
    _ = world.failed(0)
    #expect(world.failed(1) == [.pause(1, until: Self.at(1)), .failWaiting])
    #expect(world.pool.state == .transientFailure)
    #expect(world.call(at: 0.5) == nil, "fails at once")
    #expect(world.call(at: 0.5, waits: true) == [])
    #expect(world.pauseEnded(0, at: 1) == [.connect(0)])
    #expect(world.connected(0, at: 1) == [.beginWaiting])
  }

  @Test func withoutCallsNobodyIsTriedAgain() {
    var world = World(1)
    _ = world.call()
    #expect(world.failed(0) == [.pause(0, until: Self.at(1)), .failWaiting])
    #expect(world.pauseEnded(0, at: 1) == [])
    #expect(world.pool.state == .idle)
    #expect(world.call(at: 2) == [.connect(0)])
  }

  @Test func aCallThatIsGivenUpNeedsNoConnection() {
    var world = World(1)
    _ = world.call(waits: true)
    _ = world.failed(0)
    world.pool.callLeft(forReady: true)
    #expect(world.pauseEnded(0, at: 1) == [])
  }

  @Test func delaysGrowFromOneAttemptsStartToTheNextOnes() {
    var world = World(1)
    _ = world.call(waits: true)
    #expect(world.failed(0, at: 0.4) == [.pause(0, until: Self.at(1))])
    #expect(world.pauseEnded(0, at: 1) == [.connect(0)])
    #expect(world.failed(0, at: 1.1) == [.pause(0, until: Self.at(3))])
    #expect(world.pauseEnded(0, at: 3) == [.connect(0)])
    #expect(world.failed(0, at: 3.1) == [.pause(0, until: Self.at(7))])
  }

  @Test func anAttemptThatTookLongHasWaitedAlready() {
    var world = World(1)
    _ = world.call(waits: true)
    #expect(world.failed(0, at: 5) == [.connect(0)])
  }

  @Test func callsFailThoughEndpointsTakeTurnsInBeingTried() {
    // Both take longer to fail than their pause: there is always one that is being tried.
    var world = World(2)
    _ = world.call()
    #expect(world.failed(0, at: 5) == [.connect(1)])
    #expect(world.failed(1, at: 10) == [.failWaiting])
  }

  @Test func aConnectionForgetsFailures() {
    var world = World(1)
    for second in 0..<3 {
      _ = world.call(at: Double(100 * second))
      _ = world.failed(0, at: Double(100 * second))
      _ = world.pauseEnded(0, at: Double(100 * second + 50))
    }
    _ = world.call(at: 300)
    _ = world.connected(0, at: 300)
    _ = world.ended(0, at: 400)
    _ = world.call(at: 400)
    #expect(world.failed(0, at: 400) == [.pause(0, until: Self.at(401)), .failWaiting])
  }

  @Test func roundRobinConnectsToAllAndTakesThemInTurn() {
    var world = World(3, .roundRobin)
    #expect(world.call() == [.connect(0), .connect(1), .connect(2)])
    #expect(world.connected(1) == [.beginWaiting])
    #expect(world.picks(2) == [1, 1])
    _ = world.connected(0)
    _ = world.connected(2)
    #expect(Set(world.picks(3)) == [0, 1, 2])
  }

  @Test func roundRobinLeavesOutWhatCannotBeReachedAndTriesItAgain() {
    var world = World(2, .roundRobin)
    _ = world.call()
    _ = world.connected(0)
    #expect(world.failed(1) == [.pause(1, until: Self.at(1))])
    #expect(world.picks(2) == [0, 0])
    #expect(world.pool.state == .ready)
    #expect(world.pauseEnded(1, at: 1) == [.connect(1)])
  }

  @Test func aServerThatEndsEveryConnectionIsNotConnectedInACircle() {
    var world = World(2, .roundRobin)
    _ = world.call()
    _ = world.connected(0)
    #expect(world.ended(0, at: 0.1) == [.pause(0, until: Self.at(1))])
    #expect(world.call(at: 0.2) == [], "its pause is no failure: calls wait")
    #expect(world.pauseEnded(0, at: 1) == [.connect(0)])
    _ = world.connected(0, at: 1)
    #expect(world.ended(0, at: 60) == [.connect(0)])
  }

  @Test func aDrainingChannelConnectsForItsLastCallsAlone() {
    var world = World(1, .roundRobin)
    _ = world.call()
    _ = world.connected(0)
    world.pool.drain()
    #expect(world.ended(0, at: 60) == [])
    #expect(world.call(at: 61) == [.connect(0)])
    world.pool.close()
    #expect(world.pool.state == .shutdown)
    #expect(!world.failed(0, at: 100).contains(.connect(0)))
  }

  @Test(arguments: 0..<20 as Range<UInt64>) func delaysStayWithinTheirJitter(seed: UInt64) {
    var draws = SeededDraws(seed: seed)
    let backoff = ExponentialBackoff.connection
    for failures in 1...30 {
      let plain = backoff.delay(after: failures, draw: 0.5)
      let delay = backoff.delay(after: failures, draw: draws.next())
      #expect(delay >= plain * 0.8 && delay <= plain * 1.2)
    }
    #expect(backoff.delay(after: 1, draw: 0.5) == .seconds(1))
    #expect(backoff.delay(after: 30, draw: 0.5) == .seconds(120))
  }

  /// Whatever happens, in whatever order: what was decided can be carried out.
  @Test(arguments: 0..<100 as Range<UInt64>) func noSequenceOfEventsLeavesACallForgotten(seed: UInt64) {
    var draws = SeededDraws(seed: seed)
    var pool = EndpointPool(
      endpointCount: 1 + Int(draws.next() * 3), policy: seed % 2 == 0 ? .failover : .roundRobin,
      backoff: Self.backoff)
    var attempts: Set<Int> = []
    var pauses: Set<Int> = []
    var ready: Set<Int> = []
    var waitingCalls = 0
    var now = Self.start

    func perform(_ actions: [EndpointPool.Action]) {
      for action in actions {
        switch action {
        case .connect(let index):
          #expect(!ready.contains(index) && !pauses.contains(index), "seed \(seed)")
          #expect(attempts.insert(index).inserted, "seed \(seed)")
        case .pause(let index, let end):
          #expect(end > now, "seed \(seed)")
          #expect(!attempts.contains(index) && pauses.insert(index).inserted, "seed \(seed)")
        case .beginWaiting:
          #expect(!ready.isEmpty, "seed \(seed)")
          waitingCalls = 0
        case .failWaiting: waitingCalls = 0
        }
      }
    }

    for _ in 0..<300 {
      now += .milliseconds(Int64(draws.next() * 3000))
      switch Int(draws.next() * 5) {
      case 0:
        if let index = pool.pick() {
          #expect(ready.contains(index), "seed \(seed)")
        } else if let actions = pool.callWaits(forReady: false, at: now) {
          waitingCalls += 1
          perform(actions)
        }
      case 1:
        guard let index = attempts.min() else { continue }
        attempts.remove(index)
        ready.insert(index)
        perform(pool.connected(index, at: now))
      case 2:
        guard let index = attempts.max() else { continue }
        attempts.remove(index)
        perform(pool.attemptFailed(index, at: now, draw: draws.next()))
      case 3:
        guard let index = ready.min() else { continue }
        ready.remove(index)
        perform(pool.ended(index, at: now))
      default:
        guard let index = pauses.min() else { continue }
        pauses.remove(index)
        perform(pool.pauseEnded(index, at: now))
      }
      #expect(
        waitingCalls == 0 || !attempts.isEmpty || !pauses.isEmpty, "seed \(seed): nothing will ever help the call")
      #expect((pool.state == .ready) == !ready.isEmpty, "seed \(seed)")
    }
  }
}
