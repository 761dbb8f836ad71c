import ArgumentParser
import Simulation

/// Storms over a rack, from seeds: what fails is printed with the seed that shows it again.
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Simulates racks in which everything goes wrong, and checks what must hold all the same.",
    discussion: """
      Every seed is a storm of its own, and the same whenever it is run. All storms together have to reach every kind of \
      fault, of event and of effect; that is judged where there are at least \(Simulate.stepsToJudge) steps.
      """)

  static let stepsToJudge = 100_000

  @Option(help: "How many storms.") var seeds: UInt64 = 1000
  @Option(help: "The seed of the first one; the others follow.") var firstSeed: UInt64 = 1
  @Option(help: "How many things happen in each before the faults end.") var steps = 2000
  @Option(help: "Every how many storms one is run once more, to compare the effects.") var replayEvery: UInt64 = 20

  func validate() throws {
    guard seeds > 0 else { throw ValidationError("--seeds must be at least 1") }
    guard steps > 0 else { throw ValidationError("--steps must be at least 1") }
    guard replayEvery > 0 else { throw ValidationError("--replay-every must be at least 1") }
    guard firstSeed.addingReportingOverflow(seeds).overflow == false else {
      throw ValidationError("--first-seed and --seeds together are more than there are seeds")
    }
  }

  func run() throws {
    let clock = ContinuousClock()
    let start = clock.now
    var tally = StormTally()
    for seed in firstSeed..<firstSeed + seeds {
      let isReplayed = (seed - firstSeed) % replayEvery == 0
      let report = Storm.run(seed: seed, steps: steps, isRecorded: isReplayed)
      tally.take(report)
      for failure in report.failures { print("seed \(seed): \(failure)") }
      guard isReplayed else { continue }
      let again = Storm.run(seed: seed, steps: steps, isRecorded: true)
      tally.steps += again.steps
      if again.effects != report.effects {
        tally.failed.append(seed)
        print("seed \(seed): the same events had other effects when they came again")
      }
    }
    show(tally, in: clock.now - start)
    if !tally.failed.isEmpty || (!tally.coverage.missing.isEmpty && isJudged(tally)) {
      throw ExitCode.failure
    }
  }

  private func isJudged(_ tally: StormTally) -> Bool { tally.steps >= Self.stepsToJudge }

  private func show(_ tally: StormTally, in duration: Duration) {
    let seconds = duration / .seconds(1)
    print(
      "\(seeds) storms, \(tally.steps) steps in \(Double(Int(seconds * 10)) / 10) s: "
        + "\(Int(Double(tally.steps) / max(seconds, 0.001))) steps/s")
    print("at rest after at most \(tally.roundsToRest) seconds without faults")
    for (title, counts) in [
      ("faults", tally.coverage.faults.map { ($0.key.rawValue, $0.value) }),
      ("events", tally.coverage.events.map { ($0.key, $0.value) }),
      ("effects", tally.coverage.effects.map { ($0.key, $0.value) }),
    ] {
      print("\(title): " + counts.sorted { $0.0 < $1.0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", "))
    }
    if !tally.coverage.missing.isEmpty, isJudged(tally) {
      print("never happened: \(tally.coverage.missing.joined(separator: ", "))")
    }
    guard let first = tally.failed.first else { return print("no storm failed") }
    print("failed: \(tally.failed.map(String.init).joined(separator: " "))")
    print("once more: iov-bench simulate --seeds 1 --first-seed \(first) --steps \(steps)")
  }
}

/// What all storms came to.
private struct StormTally {
  var steps = 0
  var failed: [UInt64] = []
  var coverage = Coverage()
  var roundsToRest = 0

  mutating func take(_ report: StormReport) {
    steps += report.steps
    if !report.failures.isEmpty { failed.append(report.seed) }
    coverage.add(report.coverage)
    roundsToRest = max(roundsToRest, report.roundsToRest)
  }
}
