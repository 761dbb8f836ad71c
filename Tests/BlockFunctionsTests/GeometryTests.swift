import FunctionPluginKit
import Glibc
import LinuxDevices
import PluginTrials
import Services
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

private let mebibyte: UInt64 = 1 << 20

private func place(_ offset: UInt64, _ size: UInt64) -> Extent {
  Extent {
    $0.offsetBytes = offset
    $0.sizeBytes = size
  }
}

/// What the coordinator told of a function.
private func told(_ function: String, _ place: Extent, _ role: Role = .direct) -> FunctionRequest {
  FunctionRequest {
    $0.role = role
    $0.assignment = Assignment {
      $0.function = function
      $0.extent = place
    }
  }
}

@Suite struct GeometryCheckTests {
  private let map = ExtentMap(
    diskSizeBytes: 100, extents: [AllocatedExtent(function: "f", offsetBytes: 10, sizeBytes: 20)])

  @Test func whatAgreesIsNothing() {
    let check = GeometryCheck(map: map)
    #expect(check.disagreements(uses: [], told: [told("f", place(10, 20)), told("g", place(30, 20))]) == [])
    // A consumer's word is about another host's disk.
    #expect(check.disagreements(uses: [], told: [told("f", place(0, 100), .consumer)]) == [])
  }

  @Test func anotherPlaceOrSomebodyElsesIsSaid() {
    let check = GeometryCheck(map: map)
    for other in [told("f", place(11, 20)), told("g", place(29, 1)), told("g", place(5, 6)), told("g", place(0, .max))]
    {
      let found = check.disagreements(uses: [], told: [other])
      #expect(found.count == 1 && found[0].contains("f (20 bytes from 10 on)"))
    }
  }
}

