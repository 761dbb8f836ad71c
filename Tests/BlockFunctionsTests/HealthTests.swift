import MeshServices
import PluginTrials
import Services
import Testing

/// The plugin's program as a probe sees it.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct HealthTests {
  @Test func aPluginServesWhatItIsAskedFor() async throws {
    let disk = try TestDisk(in: "/dev/shm")
    let statuses = try await disk.trials().server.run { plugin in
      try await HealthClient(plugin.client.channel).list(HealthListRequest()).statuses.mapValues(\.status)
    }
    #expect(statuses == ["": .serving, "iov.v1.VirtualFunctions": .serving])
  }
}
