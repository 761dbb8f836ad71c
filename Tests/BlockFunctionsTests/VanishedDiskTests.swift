import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// A disk that was pulled, or taken out of the configuration, while functions on it are known.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct VanishedDiskTests {
  @Test func functionsOfOtherDisksGoOn() async throws {
    let (gone, kept) = (try TestDisk(), try TestDisk())
    let lost = try await gone.request(.server, on: gone.plugin())
    let held = try await kept.request(.direct, on: kept.plugin())
    _ = try await gone.plugin().create(lost)
    // The same host's plugin, without the one disk.
    let plugin = try await kept.plugin(knowing: [lost, held])
    _ = try await plugin.create(held)
    _ = try await plugin.attach(held)

    let statuses = try await plugin.observe()
    #expect(statuses.map(\.phase) == [.unspecified, .inUse])
    #expect(statuses.first?.error?.message.contains("bring the disk back") ?? false)
    #expect(try await plugin.statistics(function: nil).map(\.function) == [held.assignment?.function])
    _ = try await plugin.detach(held)
    _ = try await plugin.destroy(held)
    #expect(kept.leftovers() == [])
  }

  @Test func aServerIsCutWithoutItsDiskAndCleanedWhenItIsBack() async throws {
    let (gone, kept) = (try TestDisk(), try TestDisk())
    let before = try await gone.plugin()
    let server = try await gone.request(.server, on: before)
    _ = try await before.create(server)
    _ = try await before.serve(server)
    let without = try await gone.pluginWithout(kept, knowing: [server])

    #expect(try await without.observe().map(\.phase) == [.unspecified])
    #expect(try await without.unserve(server).phase == .created)
    #expect(gone.leftovers() == [])
    // Nobody else gets what was never cleaned.
    let refusal = await #expect(throws: PluginError.self) { try await without.destroy(server) }
    #expect(refusal?.message.contains("bring the disk back") ?? false)

    let back = try await gone.plugin()
    #expect(try await back.observe().map(\.phase) == [.created])
    _ = try await back.scrub(server) { _, _ in }
    #expect(try await back.destroy(server).phase == .absent)
  }

  /// The device mapper keeps the function's name.
  @Test(.enabled(if: MappedDevice.isPossible, "This kernel has no device mapper."))
  func aMappedFunctionIsCutWithoutItsDisk() async throws {
    let (gone, kept) = (try TestDisk(), try TestDisk())
    let before = try await gone.plugin()
    let direct = try await gone.request(.direct, on: before)
    _ = try await before.create(direct)
    _ = try await before.attach(direct)
    let without = try await gone.pluginWithout(kept, knowing: [direct])
    #expect(try await without.fence(direct).phase == .created)
    #expect(gone.leftovers() == [])
  }

  @Test(.enabled(if: !MappedDevice.isPossible, "This kernel has the device mapper, and makes no loop device for it."))
  func aDirectFunctionIsCutOnlyOnceItsDeviceIsGone() async throws {
    let (gone, kept) = (try TestDisk(), try TestDisk())
    let before = try await gone.plugin()
    let direct = try await gone.request(.direct, on: before)
    _ = try await before.create(direct)
    _ = try await before.attach(direct)
    let without = try await gone.pluginWithout(kept, knowing: [direct])

    let refusal = await #expect(throws: PluginError.self) { try await without.fence(direct) }
    #expect(refusal?.message.contains("losetup --detach") ?? false)
    try await gone.detachBehindItsBack(before, direct)
    // Another test may have been given the device's number, which looks the same from here.
    var fenced = try? await without.fence(direct)
    while fenced == nil { fenced = try? await without.fence(direct) }
    #expect(fenced?.phase == .created)
    #expect(gone.leftovers() == [])
  }
}

extension TestDisk {
  /// This disk's host with another disk in its place.
  fileprivate func pluginWithout(_ other: TestDisk, knowing requests: [FunctionRequest]) async throws -> BlockPlugin<
    SATADisks
  > {
    try await plugin(configuration: other.configuration, knowing: requests)
  }
}
