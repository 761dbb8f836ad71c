import ArgumentParser
import Services

/// The core alone, where an event concerns all of a large cluster and nothing comes of it.
struct LooksInVain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "in-vain",
    abstract: "How long single events hold up the core where it looks for functions that nobody can have.",
    discussion: """
      Prints one figure a line, in milliseconds of processor time; each is the longest of the rounds. Half of the functions of a \
      cluster are held, and no host has a mediation address. Claims for any host wait, and hosts leave and come back. Then a host is \
      drained whose claims fit nowhere else, and urgent claims come that nobody can help by letting go. At the end the moves are planned \
      that would even out the cluster, of which there are none.
      """)

  @Option(help: "Hosts of the cluster; each has one end node.") var hosts = 5000
  @Option(help: "Functions of the cluster.") var functions = 40_000
  @Option(help: "How many claims for any host wait.") var waiting = 2000
  @Option(help: "How often each event comes.") var rounds = 5

  func validate() throws {
    guard rounds > 0, hosts > 2 * rounds, functions >= 2 * hosts, waiting >= 0 else {
      throw ValidationError(
        "at least 1 round, more than 2 hosts for each, with 2 functions each, and no negative number of claims")
    }
  }

  func run() throws {
    var rack = try BenchRack(hosts: hosts, functions: functions, isMediating: false, hasAddresses: false)
    try rack.join()
    for _ in 0..<rack.functions / 2 { try rack.obey(rack.grant().effects) }
    var arrivals: [UInt64] = []
    for number in 0..<waiting { arrivals.append(try rack.waitForAnyHost("waiting-\(number)")) }
    report("claim_for_any_host_milliseconds", arrivals)
    report("host_comes_back_milliseconds", try (0..<rounds).map { try rack.comeBack($0) })
    report("tick_while_they_wait_milliseconds", (0..<rounds).map { _ in rack.passTime() })
    for number in 0..<waiting { rack.delete("waiting-\(number)") }
    report("drain_milliseconds", [rack.drain(rounds)])
    report("tick_while_drained_milliseconds", (0..<rounds).map { _ in rack.passTime() })
    let urgent = try (0..<rounds).map { try rack.waitUrgently("urgent-\($0)", host: rounds + 1 + $0) }
    report("urgent_claim_milliseconds", urgent)
    report(
      "urgent_claim_for_any_host_milliseconds",
      try (0..<rounds).map { try rack.waitForAnyHost("any-\($0)", priority: 10) })
    report("rebalance_plan_milliseconds", [rack.planRebalance()])
  }

  private func report(_ name: String, _ nanoseconds: [UInt64]) {
    if let longest = nanoseconds.max() { iov_bench.report(name, Double(longest) / 1e6) }
  }
}
