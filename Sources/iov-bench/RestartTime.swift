import ArgumentParser
import ClaimStore
import Services

/// From starting the coordinator's program on a store that is full of claims to its first answers.
struct RestartTime: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restart",
    abstract: "Starts iov-coordinator on a store with many claims; how long until it answers. Needs no rack.")

  @Option(help: "How many claims are in the store, all of them ready.") var claims = 10_000
  @Option(help: "On how many hosts.") var hosts = 100
  @Option(help: "How many times.") var rounds = 11
  @Option(help: "The coordinator's program; left out: the one beside this program.") var program: String?

  func validate() throws {
    guard rounds > 0, claims > 0, hosts > 0 else {
      throw ValidationError("--claims, --hosts and --rounds are at least 1")
    }
  }

  func run() async throws {
    let program = try CoordinatorProgram(executable: program)
    let store = try SQLiteStore(path: program.storePath)
    try FullStore(claims: claims, hosts: hosts).write(to: store)
    let bytes = store.byteCount
    store.close()

    var answered: [Duration] = []
    var listed: [Duration] = []
    // The first round pays for the page cache; it is not counted.
    for round in 0...rounds {
      let times = try await self.round(program)
      if round > 0 {
        answered.append(times.answered)
        listed.append(times.listed)
      }
    }
    print("\(claims) claims on \(hosts) hosts, \(bytes >> 10) KiB of store")
    print("start to first answer:  \(summary(answered))")
    print("start to all claims:    \(summary(listed))")
  }

  private func round(_ program: CoordinatorProgram) async throws -> (answered: Duration, listed: Duration) {
    let clock = ContinuousClock()
    let started = clock.now
    let process = try program.start()
    do {
      let channel = program.channel()
      try await program.firstAnswer(on: channel, from: process)
      let answered = clock.now - started
      let found = try await ClaimsClient(channel).listClaims(ListClaimsRequest()).claims
      let listed = clock.now - started
      guard found.count == claims, found.allSatisfy({ $0.status?.phase == .ready }) else {
        throw RPCError(.dataLoss, "the coordinator has \(found.count) claims, and not all of them are ready")
      }
      await channel.close()
      // As a crash would: the next round reads the log too.
      try await process.handle.killAndWait()
      return (answered, listed)
    } catch {
      try? await process.handle.killAndWait()
      throw error
    }
  }
}
