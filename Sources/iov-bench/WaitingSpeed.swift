import ArgumentParser
import Services

/// The core alone, where very many claims wait.
struct WaitingSpeed: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "waiting",
    abstract: "What it costs to grant and to release where very many claims of several tenants wait.",
    discussion: """
      Prints one figure a line. All functions of a cluster are held, and claims wait, first few of them, then many. In each case one \
      claim after the other is released, and one that waits is granted what it had, with all that agents say of it; and claims \
      come that have to wait. Processor time.
      """)

  @Option(help: "Hosts of the cluster; each has one end node.") var hosts = 100
  @Option(help: "Functions of the cluster.") var functions = 10_000
  @Option(help: "How many claims wait in the first case.") var few = 1000
  @Option(help: "How many claims wait in the second case.") var many = 500_000
  @Option(help: "Of how many tenants; each has another weight.") var tenants = 8
  @Option(help: "How many releases are measured in each case.") var rounds = 500

  func validate() throws {
    guard hosts > 1, functions >= hosts, rounds > 0, few > 2 * rounds - 1, many > few, tenants > 0 else {
      throw ValidationError(
        "at least 2 hosts with a function each, 1 tenant, 1 round, and two waiting claims for each round")
    }
  }

  func run() throws {
    var rack = try BenchRack(hosts: hosts, functions: functions)
    try rack.join()
    for number in 0..<tenants { rack.makeTenant(tenant(number), weight: UInt32(number + 1)) }
    var held: [String] = []
    for _ in 0..<rack.functions {
      let grant = try rack.grant()
      try rack.obey(grant.effects)
      held.append(grant.name)
    }
    var waiting = 0
    let one = try measure("few", &rack, &held, &waiting, upTo: few)
    let other = try measure("many", &rack, &held, &waiting, upTo: many)
    report("many_to_few_cost_per_release_and_grant", other / one)
  }

  private func tenant(_ number: Int) -> String { "tenant-\(number % tenants)" }

  /// Answers the mean time of a release with the grant that follows, in microseconds.
  private func measure(
    _ size: String, _ rack: inout BenchRack, _ held: inout [String], _ waiting: inout Int, upTo count: Int
  ) throws -> Double {
    var (arrivals, lives, moments) = (LatencyHistogram(), LatencyHistogram(), LatencyHistogram())
    while waiting < count {
      arrivals.record(nanoseconds: try rack.wait(waiting, tenant: tenant(waiting)))
      waiting += 1
    }
    var sum: UInt64 = 0
    for round in 0..<rounds {
      let place = round * 7919 % held.count
      let (name, nanoseconds) = try rack.passOn(held[place])
      held[place] = name
      lives.record(nanoseconds: nanoseconds)
      sum += nanoseconds
      moments.record(nanoseconds: rack.passTime())
    }
    let mean = Double(sum) / 1000 / Double(rounds)
    report("\(size)_waiting", Double(count))
    report("\(size)_arrival_p50_microseconds", arrivals.microseconds(at: 0.5))
    report("\(size)_arrival_p99_microseconds", arrivals.microseconds(at: 0.99))
    report("\(size)_release_and_grant_mean_microseconds", mean)
    report("\(size)_release_and_grant_p50_microseconds", lives.microseconds(at: 0.5))
    report("\(size)_release_and_grant_p99_microseconds", lives.microseconds(at: 0.99))
    report("\(size)_tick_p99_microseconds", moments.microseconds(at: 0.99))
    report("\(size)_peak_mebibytes", Double(ObservedProcess.own.peakKibibytes ?? 0) / 1024)
    return mean
  }
}
