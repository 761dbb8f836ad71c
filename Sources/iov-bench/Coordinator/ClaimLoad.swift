import Services

/// Clients that create and release claims, each with a connection of its own.
struct ClaimLoad {
  struct Measured: Sendable {
    var lives = 0
    var creations = LatencyHistogram()
    var releases = LatencyHistogram()
    var seconds = 0.0
    var commits = 0
    var coordinatorSeconds = 0.0
    var ownSeconds = 0.0
  }

  let program: CoordinatorProgram
  let clients: Int
  let held: Int
  let hosts: Int

  /// Every client ends with what it holds released.
  func run(_ round: Int, for duration: Duration, _ coordinator: ObservedProcess) async throws -> Measured {
    let stopwatch = Stopwatch(messagesPerWorker: .max)
    return try await withThrowingTaskGroup(of: Measured.self) { group in
      for client in 0..<clients {
        let channel = RPCChannel(program.socket)
        group.addTask(executorPreference: channel.executor) {
          try await self.client("\(round)-\(client)", host: client % hosts, channel, stopwatch)
        }
      }
      try await Task.sleep(for: .milliseconds(500))
      let begun = try (
        monotonicNanoseconds(), commitCount(ofStore: program.storePath), coordinator.processorSeconds ?? 0,
        ownProcessorSeconds()
      )
      stopwatch.phase = .measuring
      try await Task.sleep(for: duration)
      stopwatch.phase = .over
      var all = Measured()
      all.seconds = secondsSince(begun.0)
      all.commits = Int(try commitCount(ofStore: program.storePath) &- begun.1)
      all.coordinatorSeconds = (coordinator.processorSeconds ?? 0) - begun.2
      all.ownSeconds = ownProcessorSeconds() - begun.3
      for try await client in group {
        all.lives += client.lives
        all.creations.add(client.creations)
        all.releases.add(client.releases)
      }
      return all
    }
  }

  private func client(
    _ name: String, host: Int, _ channel: RPCChannel, _ stopwatch: Stopwatch
  ) async throws -> Measured {
    let client = ClaimsClient(channel)
    var measured = Measured()
    var number = 0
    var oldest = 0
    while stopwatch.phase != .over {
      let created = monotonicNanoseconds()
      _ = try await client.createClaim(
        CreateClaimRequest {
          $0.name = "\(name)-\(number)"
          $0.specification = ClaimSpecification {
            $0.deviceClass = "ethernet"
            $0.host = "host-\(host)"
          }
        })
      let answered = monotonicNanoseconds()
      number += 1
      guard number - oldest > held else { continue }
      _ = try await client.deleteClaim(DeleteClaimRequest { $0.name = "\(name)-\(oldest)" })
      oldest += 1
      guard stopwatch.phase == .measuring else { continue }
      measured.creations.record(nanoseconds: answered - created)
      measured.releases.record(nanoseconds: monotonicNanoseconds() - answered)
      measured.lives += 1
    }
    for left in oldest..<number { _ = try await client.deleteClaim(DeleteClaimRequest { $0.name = "\(name)-\(left)" }) }
    await channel.close()
    return measured
  }
}
