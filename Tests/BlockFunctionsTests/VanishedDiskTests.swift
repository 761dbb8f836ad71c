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

  @Test func aDiskThatIsGoneGivesErrorsAndNoZeroes() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: served.serverPort)
    let device = try #require(try await plugin.connect(consumer).arrival?.devicePath)
    try await write(randomBytes(1 << 20), to: device)
    // As the kernel does with a disk that is pulled: whoever has it open has one without blocks.
    try disk.loop.withdraw()
    await #expect(throws: SystemCallError.self) { try await read(device, at: 1 << 20, count: 4096) }
    #expect(!(try await plugin.observe().contains { $0.phase == .inUse && $0.role == .server }))
    _ = try await plugin.unserve(server)
    _ = try await plugin.disconnect(consumer)
    #expect(SmallFile.names(in: disk.runtimeDirectory) == [])
  }

  @Test func aDiskThatWasPulledAndIsBackIsServedAnew() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    let daemon = try #require(SmallFile.names(in: disk.runtimeDirectory).first.map { "\(disk.runtimeDirectory)/\($0)" })
    let (former, record) = (SmallFile.text("\(daemon)/daemon"), SmallFile.text("\(daemon)/disk"))
    #expect(former != nil && record?.hasPrefix("\(disk.loop.path.dropFirst(5)) ") == true)
    // What it has open was another disk of the same name.
    try SmallFile.replace("\(daemon)/disk", with: Array("\(disk.loop.path.dropFirst(5)) 1".utf8), durably: false)
    #expect(try await plugin.observe().map(\.phase) == [.created])
    #expect(try await plugin.serve(server).serverPort == served.serverPort)
    #expect(SmallFile.text("\(daemon)/daemon") != former && SmallFile.text("\(daemon)/disk") == record)
    #expect(try await plugin.observe().map(\.phase) == [.inUse])
    _ = try await plugin.unserve(server)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
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
