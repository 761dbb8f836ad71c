import ArgumentParser
import ClaimStore
import Foundation
import LinuxDevices
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
    let directory = NSTemporaryDirectory() + "iov-bench-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let store = try SQLiteStore(path: directory + "/coordinator.sqlite")
    try FullStore(claims: claims, hosts: hosts).write(to: store)
    let bytes = store.byteCount
    store.close()
    let text =
      "listen: [\"unix:\(directory)/socket\"]\nstore: {path: \(directory)/coordinator.sqlite}\nlogLevel: error\n"
    try text.write(toFile: directory + "/coordinator.yaml", atomically: true, encoding: .utf8)

    var answered: [Duration] = []
    var listed: [Duration] = []
    // The first round pays for the page cache; it is not counted.
    for round in 0...rounds {
      let times = try await self.round(directory)
      if round > 0 {
        answered.append(times.answered)
        listed.append(times.listed)
      }
    }
    print("\(claims) claims on \(hosts) hosts, \(bytes >> 10) KiB of store")
    print("start to first answer:  \(summary(answered))")
    print("start to all claims:    \(summary(listed))")
  }

  private func round(_ directory: String) async throws -> (answered: Duration, listed: Duration) {
    let executable = program ?? Self.neighbour("iov-coordinator")
    let clock = ContinuousClock()
    let started = clock.now
    let process = try ChildProcess.spawn(
      executable: executable, arguments: ["--config", directory + "/coordinator.yaml"])
    do {
      // All claims come in one message.
      var limits = ChannelLimits()
      limits.maximumMessageByteCount = 256 << 20
      // The first answer is measured to the millisecond.
      limits.reconnect = ExponentialBackoff(initial: .milliseconds(1), multiplier: 1, maximum: .milliseconds(1))
      let channel = RPCChannel(.unix(path: directory + "/socket"), limits: limits)
      try await firstAnswer(channel, from: process)
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

  private func firstAnswer(_ channel: RPCChannel, from process: ChildProcess) async throws {
    while true {
      do {
        _ = try await InventoryClient(channel).getCluster(GetClusterRequest())
        return
      } catch let error as RPCError where error.code == .unavailable {
        guard process.identity.isAlive else {
          throw RPCError(.unavailable, "the coordinator ended by itself; it says why on standard error")
        }
        try await Task.sleep(for: .milliseconds(1))
      }
    }
  }

  private static func neighbour(_ name: String) -> String {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    return (own as NSString).deletingLastPathComponent + "/" + name
  }
}
