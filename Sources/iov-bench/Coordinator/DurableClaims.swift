import ArgumentParser
import LinuxDevices
import Services

/// Claims that come and go as fast as the coordinator makes them durable.
struct DurableClaims: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "durable",
    abstract: "Many clients of one iov-coordinator create and release claims; beside it, what the disk alone allows.",
    discussion: """
      Prints one figure a line, the medians of the rounds. Each client has a connection of its own, creates a claim, waits for the \
      answer, which is durable, releases its oldest one, and so on. The hosts are agents of `swarm`. In turns with it a file of \
      the same kind on the same disk takes the same rows in as many commits, without a coordinator.
      """)

  @Option(help: "How many clients.") var clients = 64
  @Option(help: "Claims that each of them holds.") var held = 4
  @Option(help: "How many hosts; each has one card.") var hosts = 64
  @Option(help: "How long each round is measured.") var seconds = 5.0
  @Option(help: "How often both are measured.") var rounds = 5
  @Option(help: "The coordinator's program; left out: the one beside this program.") var program: String?

  func validate() throws {
    guard clients > 0, held > 0, hosts > 0, seconds > 0, rounds > 0 else {
      throw ValidationError("--clients, --held, --hosts, --seconds and --rounds are more than nothing")
    }
  }

  /// Each card has place for all claims twice over: what is released is not gone at once.
  private var functionsEach: Int { 2 * (clients * (held + 1) / hosts + 1) }

  func run() async throws {
    let scratch = try ScratchDirectory(in: "/dev/shm")
    let program = try CoordinatorProgram(executable: program)
    let fleet = try SwarmFleet(
      hosts: hosts, cards: 1, functionsEach: functionsEach, coordinator: program.socket, directory: scratch.path)
    let process = try program.start()
    do {
      let channel = program.channel()
      try await program.firstAnswer(on: channel, from: process)
      try await fleet.whileRunning {
        try await fleet.settled(channel, within: .seconds(60))
        try await measure(program, ObservedProcess(process))
      }
      await channel.close()
    } catch {
      try? await process.handle.killAndWait()
      throw error
    }
    try await process.handle.killAndWait()
    withExtendedLifetime(scratch) {}
  }

  private func measure(_ program: CoordinatorProgram, _ coordinator: ObservedProcess) async throws {
    var alone = try GroupedCommits(
      path: program.storePath + "-alone", hosts: hosts, functions: hosts * functionsEach, clients: clients,
      held: clients * held)
    let load = ClaimLoad(program: program, clients: clients, held: held, hosts: hosts)
    var figures = Medians()
    // The first round pays for connections and caches; it is not counted.
    for round in 0...rounds {
      let measured = try await load.run(round, for: .seconds(seconds), coordinator)
      let (seconds, rows) = try alone.commit(lives: measured.lives, groups: measured.commits)
      guard round > 0 else { continue }
      let lives = Double(measured.lives)
      figures.add("claims_per_second", lives / measured.seconds)
      figures.add("commits_per_second", Double(measured.commits) / measured.seconds)
      figures.add("claims_per_commit", lives / Double(measured.commits))
      figures.add("create_p50_microseconds", measured.creations.microseconds(at: 0.5))
      figures.add("create_p99_microseconds", measured.creations.microseconds(at: 0.99))
      figures.add("release_p50_microseconds", measured.releases.microseconds(at: 0.5))
      figures.add("release_p99_microseconds", measured.releases.microseconds(at: 0.99))
      figures.add("coordinator_microseconds_per_claim", measured.coordinatorSeconds * 1e6 / lives)
      figures.add("load_microseconds_per_claim", measured.ownSeconds * 1e6 / lives)
      figures.add("rows_per_claim", Double(rows) / lives)
      figures.add("alone_claims_per_second", lives / seconds)
      figures.add("ratio", seconds / measured.seconds)
    }
    figures.print()
  }
}

/// The same figures of several rounds, in the order in which they first came.
struct Medians {
  private var figures: [(name: String, values: [Double])] = []

  mutating func add(_ name: String, _ value: Double) {
    if let index = figures.firstIndex(where: { $0.name == name }) {
      figures[index].values.append(value)
    } else {
      figures.append((name, [value]))
    }
  }

  func print() {
    for (name, values) in figures { report(name, values.sorted()[values.count / 2]) }
  }
}
