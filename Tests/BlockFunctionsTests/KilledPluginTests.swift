import FunctionPluginKit
import Glibc
import LinuxDevices
import PluginTrials
import Services
import Testing

@testable import BlockFunctions

/// The plugin's program, killed at any moment.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(5)))
struct KilledPluginTests {
  @Test(arguments: [UInt64](1...3))
  func whateverIsKilledIsReleasedByTheNext(seed: UInt64) async throws {
    var random = SeededNumbers(seed: seed)
    let disk = try TestDisk(in: "/dev/shm")
    let trials = try disk.trials()
    let naming = try await disk.plugin()
    for round in 1...rounds {
      let token = round * 10
      let server = Life(try await disk.request(.server, on: naming, token: token))
      let direct = Life(try await disk.request(.direct, on: naming, token: token + 1))
      let moments = [1, 2].map { _ in Duration.microseconds(Int64.random(in: 0..<40_000, using: &random)) }
      let carriesOn = Bool.random(using: &random)
      let moment = "seed \(seed), round \(round), killed after \(moments), carried on: \(carriesOn)"

      // Killed while they set up and release: first the controlling host's, then, with a server that lives, the consumer's.
      try await trials.server.runKilled(after: moments[0]) { plugin in
        async let directly: Void = turns(direct, plugin)
        try await turns(server, plugin)
        try await directly
      }
      var consumer = Life(try await disk.request(.consumer, on: naming, token: token + 2))
      let helper = Life(try await disk.request(.server, on: naming, token: token + 2))
      consumer.request.assignment?.mediation?.serverPort = try await trials.server.run { plugin in
        if carriesOn {
          for life in [server, direct] where try await !isReleased(life, plugin) {
            #expect(try await life.setUp(plugin.client).phase == .inUse, "\(moment)")
          }
        }
        for life in [server, direct] { try await life.release(plugin.client) }
        for life in [server, direct] { #expect(await life.isSpent(plugin.client), "\(moment)") }
        #expect(try await plugin.client.observe(ObserveRequest()).functions.filter { $0.phase != .absent } == [])
        return try await helper.setUp(plugin.client).serverPort
      }
      try await trials.consumer.runKilled(after: moments[1]) { [consumer] in try await turns(consumer, $0) }
      try await trials.consumer.run { [consumer] plugin in
        if carriesOn, try await !isReleased(consumer, plugin) {
          #expect(try await consumer.setUp(plugin.client).phase == .inUse, "\(moment)")
        }
        try await consumer.release(plugin.client)
        #expect(await consumer.isSpent(plugin.client), "\(moment)")
        #expect(try await plugin.client.observe(ObserveRequest()).functions.filter { $0.phase != .absent } == [])
      }
      try await trials.server.run { try await helper.release($0.client) }
      try #require(disk.leftovers() == [], "\(moment)")
      try #require(disk.unexpectedFiles() == [], "\(moment)")
    }
  }

  @Test func manyLivesLeaveThePluginAsItWas() async throws {
    let disk = try TestDisk(in: "/dev/shm")
    let naming = try await disk.plugin()
    let request = try await disk.request(.direct, on: naming)
    let server = try await disk.request(.server, on: naming)
    let trials = try disk.trials()
    try await trials.server.run { plugin in
      try await trials.consumer.run { consumers in
        var before = (memory: 0, descriptors: 0)
        for number in 1...lives {
          if number == 21 { before = (plugin.residentKibibytes, plugin.openDescriptors) }
          let life = Life(request.renumbered(number, name: disk.claim))
          #expect(try await life.setUp(plugin.client).phase == .inUse)
          try await life.release(plugin.client)
        }
        for number in lives + 1...lives + 10 {
          let life = Life(server.renumbered(number, name: disk.claim))
          var consumer = life
          consumer.request.role = .consumer
          consumer.request.assignment?.mediation?.serverPort = try await life.setUp(plugin.client).serverPort
          #expect(try await consumer.setUp(consumers.client).phase == .inUse)
          try await life.release(plugin.client)
          try await consumer.release(consumers.client)
        }
        #expect(plugin.residentKibibytes < before.memory + 8 << 10)
        #expect(plugin.openDescriptors <= before.descriptors + 4)
      }
    }
    #expect(disk.leftovers() == [])
    #expect(disk.unexpectedFiles() == [])
    #expect(try SmallFile.read(disk.directory + "/state/tokens.ledger").count < 1 << 20)
  }

  /// More by the environment, for a long soak.
  private var rounds: UInt64 { PluginTrial.number("IOV_KILL_ROUNDS") ?? 4 }
  private var lives: UInt64 { PluginTrial.number("IOV_LIVES") ?? 60 }
}

/// Brings a function into use and releases it, to be killed on the way.
private func turns(_ life: Life, _ plugin: RunningPlugin) async throws {
  try await life.setUp(plugin.client)
  try await life.release(plugin.client)
}

/// Whether the function was on its way back when the plugin was killed: its token is spent, and only its release is left.
private func isReleased(_ life: Life, _ plugin: RunningPlugin) async throws -> Bool {
  do {
    _ =
      life.request.role == .consumer
      ? try await plugin.client.connect(life.request) : try await plugin.client.create(life.request)
    return false
  } catch let error as RPCError where error.code == .failedPrecondition {
    return true
  }
}

extension FunctionRequest {
  /// The same under another token, as another function of another claim.
  fileprivate func renumbered(_ token: UInt64, name: String) -> FunctionRequest {
    var request = self
    request.assignment?.function = "\(assignment?.endNode ?? "")/\(token)"
    request.assignment?.claim = "\(name)-\(token)"
    request.assignment?.claimUid = "uid-\(token)"
    request.assignment?.token = FencingToken { $0.value = token }
    if request.assignment?.mediation != nil { request.assignment?.mediation?.exportName = "iov-\(token)-\(name)" }
    return request
  }
}

extension TestDisk {
  /// The plugins of the disk's host and of a host without any.
  func trials() throws -> (server: PluginTrial, consumer: PluginTrial) {
    let owner = try PluginTrial(
      program: "iov-plugin-sata", directory: directory, configuration: configuration, host: "host-a",
      mediationAddress: "127.0.0.1")
    let other = try PluginTrial(
      program: "iov-plugin-sata", directory: directory + "/b", configuration: "endNodes: []\n", host: "host-b",
      mediationAddress: "127.0.0.1")
    return (owner, other)
  }

  /// Files of the plugins that are neither their memory nor the disk's table.
  fileprivate func unexpectedFiles() -> [String] {
    ["", "/b"].map { directory + $0 }.flatMap { directory in
      SmallFile.names(in: directory + "/state").filter {
        $0 != "lock" && $0 != "tokens.ledger" && !$0.hasSuffix(".extents")
      } + SmallFile.names(in: directory + "/runtime")
    }
  }
}
