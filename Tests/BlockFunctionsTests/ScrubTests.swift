import Configuration
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Synchronization
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// What a user left is gone before somebody else gets the place, and what could not be cleaned nobody gets.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct ScrubTests {
  /// Where no file system has anything that is looked for.
  private static let badByte: UInt64 = (6 << 20) + (20 << 10)

  /// Created, and not in use: what lies there is whatever the disk held.
  private func created(
    _ disk: TestDisk, _ plugin: BlockPlugin<SATADisks>, sizeBytes: UInt64 = 8 << 20
  ) async throws -> FunctionRequest {
    let request = try await disk.request(.direct, on: plugin, sizeBytes: sizeBytes)
    _ = try await plugin.create(request)
    return request
  }

  @Test(arguments: ["zero", "discard"]) func allOfThePlaceIsCleanAndNothingElse(method: String) async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin(settings: "    scrub: \(method)\n")
    let request = try await created(disk, plugin)
    let data = randomBytes(10 << 20)
    try await write(data, to: disk.loop.path)
    let status = try await plugin.scrub(request) { done, total in #expect(done == total && total == 8 << 20) }
    #expect(status.scrub?.method == method && status.scrub?.doneBytes == 8 << 20)
    #expect(try await read(disk.loop.path, count: 8 << 20).allSatisfy { $0 == 0 })
    #expect(try await read(disk.loop.path, at: 8 << 20, count: 2 << 20) == Array(data[(8 << 20)...]))
    _ = try await plugin.destroy(request)
    #expect(SmallFile.names(in: disk.directory + "/state/scrubs") == [])
  }

  @Test func nothingIsCleanedWhereTheOperatorSaysSo() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin(settings: "    scrub: none\n")
    let request = try await created(disk, plugin)
    let data = randomBytes(1 << 16)
    try await write(data, to: disk.loop.path)
    #expect(try await plugin.scrub(request) { _, _ in }.phase == .created)
    #expect(try await read(disk.loop.path, count: 1 << 16) == data)
    #expect(try await plugin.destroy(request).phase == .absent)
  }

  @Test func aCleaningHoldsItselfBackAsAsked() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin(settings: "    scrubBytesPerSecond: \(16 << 20)\n")
    let request = try await created(disk, plugin, sizeBytes: 16 << 20)
    let heard = Mutex<[UInt64]>([])
    let begun = ContinuousClock.now
    _ = try await plugin.scrub(request) { done, _ in heard.withLock { $0.append(done) } }
    #expect(ContinuousClock.now - begun >= .seconds(1))
    #expect(heard.withLock { $0 } == [4 << 20, 8 << 20, 12 << 20, 16 << 20])
  }

  @Test func aCleaningGoesOnWhereAnEarlierPluginCameTo() async throws {
    let disk = try TestDisk(sizeBytes: 160 << 20)
    let plugin = try await disk.plugin()
    let request = try await created(disk, plugin, sizeBytes: 160 << 20)
    struct Enough: Error {}
    await #expect(throws: Enough.self) { try await plugin.scrub(request) { _, _ in throw Enough() } }
    #expect(try await plugin.observe().first?.scrub?.doneBytes == 64 << 20)
    let refusal = await #expect(throws: PluginError.self) { try await plugin.destroy(request) }
    #expect(refusal?.code == .failedPrecondition)

    let next = try await disk.plugin()
    #expect(try await next.observe().first?.scrub?.doneBytes == 64 << 20)
    let heard = Mutex<[UInt64]>([])
    _ = try await next.scrub(request) { done, _ in heard.withLock { $0.append(done) } }
    #expect(heard.withLock { $0 } == [128 << 20, 160 << 20])
    // Asked again, as by an agent that did not hear the answer, it is done already.
    _ = try await next.scrub(request) { _, _ in Issue.record("it was clean") }
    #expect(try await next.destroy(request).phase == .absent)
  }

  @Test func aDamagedRecordMeansThatItBeginsAnew() async throws {
    let disk = try TestDisk(sizeBytes: 160 << 20)
    let plugin = try await disk.plugin()
    let request = try await created(disk, plugin, sizeBytes: 160 << 20)
    _ = try await plugin.scrub(request) { _, _ in }
    let record = try #require(SmallFile.names(in: disk.directory + "/state/scrubs").first)
    let path = disk.directory + "/state/scrubs/" + record
    let good = try SmallFile.read(path)
    for index in stride(from: 0, to: good.count, by: 7) {
      var bad = good
      bad[index] ^= 1
      try SmallFile.replace(path, with: bad, durably: false)
      await #expect(throws: PluginError.self) { try await plugin.destroy(request) }
      #expect(plugin.disks.scrubs.record(of: request.functionName) == nil)
    }
    let heard = Mutex<[UInt64]>([])
    _ = try await plugin.scrub(request) { done, _ in heard.withLock { $0.append(done) } }
    #expect(heard.withLock { $0 } == [64 << 20, 128 << 20, 160 << 20])
  }

  @Test func aPlaceThatCannotBeCleanedIsKeptUntilItCan() async throws {
    let failing = try FailingDisk(.writesOnce, atByte: Self.badByte)
    let disk = try TestDisk(sizeBytes: 1 << 20)
    let plugin = try await disk.plugin(configuration: failing.configuration)
    let request = try await created(disk, plugin)
    let failure = await #expect(throws: PluginError.self) { try await plugin.scrub(request) { _, _ in } }
    #expect(failure?.message.contains("Input/output error") == true)
    #expect(failure?.message.contains("acceptUnscrubbed") == true)
    // Seen by whoever looks at the disk or at the function, and after a restart.
    let next = try await disk.plugin(configuration: failing.configuration)
    #expect(try await next.discover().first?.health?.message.contains("could not be cleaned") == true)
    #expect(try await next.observe().first?.scrub?.failure.contains("Input/output error") == true)
    await #expect(throws: PluginError.self) { try await next.destroy(request) }

    #expect(try await next.scrub(request) { _, _ in }.scrub?.failure == "")
    #expect(try await next.discover().first?.health?.message == "")
    #expect(try await next.destroy(request).phase == .absent)
  }

  @Test func whatCannotBeReadBackIsNotClean() async throws {
    let failing = try FailingDisk(.reads, atByte: Self.badByte)
    let disk = try TestDisk(sizeBytes: 1 << 20)
    let plugin = try await disk.plugin(configuration: failing.configuration)
    let request = try await created(disk, plugin)
    for _ in 0..<2 {
      await #expect(throws: PluginError.self) { try await plugin.scrub(request) { _, _ in } }
      await #expect(throws: PluginError.self) { try await plugin.destroy(request) }
    }
    // The operator decides, of this function alone.
    let told = try await disk.plugin(
      configuration: failing.configuration + "    acceptUnscrubbed: [\(request.functionName)]\n")
    _ = try await told.scrub(request) { _, _ in }
    #expect(try await told.destroy(request).phase == .absent)
    let second = try await disk.request(.direct, on: told, token: 2)
    _ = try await told.create(second)
    await #expect(throws: PluginError.self) { try await told.scrub(second) { _, _ in } }
  }

  @Test func whatAnotherRootCleanedNeedsNoCleaningHere() async throws {
    let failing = try FailingDisk(.reads, atByte: Self.badByte)
    let disk = try TestDisk(sizeBytes: 1 << 20)
    let plugin = try await disk.plugin(configuration: failing.configuration)
    var request = try await created(disk, plugin)
    await #expect(throws: PluginError.self) { try await plugin.scrub(request) { _, _ in } }
    request.fenced = true
    #expect(try await plugin.destroy(request).phase == .absent)
  }

  @Test func aDiskThatTakesNoDiscardIsRefusedBeforeItHasData() async throws {
    let disk = try TestDisk(takesDiscard: false)
    let plugin = try await disk.plugin(settings: "    scrub: discard\n")
    let health = try #require(try await plugin.discover().first?.health)
    #expect(health.state == .unhealthy && health.message.contains("takes no discard"))
    let request = try await disk.request(.direct, on: plugin)
    await #expect(throws: PluginError.self) { try await plugin.create(request) }
  }

  @Test func aDiskThatCannotEraseItselfIsRefused() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin(settings: "    scrub: sanitize\n")
    let health = try #require(try await plugin.discover().first?.health)
    #expect(health.state == .unhealthy && health.message.contains("set scrub: zero"))
  }

  @Test func aMethodThatThereIsNotIsNamed() throws {
    let error = #expect(throws: (any Error).self) {
      try Configuration.decode(
        BlockConfiguration<SATADisks>.self, from: "endNodes:\n  - device: /dev/sda\n    scrub: shred\n",
        named: "sata.yaml")
    }
    #expect(error.map { "\($0)" }?.contains("zero, discard, sanitize, none") == true)
  }

  @Test func aDiskThatErasesItselfIsGivenAwayWholeAlone() async throws {
    let disk = try TestDisk()
    let plugin: BlockPlugin<ErasingDisks> = try await disk.plugin(
      of: ErasingDisks.self, settings: "    scrub: sanitize\n")
    #expect(try await plugin.discover().first?.capabilities?.paths == [.direct])
    let part = try await disk.request(.direct, on: plugin)
    #expect(try await plugin.validate(part).count == 1)
    await #expect(throws: PluginError.self) { try await plugin.create(part) }

    let whole = try await disk.request(.direct, on: plugin, sizeBytes: 64 << 20, path: .direct)
    _ = try await plugin.create(whole)
    try await write(randomBytes(1 << 20), to: disk.loop.path)
    let status = try await plugin.scrub(whole) { _, _ in }
    #expect(status.scrub?.method == "sanitize")
    // What its erasing left, as the noise that a new key makes of all blocks, is overwritten.
    #expect(try await read(disk.loop.path, count: 64 << 20).allSatisfy { $0 == 0 })
    #expect(ErasingDisks.erasures.withLock { $0[disk.loop.path] } == 1)
    _ = try await plugin.destroy(whole)
  }
}

extension FunctionRequest {
  fileprivate var functionName: String { assignment?.function ?? "" }
}

/// Disks that erase themselves by forgetting the key with which they store everything.
private struct ErasingDisks: DiskClass {
  static let name = "sata"
  static let givesWholeDisks = true
  /// How often, by the disk's path.
  static let erasures = Mutex<[String: Int]>([:])

  init(context: PluginContext) {}

  func describe(_ path: String) throws -> DiskDescription? {
    guard let identity = BlockDevice.stableIdentity(path) else { return nil }
    return DiskDescription(identity: identity, devices: [path], facts: try BlockDevice.facts(path), sanitizes: true)
  }

  func sanitize(_ disk: DiskDescription) throws {
    ErasingDisks.erasures.withLock { $0[disk.device, default: 0] += 1 }
    try SmallFile.append(randomBytes(4 << 20), to: try FileDescriptor(opening: disk.device, O_RDWR), path: disk.device)
  }
}
