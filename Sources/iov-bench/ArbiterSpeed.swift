import Arbitration
import ArgumentParser
import Services

/// The core alone, on one thread: no store, no sockets.
struct ArbiterSpeed: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "arbiter",
    abstract: "How fast the core grants claims, and how much memory a data centre takes in it.",
    discussion: """
      Prints one figure a line. Two clusters are filled, a small one and a large one, until half of their functions are \
      held and in use. Then 100 claims at a time are released, and 100 others granted. A grant is from the creation of a claim \
      to all that follows from it: its assignment, and what is to be stored, sent and answered. Grants a second are of the \
      thread's processor time for 100, percentiles of what the clock on the wall says of each. At the end a claim, and a group, \
      that may go to any host are granted.
      """)

  @Option(help: "Hosts of the large cluster; each has one end node.") var hosts = 10_000
  @Option(help: "Functions of the large cluster.") var functions = 1_000_000
  @Option(help: "Hosts of the small cluster.") var smallHosts = 100
  @Option(help: "Functions of the small cluster.") var smallFunctions = 10_000
  @Option(help: "How many grants are measured in each.") var grants = 100_000

  /// To read the processor's clock takes as long as a tenth of a grant.
  private var batch: Int { 100 }

  func validate() throws {
    guard hosts > 1, smallHosts > 1, functions >= 2 * hosts, smallFunctions >= 2 * smallHosts, grants >= batch,
      smallFunctions >= 2 * batch
    else {
      throw ValidationError("at least 2 hosts with 2 functions each, 200 functions and 100 grants")
    }
  }

  func run() throws {
    let small = try measure("small", hosts: smallHosts, functions: smallFunctions)
    let large = try measure("large", hosts: hosts, functions: functions)
    report("large_to_small_cost_per_grant", large / small)
  }

  /// Answers the mean time of a grant, in microseconds.
  private func measure(_ size: String, hosts: Int, functions: Int) throws -> Double {
    let before = ObservedProcess.own.residentKibibytes ?? 0
    let begun = monotonicNanoseconds()
    var rack = try BenchRack(hosts: hosts, functions: functions)
    try rack.join()
    report("\(size)_join_seconds", secondsSince(begun))
    try fill(&rack)
    report("\(size)_load_seconds", secondsSince(begun))
    let kibibytes = Double((ObservedProcess.own.residentKibibytes ?? 0) - before)
    report("\(size)_resident_mebibytes", kibibytes / 1024)
    report("\(size)_bytes_per_held_function", kibibytes * 1024 / Double(rack.held.count))

    var latencies = LatencyHistogram()
    var nanosecondsOfGrants: UInt64 = 0
    var dice = SplitMix(state: 1)
    let churn = monotonicNanoseconds()
    for _ in 0..<grants / batch {
      for _ in 0..<batch { try rack.release(place: Int.random(in: rack.held.indices, using: &dice)) }
      let creations = try (0..<batch).map { _ in try rack.prepare() }
      var effects: [[Effect]] = []
      effects.reserveCapacity(batch)
      let begun = threadNanoseconds()
      for creation in creations {
        let begun = monotonicNanoseconds()
        effects.append(rack.decide(creation))
        latencies.record(nanoseconds: monotonicNanoseconds() - begun)
      }
      nanosecondsOfGrants += threadNanoseconds() - begun
      for (creation, effects) in zip(creations, effects) {
        try rack.hold(creation, effects)
        try rack.obey(effects)
      }
    }
    let mean = Double(nanosecondsOfGrants) / 1000 / Double(grants / batch * batch)
    report("\(size)_grants_per_second", 1e6 / mean)
    report("\(size)_grant_p50_microseconds", latencies.microseconds(at: 0.5))
    report("\(size)_grant_p99_microseconds", latencies.microseconds(at: 0.99))
    report("\(size)_lives_per_second", Double(grants / batch * batch) / secondsSince(churn))
    report("\(size)_peak_mebibytes", Double(ObservedProcess.own.peakKibibytes ?? 0) / 1024)
    try measureForAnyHost(size, &rack)
    return mean
  }

  private func measureForAnyHost(_ size: String, _ rack: inout BenchRack) throws {
    var latencies = LatencyHistogram()
    for _ in 0..<batch { latencies.record(nanoseconds: try rack.grantForAnyHost()) }
    report("\(size)_any_host_grant_p50_microseconds", latencies.microseconds(at: 0.5))
    report("\(size)_any_host_group_of_64_milliseconds", Double(try rack.grantForAnyHost(members: 64)) / 1e6)
  }

  private func fill(_ rack: inout BenchRack) throws {
    for _ in 0..<rack.functions / 2 { try rack.obey(rack.grant().effects) }
  }
}

/// Sebastiano Vigna's splitmix64: the same places in every run.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