/// A table through kills, old backups and loss, beside what the coordinator knows: no two functions that it knows ever share a
/// byte, whatever the table says.
@Test(arguments: 0..<100 as Range<UInt64>)
func noHistoryGivesAPlaceToTwo(seed: UInt64) throws {
  var random = SeededNumbers(seed: seed)
  let directory = "/dev/shm/iov-history-" + String(UInt64.random(in: .min ... .max), radix: 36)
  defer {
    for name in SmallFile.names(in: directory) { unlink("\(directory)/\(name)") }
    rmdir(directory)
  }
  let size = 64 * mebibyte
  /// In use, and with nothing in it.
  func begin() throws -> ExtentTable {
    var table = ExtentTable.first(directory: directory, endNode: "sata/x", diskSizeBytes: size)
    _ = try table.allocate(function: "first", sizeBytes: 4096)
    try table.release(function: "first")
    return table
  }
  var table = try begin()
  var known: [String: Extent] = [:]
  var backup = try SmallFile.read(table.path)

  func load() throws -> ExtentTable {
    try #require(try ExtentTable.load(directory: directory, endNode: "sata/x", diskSizeBytes: size))
  }
  /// As an operator who puts the table right: each function is made again where the coordinator knows it.
  func makeAnew() throws -> ExtentTable {
    unlink(table.path)
    var anew = try begin()
    for (function, place) in known.sorted(by: { $0.key < $1.key }) {
      _ = try anew.allocate(function: function, sizeBytes: place.sizeBytes, place: place, besides: Array(known.values))
    }
    return anew
  }

  for step in 0..<150 {
    switch random.next() % 10 {
    case 0...4:
      let function = "f\(step)"
      let bytes = (1 + random.next() % (6 * mebibyte / 4096)) * 4096
      guard let extent = try? table.allocate(function: function, sizeBytes: bytes, besides: Array(known.values)) else {
        continue
      }
      known[function] = extent.place
    case 5, 6:
      guard let victim = known.keys.sorted().randomElement(using: &random) else { continue }
      try table.release(function: victim)
      known[victim] = nil
    case 7:
      // Killed while it wrote, and started again.
      try SmallFile.append(
        Array(backup.prefix(Int(random.next() % 100))),
        to: FileDescriptor(opening: SmallFile.temporary(table.path), O_WRONLY | O_CREAT), path: table.path)
      table = try load()
    case 8: backup = try SmallFile.read(table.path)
    default:
      try SmallFile.replace(table.path, with: backup, durably: false)
      table = try load()
      let words = GeometryCheck(map: table.map).disagreements(
        uses: [], told: known.map { told($0.key, $0.value) })
      let isWrong = known.contains { function, place in
        table.map.extents.contains { $0.function == function ? $0.place != place : $0.overlaps(place) }
      }
      #expect(words.isEmpty != isWrong)
      if isWrong { table = try makeAnew() }
    }
    let places = known.map {
      AllocatedExtent(function: $0.key, offsetBytes: $0.value.offsetBytes, sizeBytes: $0.value.sizeBytes)
    }
    #expect(ExtentMap(diskSizeBytes: size, extents: places) != nil, "seed \(seed), step \(step)")
    #expect(ExtentMap(diskSizeBytes: size, extents: table.map.extents) == table.map, "seed \(seed), step \(step)")
  }
}

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct GeometryTests {
  @Test func aLoopDeviceWhereNobodyHasAPlaceStopsTheDiskUntilItIsGone() async throws {
    let disk = try TestDisk()
    let stranger = try await BlockingThread.detached {
      try LoopDevice.attach(to: disk.loop.path, offset: 4 << 20, size: 1 << 20, readOnly: false)
    }
    let plugin = try await disk.plugin()
    let health = try #require(try await plugin.discover().first?.health)
    #expect(health.state == .unhealthy)
    #expect(
      health.message.contains("\(stranger.path) has 1048576 bytes from 4194304 on, and by the table that is nobody's"))
    let request = try await disk.request(.direct, on: plugin)
    let refusal = await #expect(throws: PluginError.self) { try await plugin.create(request) }
    #expect(refusal?.code == .dataLoss)
    #expect(SmallFile.names(in: disk.directory + "/state") == [])

    try await BlockingThread.detached { try stranger.detach() }
    #expect(try await plugin.discover().first?.health?.state == .healthy)
    _ = try await plugin.create(request)
    _ = try await plugin.destroy(request)
  }

  @Test func whatIsInUseByATableOfYesterdayCanBeCutAndNothingElse() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let (first, second) = (
      try await disk.request(.direct, on: plugin), try await disk.request(.server, on: plugin, token: 2)
    )
    _ = try await plugin.create(first)
    let table = disk.directory + "/state/" + (try #require(SmallFile.names(in: disk.directory + "/state").first))
    let yesterday = try SmallFile.read(table)
    _ = try await plugin.create(second)
    _ = try await plugin.serve(second)
    try SmallFile.replace(table, with: yesterday)

    let next = try await disk.plugin()
    let health = try #require(try await next.discover().first?.health)
    #expect(health.message.contains(StorageDaemon.program) && health.message.contains("nobody's"))
    await #expect(throws: PluginError.self) { try await next.attach(first) }
    await #expect(throws: PluginError.self) { try await next.destroy(first) }
    await #expect(throws: PluginError.self) { try await next.scrub(first) { _, _ in } }
    _ = try? await next.unserve(second)
    #expect(try await next.discover().first?.health?.state == .healthy)
    _ = try await next.destroy(first)
    #expect(disk.leftovers() == [])
  }

  @Test func aPlaceThatTheCoordinatorKnowsOtherwiseIsNeitherUsedNorCleaned() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    var request = try await disk.request(.direct, on: plugin)
    _ = try await plugin.create(request)
    request.assignment?.extent = place(1 << 20, 8 << 20)
    for verb in [plugin.create, plugin.attach] {
      let refusal = await #expect(throws: PluginError.self) { try await verb(request) }
      #expect(refusal?.code == .dataLoss)
    }
    await #expect(throws: PluginError.self) { try await plugin.scrub(request) { _, _ in } }
    // Told of it at its start, it stops the disk.
    let next = try await disk.plugin(knowing: [request])
    #expect(try await next.discover().first?.health?.message.contains("the coordinator knows") == true)
  }

  @Test func aDamagedTableStopsItsDiskAndNoOther() async throws {
    let (broken, sound) = (try TestDisk(), try TestDisk())
    let configuration = broken.configuration + "  - device: \(sound.loop.path)\n"
    _ = try await broken.plugin().create(broken.request(.direct, on: broken.plugin()))
    let table = broken.directory + "/state/" + (try #require(SmallFile.names(in: broken.directory + "/state").first))
    try SmallFile.replace(table, with: Array("iov extents 1\n".utf8))
    let plugin = try await broken.plugin(configuration: configuration)
    let nodes = try await plugin.discover()
    #expect(nodes.map(\.health?.state) == [.unhealthy, .healthy])
    #expect(nodes.first?.health?.message.contains("damaged") == true)
    #expect(try await plugin.observe().map(\.phase) == [.unspecified])
    var request = try await broken.request(.direct, on: plugin, token: 2)
    await #expect(throws: PluginError.self) { try await plugin.create(request) }
    request.assignment?.endNode = nodes[1].id
    _ = try await plugin.create(request)
    _ = try await plugin.destroy(request)
  }
}
