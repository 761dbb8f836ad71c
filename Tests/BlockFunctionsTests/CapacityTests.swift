import Services
import Testing

@testable import BlockFunctions

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct TheCapacityOfADisk {
  @Test func isItsSizeAndHalfADozenHostsAndNothingThatNobodyKnows() async throws {
    let disk = try TestDisk()
    let capacity = try await disk.plugin().discover().first?.capacity
    #expect(capacity?.sizeBytes == 64 << 20 && capacity?.hosts == 6)
    #expect(capacity?.functions == 64)
    #expect(capacity?.operationsPerSecond == 0 && capacity?.bytesPerSecond == 0)
  }

  @Test func isWhatItsConfigurationSays() async throws {
    let disk = try TestDisk()
    let settings = "    functions: 2\n    hosts: 3\n    operationsPerSecond: 8000\n    bytesPerSecond: 200000000\n"
    let capacity = try await disk.plugin(settings: settings).discover().first?.capacity
    #expect(capacity?.functions == 2 && capacity?.hosts == 3)
    #expect(capacity?.operationsPerSecond == 8000 && capacity?.bytesPerSecond == 200_000_000)
  }

  @Test(arguments: ["operationsPerSecond", "bytesPerSecond"])
  func isNotNothing(setting: String) async throws {
    let disk = try TestDisk()
    await #expect { _ = try await disk.plugin(settings: "    \(setting): 0\n") } throws: { error in
      "\(error)".contains("'\(setting)' is 0: leave it out where it is not known")
    }
  }
}
