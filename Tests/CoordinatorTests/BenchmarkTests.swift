import Foundation
import LinuxDevices
import Testing

/// The benchmarks' program with little load: every one runs to its end and finds what it counts.
struct BenchmarkTests {
  @Test(arguments: [[], ["--tls"]]) func aSwarmComesBack(security: [String]) async throws {
    let figures = try await figures(
      ["swarm", "--agents", "3", "--end-nodes", "2", "--functions", "2", "--seconds", "0", "--storms", "2"]
        + ["--down-seconds", "0.1"] + security)
    for storm in 1...2 {
      // How many are lost is a matter of time, of which a busy machine has none.
      #expect(figures["storm_\(storm)_leases_lost"] != nil)
      #expect(try #require(figures["storm_\(storm)_settled_after_seconds"]) > 0.1)
    }
  }

  @Test func durableClaimsAreComparedWithTheirRowsAlone() async throws {
    let figures = try await figures(
      ["durable", "--clients", "3", "--held", "2", "--hosts", "2", "--seconds", "0.3", "--rounds", "1"])
    #expect(try #require(figures["claims_per_second"]) > 0)
    #expect(try #require(figures["alone_claims_per_second"]) > 0)
    // A claim is made and released by different commits, and several of them share one at most.
    #expect(try #require(figures["claims_per_commit"]) < 3)
  }

  /// What `iov-bench` prints, by name.
  private func figures(_ arguments: [String]) async throws -> [String: Double] {
    let directory = try TemporaryDirectory()
    let output = directory.file("figures")
    let words = ["-c", "exec \"$0\" \"$@\" >\(output)", RealAgent.programs + "/iov-bench"] + arguments
    let outcome = try await BlockingThread.detached {
      try Command(executable: "/bin/sh", arguments: words).run(atMost: .seconds(120))
    }
    #expect(outcome.status == .exited(0), "\(outcome.complaints)")
    var figures: [String: Double] = [:]
    for line in try String(contentsOfFile: output, encoding: .utf8).split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2 { figures[String(words[0])] = Double(words[1]) }
    }
    return figures
  }
}
