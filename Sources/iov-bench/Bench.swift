import ArgumentParser
import Services

@main
struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "iov-bench",
    abstract: "Measures iovmesh. Build it for release; what it prints is the median of the rounds.",
    subcommands: [
      ClaimLatency.self, RestartTime.self, DiscoveryTime.self, Mesh.self, Codec.self, Simulate.self, ArbiterSpeed.self,
      WaitingSpeed.self, LooksInVain.self, DurableClaims.self, Swarm.self,
    ])
}

/// From asking for a function to having it, and from letting go to its being gone, seen by a client.
struct ClaimLatency: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "claims",
    abstract: "Creates and deletes a claim again and again; how long until it is ready, how long until it is gone.")

  @Option(help: "Where the coordinator listens.") var coordinator = "unix:/run/iov-coordinator/coordinator.sock"
  @Option(name: .customLong("class"), help: "Device class.") var deviceClass: String
  @Option(help: "The host that is to use the function.") var host: String
  @Option(help: "Size of a disk function in bytes.") var sizeBytes: UInt64?
  @Option(help: "How many times.") var rounds = 51

  func validate() throws {
    guard rounds > 0 else { throw ValidationError("--rounds must be at least 1") }
  }

  func run() async throws {
    let channel = RPCChannel(try SocketEndpoint(parsing: coordinator))
    let client = ClaimsClient(channel)
    var toReady: [Duration] = []
    var toGone: [Duration] = []
    // The first round pays for connections and caches; it is not counted.
    for round in 0...rounds {
      let (ready, gone) = try await self.round(client, name: "bench-\(round)")
      if round > 0 {
        toReady.append(ready)
        toGone.append(gone)
      }
    }
    await channel.close()
    print("claim to ready:   \(summary(toReady))")
    print("release to gone:  \(summary(toGone))")
  }

  private func round(_ client: ClaimsClient, name: String) async throws -> (ready: Duration, gone: Duration) {
    let clock = ContinuousClock()
    // The watch is open before the claim is made, as in a client that waits for many claims.
    let events = try await client.watchClaims(WatchClaimsRequest { $0.name = name })
    var iterator = events.makeAsyncIterator()
    while let event = try await iterator.next(), event.kind != .synced {}

    let asked = clock.now
    _ = try await client.createClaim(
      CreateClaimRequest {
        $0.name = name
        $0.specification = ClaimSpecification {
          $0.deviceClass = deviceClass
          $0.host = host
          if let sizeBytes { $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = sizeBytes } } }
        }
      })
    var isReady = false
    while !isReady, let event = try await iterator.next() {
      if let error = event.claim?.status?.error { print("\(name): \(error.step) on \(error.host): \(error.message)") }
      isReady = event.claim?.status?.phase == .ready
    }
    let ready = clock.now - asked

    let released = clock.now
    _ = try await client.deleteClaim(DeleteClaimRequest { $0.name = name })
    var isGone = false
    while !isGone, let event = try await iterator.next() { isGone = event.kind == .gone }
    return (ready, clock.now - released)
  }
}

/// Median, 90th percentile and largest.
func summary(_ durations: [Duration]) -> String {
  let sorted = durations.sorted()
  func at(_ share: Double) -> String {
    let duration = sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    let microseconds = duration.components.seconds * 1_000_000 + duration.components.attoseconds / 1_000_000_000_000
    return "\(Double(microseconds) / 1000) ms"
  }
  return "median \(at(0.5)), p90 \(at(0.9)), largest \(at(1)), \(sorted.count) rounds"
}
