import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Synchronization
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// What cannot be done is refused, each with a reason of its own, and nothing is written: neither to the disk nor to the memory of
/// who has which part of it. Vanished disks, reservations and certificates have tests of their own.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct BadInputTests {
  /// Creates what is to be refused; answers the refusal.
  private func refusal(
    _ disk: TestDisk, _ request: FunctionRequest, by plugin: BlockPlugin<SATADisks>
  ) async throws -> PluginError? {
    let before = (try await content(of: disk), memory(of: disk))
    let error = await #expect(throws: PluginError.self) { try await plugin.create(request) }
    #expect(try await content(of: disk) == before.0)
    #expect(memory(of: disk) == before.1)
    #expect(try await plugin.validate(request).isEmpty == false || error?.code == .dataLoss)
    return error
  }

  private func content(of disk: TestDisk) async throws -> [UInt8] {
    try await read(disk.directory + "/disk", count: 64 << 20)
  }

  private func memory(of disk: TestDisk) -> [String?] {
    let state = disk.directory + "/state"
    return SmallFile.names(in: state).sorted().map { SmallFile.text("\(state)/\($0)") }
  }

  @Test func aSizeOfZeroIsNone() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let error = try await refusal(disk, disk.request(.direct, on: plugin, sizeBytes: 0), by: plugin)
    #expect(error?.code == .invalidArgument && error?.message.contains("no size") == true)
  }

  @Test func aSizeThatIsNotAMultipleNamesTheNearest() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let error = try await refusal(disk, disk.request(.direct, on: plugin, sizeBytes: (8 << 20) + 512), by: plugin)
    #expect(error?.code == .invalidArgument && error?.message.contains("8388608 and 8392704") == true)
  }

  @Test(arguments: [UInt64((64 << 20) + 4096), UInt64.max - 4095]) func aSizeBeyondTheDiskNamesTheLargestThatFits(
    sizeBytes: UInt64
  ) async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let error = try await refusal(disk, disk.request(.direct, on: plugin, sizeBytes: sizeBytes), by: plugin)
    #expect(error?.code == .resourceExhausted && error?.message.contains("67108864") == true)
  }

  @Test func aPlaceThatSomebodyHasOrThatLeavesTheDiskIsNotGiven() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let first = try await disk.request(.direct, on: plugin)
    _ = try await plugin.create(first)
    for offset: UInt64 in [4 << 20, 60 << 20, .max - 4095] {
      var second = try await disk.request(.direct, on: plugin, token: 2)
      second.assignment?.extent = Extent {
        $0.offsetBytes = offset
        $0.sizeBytes = 8 << 20
      }
      let error = try await refusal(disk, second, by: plugin)
      #expect(error?.code == .dataLoss)
    }
    _ = try await plugin.destroy(first)
  }

  @Test(.enabled(if: ChildProcess.path(of: "mkfs.ext4") != nil, "mkfs.ext4 is not installed"))
  func aMountedDiskIsLeftAloneAlsoWhereItsDataMayBeLost() async throws {
    let disk = try TestDisk()
    try await run("mkfs.ext4", ["-q", disk.loop.path])
    let place = disk.directory + "/mounted"
    try SmallFile.makeDirectory(place)
    guard mount(disk.loop.path, place, "ext4", UInt(MS_RDONLY), nil) == 0 else {
      throw SystemCallError("mount \(disk.loop.path)", errno: errno)
    }
    defer {
      umount2(place, 0)
      rmdir(place)
    }
    let plugin = try await disk.plugin(settings: "    acceptExistingData: true\n")
    #expect(try await plugin.discover().first?.health?.message.contains("mounted") == true)
    let error = try await refusal(disk, disk.request(.direct, on: plugin), by: plugin)
    #expect(error?.code == .failedPrecondition && error?.message.contains("mounted") == true)
  }

  @Test func aPartitionedDiskIsRefusedUntilTheOperatorSaysSo() async throws {
    var sector = [UInt8](repeating: 0, count: 512)
    sector.replaceSubrange(446..<462, with: [0, 0, 0, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 0, 8, 0, 0])
    sector.replaceSubrange(510..<512, with: [0x55, 0xaa])
    let disk = try TestDisk(contents: sector)
    let plugin = try await disk.plugin()
    let error = try await refusal(disk, disk.request(.direct, on: plugin), by: plugin)
    #expect(error?.code == .failedPrecondition && error?.message.contains("dos") == true)
  }

  @Test func aDiskAndAPartOfItAreNotBothEndNodes() async throws {
    let disk = try TestDisk()
    let part = try TestDisk()
    PartedDisks.parts.withLock { $0[part.loop.path] = disk.loop.path }
    let plugin: BlockPlugin<PartedDisks> = try await disk.plugin(
      of: PartedDisks.self, configuration: disk.configuration + "  - device: \(part.loop.path)\n")
    let nodes = try await plugin.discover()
    #expect(nodes.count == 2)
    #expect(nodes.allSatisfy { $0.health?.message.contains("one is a part of the other") == true })
    let request = try await disk.request(.direct, on: plugin)
    await #expect(throws: PluginError.self) { try await plugin.create(request) }
  }

  @Test func withoutRoomForItsMemoryAHostGivesNothingOut() async throws {
    let disk = try TestDisk()
    let state = disk.directory + "/state"
    try SmallFile.makeDirectory(state)
    guard mount("tmpfs", state, "tmpfs", 0, "size=64k") == 0 else {
      throw SystemCallError("mount \(state)", errno: errno)
    }
    defer { umount2(state, CInt(MNT_DETACH)) }
    let plugin = try await disk.plugin()
    let (first, second) = (
      try await disk.request(.direct, on: plugin), try await disk.request(.direct, on: plugin, token: 2)
    )
    _ = try await plugin.create(first)
    let filler = try FileDescriptor(opening: state + "/filler", O_WRONLY | O_CREAT)
    while write(filler.number, [UInt8](repeating: 1, count: 4096), 4096) > 0 {}
    let error = await #expect(throws: SystemCallError.self) { try await plugin.create(second) }
    #expect(error?.errno == ENOSPC)
    // What is known stays known, and is right.
    #expect(try await plugin.discover().first?.used?.functions == 1)
    #expect(ftruncate(filler.number, 0) == 0)
    _ = try await plugin.create(second)
    for request in [first, second] { _ = try await plugin.destroy(request) }
  }

  private func run(_ program: String, _ arguments: [String]) async throws {
    let process = try await BlockingThread.detached {
      // One that has ended before anybody could look at it is an error to whoever starts daemons.
      try ChildProcess.spawn(executable: "sh", arguments: ["-c", "\"$@\" && sleep 1", program, program] + arguments)
    }
    #expect(try await process.handle.waitUntilExit() == .exited(0))
  }
}

/// Disks of which some are partitions of others.
private struct PartedDisks: DiskClass {
  static let name = "sata"
  /// Which is a part of which, by paths.
  static let parts = Mutex<[String: String]>([:])

  init(context: PluginContext) {}

  func describe(_ path: String) throws -> DiskDescription? {
    let whole = Self.parts.withLock { $0[path] }
    guard let identity = BlockDevice.stableIdentity(whole ?? path) else { return nil }
    return DiskDescription(
      identity: identity + (whole == nil ? "" : "-part1"), devices: [path], facts: try BlockDevice.facts(path))
  }
}
