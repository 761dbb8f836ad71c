import Messages
import Testing

@testable import Arbitration
@testable import Simulation

private func taint(_ key: String, _ value: String = "", _ effect: TaintEffect = .noSchedule) -> Taint {
  Taint {
    $0.key = key
    $0.value = value
    $0.effect = effect
  }
}

private func toleration(
  _ key: String, _ value: String? = nil, _ effect: TaintEffect = .unspecified, seconds: UInt32? = nil
) -> Toleration {
  Toleration {
    $0.key = key
    $0.value = value
    $0.effect = effect
    $0.seconds = seconds
  }
}

extension World {
  @discardableResult
  fileprivate mutating func taint(
    _ target: MaintenanceTarget, set: [Taint] = [], remove: [Taint] = []
  ) -> Result<MaintenanceAnswer, Refusal> {
    let request = TaintRequest {
      $0.target = target
      $0.set = set
      $0.remove = remove
    }
    return ask { .tainted($0, request) }.map(\.maintenance)
  }
}

@Suite struct Taints {
  @Test func keepAwayWhatDoesNotTolerateThem() throws {
    var world = World.rack()
    world.create("there")
    world.settle()
    _ = try world.taint(.node("a/eth1"), set: [taint("slow", "card")]).get()
    world.create("web")
    #expect(world.reasons("web") == ["a/eth1 has the taint slow=card:no-schedule, and the claim does not tolerate it"])
    #expect(world.claim("web")?.status?.pending.map(\.filter) == ["taint"])
    let tolerant = [
      toleration("slow"), toleration("slow", "card"), toleration(""), toleration("slow", nil, .noSchedule),
    ]
    for (index, toleration) in tolerant.prefix(3).enumerated() {
      world.create("tolerant-\(index)") { $0.tolerations = [toleration] }
      world.settle()
      #expect(world.phase("tolerant-\(index)") == .ready)
      world.delete("tolerant-\(index)")
      world.settle()
    }
    for (index, toleration) in [
      toleration("fast"), toleration("slow", "disk"), toleration("slow", nil, .noExecute),
    ].enumerated() {
      world.create("other-\(index)") { $0.tolerations = [toleration] }
      #expect(world.phase("other-\(index)") == .pending)
      world.delete("other-\(index)")
    }
    #expect(world.phase("there") == .ready)
    world.taint(.node("a/eth1"), remove: [taint("slow", "", .unspecified)])
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func ofAHostAreForWhatItGivesAndForWhatItTakes() {
    var world = World.rack()
    world.taint(.machine("a"), set: [taint("slow")])
    world.create("served")
    #expect(world.reasons("served").first?.hasPrefix("a, which controls a/eth1, has the taint slow") == true)
    world.create("taken", host: "a", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    #expect(world.reasons("taken").first?.hasPrefix("a has the taint slow") == true)
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.settle()
    #expect(world.phase("served") == .pending)
    #expect(world.arbiter.host(named: "a")?.taints.map(\.words) == ["slow:no-schedule"])
  }

  @Test func takeAwayWhatDoesNotTolerateThem() {
    var world = World.rack()
    world.create("web")
    world.create("patient") { $0.tolerations = [toleration("fan", nil, .noExecute, seconds: 60)] }
    world.create("tolerant") { $0.tolerations = [toleration("fan")] }
    world.create("never") { $0.evictionPolicy = .never }
    world.create("data", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 20 } }
    }
    world.settle()
    world.taint(.node("a/eth1"), set: [taint("fan", "", .noExecute)])
    world.taint(.node("c/sda"), set: [taint("fan", "", .noExecute)])
    world.settle()
    #expect(world.phase("web") == .pending)
    #expect(world.reasons("web").first == "was evicted: end node a/eth1 has the taint fan:no-execute")
    for name in ["patient", "tolerant", "never", "data"] { #expect(world.phase(name) == .ready, "\(name)") }
    world.pass(milliseconds: 40_000)
    #expect(world.phase("patient") == .ready)
    world.pass(milliseconds: 24_000)
    world.settle()
    // It would lose the next one as well.
    #expect(world.phase("patient") == .pending)
    for name in ["tolerant", "never", "data"] { #expect(world.phase(name) == .ready, "\(name)") }
  }

  @Test func growOldWhileACoordinatorRuns() {
    var world = World.rack()
    world.create("patient") { $0.tolerations = [toleration("fan", nil, .noExecute, seconds: 300)] }
    world.settle()
    world.taint(.node("a/eth1"), set: [taint("fan", "", .noExecute)])
    world.pass(milliseconds: 130_000)
    world.milliseconds += 3_600_000
    world.wallMillisecondsAtZero += 86_400_000
    world.restart()
    for name in ["a", "b", "c"] { world.connect(name) }
    world.pass(milliseconds: 120_000)
    // Another one does not make it younger.
    world.taint(.node("a/eth1"), set: [taint("other", "", .noSchedule)])
    #expect(world.phase("patient") == .ready)
    world.pass(milliseconds: 120_000)
    world.settle()
    #expect(world.phase("patient") == .pending)
  }

  @Test func thatMakeNoSenseAreRefused() {
    var world = World.rack()
    let node = MaintenanceTarget.node("a/eth1")
    #expect(world.taint(node, set: [taint("")]).refusal?.code == .invalidArgument)
    #expect(world.taint(node, set: [taint("a b")]).refusal?.code == .invalidArgument)
    #expect(world.taint(node, set: [taint("a", "", .unspecified)]).refusal?.code == .invalidArgument)
    let unknown = world.taint(node, remove: [taint("a")]).refusal
    #expect(unknown?.code == .notFound)
    #expect(unknown?.message == "end node a/eth1 has no taint a:no-schedule")
    #expect(world.taint(node, set: (0..<17).map { taint("key-\($0)") }).refusal?.code == .failedPrecondition)
    let tolerations = [
      toleration("a b"), toleration("", "value"), toleration("a", nil, .noSchedule, seconds: 3),
      toleration("a", nil, .unrecognized(9)),
    ]
    for toleration in tolerations {
      #expect(world.create("web") { $0.tolerations = [toleration] }.refusal?.code == .invalidArgument)
    }
  }
}

@Suite struct FlappingEndNodes {
  private func world(_ limit: UInt32 = 3) -> World {
    World.rack(ArbiterSettings(flapLimit: limit, flapWindowMilliseconds: 600_000, holdMilliseconds: 60_000))
  }

  @Test func areLeftAloneForAGrowingWhile() throws {
    var world = world()
    world.create("there")
    world.settle()
    for _ in 0..<2 { world.flap() }
    let held = try #require(world.arbiter.listedEndNodes.first { $0.name == "a/eth1" }?.damping)
    #expect(held.flips == 4)
    #expect(
      held.until == Instant(monotonicMilliseconds: 0, wallMilliseconds: world.now.wallMilliseconds + 60_000).timestamp)
    world.create("web")
    #expect(world.claim("web")?.status?.pending.map(\.filter) == ["flapping"])
    #expect(world.reasons("web").first?.hasPrefix("the health of a/eth1 has changed 4 times of late") == true)
    #expect(world.phase("there") == .ready)
    world.pass(milliseconds: 58_000)
    #expect(world.phase("web") == .pending)
    world.pass(milliseconds: 4000)
    world.settle()
    #expect(world.phase("web") == .ready)
    world.flap()
    world.create("more")
    world.pass(milliseconds: 117_000)
    #expect(world.phase("more") == .pending)
    world.pass(milliseconds: 5000)
    world.settle()
    #expect(world.phase("more") == .ready)
    world.flap()
    world.create("most")
    world.pass(milliseconds: 237_000)
    #expect(world.phase("most") == .pending)
    world.pass(milliseconds: 5000)
    world.settle()
    #expect(world.phase("most") == .ready)
  }

  /// Each change makes nothing longer, but none of them is given away in the middle of it.
  @Test func areLeftAloneAsLongAsTheyFlap() throws {
    var world = world()
    for _ in 0..<2 { world.flap() }
    let until = world.heldUntil
    world.create("web")
    world.pass(milliseconds: 30_000)
    for _ in 0..<2 { world.flap() }
    #expect(until != nil && world.heldUntil == until)
    world.pass(milliseconds: 32_000)
    let next = try #require(world.heldUntil)
    let end = Instant(monotonicMilliseconds: 0, wallMilliseconds: world.now.wallMilliseconds + 120_000).timestamp
    #expect(abs(end.seconds - next.seconds) <= 4)
    #expect(world.reasons("web").first?.hasSuffix("until \(next.minute)") == true)
    // Half as many are no reason to go on.
    world.flap()
    world.pass(milliseconds: 116_000)
    #expect(world.phase("web") == .pending)
    world.pass(milliseconds: 6000)
    world.settle()
    #expect(world.phase("web") == .ready)
  }

  @Test func areToldFromThoseThatFailNowAndThen() {
    var world = world()
    for _ in 0..<6 {
      world.flap()
      world.pass(milliseconds: 610_000)
    }
    world.create("web")
    world.settle()
    #expect(world.phase("web") == .ready)
  }
}

extension World {
  fileprivate var heldUntil: Timestamp? { arbiter.listedEndNodes.first { $0.name == "a/eth1" }?.damping?.until }

  fileprivate mutating func flap() {
    for state in [HealthState.unhealthy, .healthy] {
      hosts["a"]?.endNodes[0].health = Health { $0.state = state }
      reportInventory("a")
    }
  }
}
