import Glibc
import LinuxDevices
import PluginTrials
import Services
import Testing

@testable import iov_plugin_ethernet

/// The plugin's program, killed at any moment.
@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(5)))
struct KilledPluginTests {
  @Test(arguments: [UInt64](1...3))
  func whateverIsKilledIsReleasedByTheNext(seed: UInt64) async throws {
    var random = SeededNumbers(seed: seed)
    let stage = try KillStage()
    for round in 1...(PluginTrial.number("IOV_KILL_ROUNDS") ?? 6) {
      let tenant = try TestNamespace("killed")
      let lives = try stage.lives(token: round * 10, tenant: tenant)
      let before = try stage.hosts.traces() + tenant.traces()
      let moments = [1, 2].map { _ in Duration.microseconds(Int64.random(in: 0..<25_000, using: &random)) }
      let carriesOn = Bool.random(using: &random)
      let tenantDies = Int.random(in: 0..<3, using: &random) == 0
      let moment = "seed \(seed), round \(round), killed after \(moments), carried on: \(carriesOn)"

      async let first: Void = stage.a.runKilled(after: moments[0]) { plugin in
        async let directly: Void = turns(lives.direct, plugin)
        try await turns(lives.server, plugin)
        try await directly
      }
      async let second: Void = stage.b.runKilled(after: moments[1]) { try await turns(lives.consumer, $0) }
      _ = try await (first, second)
      if tenantDies { try NetworkNamespace.remove(named: tenant.name) }
      try await stage.a.run { plugin in
        try await finish([lives.server, lives.direct], plugin, carryingOn: carriesOn && !tenantDies, moment)
      }
      try await stage.b.run { plugin in
        try await finish([lives.consumer], plugin, carryingOn: carriesOn && !tenantDies, moment)
      }
      try #require(try stage.hosts.traces() + tenant.traces() == before, "\(moment)")
      try #require(stage.unexpectedFiles() == [], "\(moment)")
    }
  }

  private func finish(
    _ lives: [Life], _ plugin: RunningPlugin, carryingOn: Bool, _ moment: String
  ) async throws {
    for life in lives {
      if carryingOn, await !life.isSpent(plugin.client) {
        #expect(try await life.setUp(plugin.client).phase == .inUse, "\(moment)")
      }
      try await life.release(plugin.client)
      #expect(await life.isSpent(plugin.client), "\(moment)")
    }
    #expect(try await plugin.client.observe(ObserveRequest()).functions == [], "\(moment)")
  }

  @Test func manyLivesLeaveThePluginAsItWas() async throws {
    let stage = try KillStage()
    let before = try stage.hosts.traces()
    let count = PluginTrial.number("IOV_LIVES") ?? 60
    try await stage.a.run { a in
      try await stage.b.run { b in
        var memory = 0
        var descriptors = 0
        for number in 1...count {
          if number == 21 { (memory, descriptors) = (a.residentKibibytes, a.openDescriptors) }
          let lives = try stage.lives(token: number * 10, tenant: stage.hosts.tenant)
          try await turns(lives.direct, a)
          try await lives.server.setUp(a.client)
          try await turns(lives.consumer, b)
          try await lives.server.release(a.client)
        }
        #expect(a.residentKibibytes < memory + 8 << 10)
        #expect(a.openDescriptors <= descriptors + 4)
      }
    }
    #expect(try stage.hosts.traces() == before)
    #expect(stage.unexpectedFiles() == [])
  }
}

private func turns(_ life: Life, _ plugin: RunningPlugin) async throws {
  try await life.setUp(plugin.client)
  try await life.release(plugin.client)
}

/// Two hosts with the plugin's program on each.
private struct KillStage {
  let hosts: TestHosts
  let a: PluginTrial
  let b: PluginTrial
  private let directory: Directory

  /// Goes with its holder.
  private final class Directory: Sendable {
    let path = "/dev/shm/iov-ethernet-" + String(UInt64.random(in: .min ... .max), radix: 36)
    deinit { Self.removeTree(path) }

    private static func removeTree(_ path: String) {
      for name in SmallFile.names(in: path) { removeTree(path + "/" + name) }
      remove(path)
    }
  }

  init() throws {
    hosts = try TestHosts()
    directory = Directory()
    a = try PluginTrial(
      program: "iov-plugin-ethernet", directory: directory.path + "/a",
      configuration: "endNodes:\n  - match: card*\n", host: "host-1", mediationAddress: "192.0.2.1",
      namespace: hosts.hosts[0].namespace)
    b = try PluginTrial(
      program: "iov-plugin-ethernet", directory: directory.path + "/b", configuration: "endNodes: []\n",
      host: "host-2", mediationAddress: "192.0.2.2", namespace: hosts.hosts[1].namespace)
  }

  func lives(token: UInt64, tenant: TestNamespace) throws -> (server: Life, direct: Life, consumer: Life) {
    func request(_ role: Role, _ token: UInt64) throws -> FunctionRequest {
      try hosts.request(role, token: token) {
        $0.consumer?.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = tenant.name })
        $0.consumer?.interfaceName = "net\(token)"
        $0.attributes?.ethernet?.macAddress = "02:00:00:00:00:\(role == .direct ? "d1" : "e1")"
        $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 50_000_000
        $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 60_000_000
      }
    }
    return try (Life(request(.server, token)), Life(request(.direct, token + 1)), Life(request(.consumer, token)))
  }

  /// Files of the plugins that are not their memory.
  func unexpectedFiles() -> [String] {
    [a, b].flatMap { trial in
      SmallFile.names(in: trial.stateDirectory).filter { $0 != "lock" && $0 != "tokens.ledger" }
        + SmallFile.names(in: trial.runtimeDirectory)
    }
  }
}
