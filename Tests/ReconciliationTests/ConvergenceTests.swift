import Messages
import Testing

@testable import Reconciliation

/// SplitMix64: the same seed, the same story on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}

@Suite struct Convergence {
  /// What the coordinator of this story wants, by function.
  private struct Story {
    var host = FakeHost()
    var random: SeededGenerator
    var wanted: [String: WantedFunction] = [:]
    var revision: UInt64 = 0
    var epoch: UInt64 = 1
    var token: UInt64 = 0

    var everything: WantedState {
      makeWanted(wanted.keys.sorted().compactMap { wanted[$0] }, epoch: epoch, revision: revision)
    }

    mutating func connect() {
      host.handle(.sessionOpened(epoch: epoch, leaseUntil: host.now.advanced(by: .seconds(10))))
      host.handle(.wanted(everything))
    }

    /// Leases run out now and then, and what is under way is overtaken by that.
    mutating func letTimePass() {
      host.now = host.now.advanced(by: .milliseconds(Int.random(in: 0..<6000, using: &random)))
      if Bool.random(using: &random) { host.handle(.leaseRenewed(until: host.now.advanced(by: .seconds(10)))) }
      if let timer = host.timer, timer <= host.now {
        host.timer = nil
        host.handle(.timerFired)
      }
    }

    mutating func startPlugin() { host.handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet")) }

    mutating func send(_ entry: WantedFunction) {
      wanted[entry.assignment?.function ?? ""] = entry
      host.handle(.wanted(makeWanted([entry], epoch: epoch, revision: revision, complete: false)))
    }

    mutating func want() {
      token += 1
      revision += 1
      let role = [Role.direct, .server, .consumer].randomElement(using: &random) ?? .direct
      let policy = [LossPolicy.keep, .selfFence].randomElement(using: &random) ?? .keep
      send(makeEntry("f/\(token)", role, token: token, revision: revision, lossPolicy: policy))
    }

    mutating func release() {
      guard var entry = wanted.keys.sorted().randomElement(using: &random).flatMap({ wanted[$0] }) else { return }
      guard !entry.released else { return }
      revision += 1
      entry.released = true
      entry.revision = revision
      send(entry)
    }

    mutating func disturb() {
      switch Int.random(in: 0..<13, using: &random) {
      case 0, 1: want()
      case 2: release()
      case 3: killAgent()
      case 4: killPlugin()
      case 5:
        host.handle(.sessionClosed)
        connect()
      case 6:
        epoch += 1
        connect()
      case 7: loseAnAnswer()
      case 8: failAStep()
      case 9: letTimePass()
      default:
        guard !host.pending.isEmpty else { return }
        host.performNext(at: Int.random(in: 0..<host.pending.count, using: &random))
      }
    }

    mutating func killAgent() {
      host.killAgent()
      startPlugin()
      connect()
    }

    mutating func killPlugin() {
      let steps = host.pending
      host.pending = []
      host.handle(.pluginGone(plugin: "ethernet", reason: "killed"))
      fail(steps)
      startPlugin()
    }

    /// The plugin does it, and its answer never comes.
    mutating func loseAnAnswer() {
      guard let index = host.pending.indices.randomElement(using: &random) else { return }
      let effect = host.pending.remove(at: index)
      if case .step(let step) = effect { _ = host.plugin.perform(step) }
      fail([effect])
    }

    mutating func failAStep() {
      guard let index = host.pending.indices.randomElement(using: &random) else { return }
      fail([host.pending.remove(at: index)])
    }

    mutating func fail(_ effects: [Effect]) {
      for effect in effects {
        switch effect {
        case .step(let step):
          host.handle(.stepFailed(step.key, StepFailure(code: 14, message: "lost"), draw: 0.3))
        case .observe(let plugin): host.handle(.observationFailed(plugin: plugin, draw: 0.3))
        default: continue
        }
      }
    }

    func checkOneStepAtATime() {
      let keys = host.pending.compactMap { if case .step(let step) = $0 { step.key.function } else { nil } }
      #expect(Set(keys).count == keys.count, "two steps at once")
    }
  }

  @Test(arguments: 0..<200)
  func whateverIsKilledWheneverItConverges(seed: UInt64) {
    var story = Story(random: SeededGenerator(state: seed))
    let orphan = FakePlugin.Place(function: "orphan", role: .direct)
    story.host.plugin.functions[orphan] = .init(phase: .inUse, token: 77, role: .direct)
    story.startPlugin()
    story.connect()
    for _ in 0..<120 {
      story.disturb()
      story.checkOneStepAtATime()
    }
    story.host.handle(.leaseRenewed(until: .farOff))
    story.host.settle(attempts: 2000)

    #expect(story.host.pending.isEmpty && story.host.timer == nil, "seed \(seed): never came to rest")
    #expect(story.host.plugin.violations == [], "seed \(seed)")
    #expect(story.host.plugin.functions[orphan]?.phase == .inUse, "seed \(seed): an orphan was touched")
    for (function, entry) in story.wanted {
      let place = FakePlugin.Place(function: function, role: entry.role)
      let reported = story.host.reported(function)
      if !entry.released, reported?.error?.step == "self-fence" {
        #expect(entry.assignment?.lossPolicy == .selfFence && entry.role != .server, "seed \(seed): \(function)")
        #expect(story.host.plugin.released[function] == entry.assignment?.token?.value, "seed \(seed): \(function)")
        #expect(story.host.plugin.functions[place]?.phase != .inUse, "seed \(seed): \(function)")
        continue
      }
      #expect(story.host.plugin.functions[place]?.phase == (entry.released ? nil : .inUse), "seed \(seed): \(function)")
      #expect(reported?.phase == (entry.released ? .absent : .inUse), "seed \(seed): \(function)")
      #expect(reported?.revision == entry.revision, "seed \(seed): \(function)")
      #expect(reported?.error == nil, "seed \(seed): \(function)")
    }
  }

  @Test(arguments: [Role.direct, .server, .consumer], 0..<6)
  func aKillBetweenAnyTwoStepsConverges(role: Role, stepsBefore: Int) {
    var host = FakeHost()
    host.start(makeWanted([makeEntry("f/1", role)]))
    for _ in 0..<stepsBefore where !host.pending.isEmpty { host.performNext() }
    host.killAgent()
    host.start(makeWanted([makeEntry("f/1", role, revision: 2, released: true)], revision: 2))
    for _ in 0..<stepsBefore where !host.pending.isEmpty { host.performNext() }
    host.killAgent()
    host.start(makeWanted([makeEntry("f/1", role, revision: 2, released: true)], revision: 2))
    host.settle()
    #expect(host.phase("f/1", role) == nil)
    #expect(host.reported("f/1")?.phase == .absent)
    #expect(host.plugin.violations.isEmpty)
  }
}
