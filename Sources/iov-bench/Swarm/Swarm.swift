import ArgumentParser
import LinuxDevices
import Services

/// A cluster's agents, all of them in this process, with one coordinator.
struct Swarm: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swarm",
    abstract: "Many agents and one iov-coordinator: memory of each, the processor at rest, the storm after a crash.",
    discussion: """
      Prints one figure a line. The agents are the agent's own code without plugins and devices, over TCP on the loopback; the \
      coordinator is the real program, with its store on this disk. Every claim lets go of its function when its host's lease runs \
      out, so that a lost lease is seen. A storm: the coordinator is killed, and started again a second later; it is over when \
      every host has a session again, has reported and is believed, seen from the kill.
      """)

  @Option(help: "How many hosts.") var agents = 5000
  @Option(help: "End nodes of each.") var endNodes = 4
  @Option(help: "Functions that each holds.") var functions = 3
  @Flag(help: "Mutual TLS, with a certificate for each host.") var tls = false
  @Option(help: "How long the coordinator is observed at rest.") var seconds = 30.0
  @Option(help: "How often it is killed.") var storms = 3
  @Option(help: "How long it is away, in seconds.") var downSeconds = 1.0
  @Option(help: "Where the hosts keep who they are: in memory, since they have a disk each.") var state = "/dev/shm"
  @Option(help: "The coordinator's program; left out: the one beside this program.") var program: String?

  func validate() throws {
    guard agents > 0, endNodes > 0, (0...64).contains(functions), seconds >= 0, storms >= 0, downSeconds >= 0 else {
      throw ValidationError("--agents and --end-nodes are at least 1, --functions is 0 to 64, and nothing is negative")
    }
  }

  func run() async throws {
    // A socket and a lock for each agent, and what both programs have beside. The coordinator's limit comes from here.
    do {
      try OpenFileLimit.raise(to: UInt64(2 * agents + 1000))
    } catch {
      throw ValidationError("\(error): raise it (ulimit -Hn, as root), or ask for fewer --agents")
    }
    let scratch = try ScratchDirectory(in: state)
    let certificates = tls ? try SwarmCertificates(in: scratch.path) : nil
    let port = try freePort()
    let program = try CoordinatorProgram(
      executable: program, port: port, certificate: try certificates?.coordinatorDirectory())
    let fleet = try SwarmFleet(
      hosts: agents, cards: endNodes, functionsEach: 64, coordinator: .tcp(host: "127.0.0.1", port: Int(port)),
      directory: scratch.path, certificates: certificates)
    var process = try program.start()
    let channel = program.channel()
    do {
      try await program.firstAnswer(on: channel, from: process)
      let empty = ObservedProcess(process)
      let before = Double(empty.residentKibibytes ?? 0)
      report("empty_resident_mebibytes", before / 1024)
      try await fleet.whileRunning {
        try await observeJoin(fleet, channel, empty, before)
        for number in 0..<storms {
          process = try await storm(number + 1, fleet, program, process, channel)
        }
        report("peak_resident_mebibytes", Double(ObservedProcess(process).peakKibibytes ?? 0) / 1024)
      }
    } catch {
      try? await process.handle.killAndWait()
      throw error
    }
    await channel.close()
    try await process.handle.killAndWait()
    withExtendedLifetime(scratch) {}
  }

  // MARK: At rest

  private func observeJoin(
    _ fleet: SwarmFleet, _ channel: RPCChannel, _ coordinator: ObservedProcess, _ before: Double
  ) async throws {
    let begun = monotonicNanoseconds()
    try await fleet.settled(channel, within: .seconds(120))
    report("join_seconds", secondsSince(begun))
    reportMemory("joined", coordinator, before)
    guard functions > 0 else { return try await observeRest(coordinator) }
    let claiming = monotonicNanoseconds()
    try await claim(channel)
    try await fleet.settled(channel, within: .seconds(120))
    report("claims_per_second", Double(agents * functions) / secondsSince(claiming))
    reportMemory("holding", coordinator, before)
    try await observeRest(coordinator)
  }

  private func reportMemory(_ state: String, _ coordinator: ObservedProcess, _ before: Double) {
    let now = Double(coordinator.residentKibibytes ?? 0)
    report("\(state)_resident_mebibytes", now / 1024)
    report("\(state)_kibibytes_per_agent", (now - before) / Double(agents))
  }

  private func observeRest(_ coordinator: ObservedProcess) async throws {
    let (begun, busy, own) = (monotonicNanoseconds(), coordinator.processorSeconds ?? 0, ownProcessorSeconds())
    try await Task.sleep(for: .seconds(seconds))
    let passed = secondsSince(begun)
    report("rest_coordinator_percent_of_a_core", 100 * ((coordinator.processorSeconds ?? 0) - busy) / passed)
    report("rest_swarm_percent_of_a_core", 100 * (ownProcessorSeconds() - own) / passed)
  }

  private func claim(_ channel: RPCChannel) async throws {
    let (client, agents, functions) = (ClaimsClient(channel), agents, functions)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in 0..<64 {
        group.addTask {
          for number in stride(from: caller, to: agents * functions, by: 64) {
            let request = CreateClaimRequest {
              $0.name = "claim-\(number)"
              $0.specification = ClaimSpecification {
                $0.deviceClass = "ethernet"
                $0.host = "host-\(number % agents)"
                $0.lossPolicy = .selfFence
              }
            }
            _ = try await client.createClaim(request)
          }
        }
      }
      try await group.waitForAll()
    }
  }

  // MARK: After a crash

  private func storm(
    _ number: Int, _ fleet: SwarmFleet, _ program: CoordinatorProgram, _ process: ChildProcess, _ channel: RPCChannel
  ) async throws -> ChildProcess {
    let grants = try await grants(channel)
    let cuts = fleet.cuts
    let begun = monotonicNanoseconds()
    try await process.handle.killAndWait()
    try await Task.sleep(for: .seconds(downSeconds))
    let process = try program.start()
    do {
      try await program.firstAnswer(on: channel, from: process)
      report("storm_\(number)_answers_after_seconds", secondsSince(begun))
      try await fleet.welcomed(within: .seconds(120))
      report("storm_\(number)_welcomed_after_seconds", secondsSince(begun))
      try await fleet.settled(channel, within: .seconds(120))
      report("storm_\(number)_settled_after_seconds", secondsSince(begun))
      report("storm_\(number)_coordinator_processor_seconds", ObservedProcess(process).processorSeconds ?? 0)
      report("storm_\(number)_resident_mebibytes", Double(ObservedProcess(process).residentKibibytes ?? 0) / 1024)
      // A lease that ran out meanwhile has had the time to show.
      try await Task.sleep(for: .seconds(2))
      let lost = try await self.grants(channel).filter { grants[$0.key] != $0.value }.count
      report("storm_\(number)_leases_lost", Double(max(fleet.cuts - cuts, lost)))
      return process
    } catch {
      try? await process.handle.killAndWait()
      throw error
    }
  }

  /// The token of every claim that is ready.
  private func grants(_ channel: RPCChannel) async throws -> [String: UInt64] {
    let claims = try await ClaimsClient(channel).listClaims(ListClaimsRequest()).claims
    let tokens = claims.map { claim in
      (claim.name, claim.status?.phase == .ready ? claim.status?.assignment?.token?.value ?? 0 : 0)
    }
    return Dictionary(tokens, uniquingKeysWith: { first, _ in first })
  }
}

extension ObservedProcess {
  init(_ process: ChildProcess) { self.init(id: process.identity.pid) }
}
