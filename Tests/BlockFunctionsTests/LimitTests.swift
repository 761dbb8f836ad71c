import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct LimitTests {
  private func limited(_ request: FunctionRequest, reads: UInt64, burst: UInt32? = nil) -> FunctionRequest {
    var request = request
    request.assignment?.attributes?.block?.maxReadOperationsPerSecond = reads
    request.assignment?.attributes?.block?.burstFactor = burst
    request.assignment?.attributes?.block?.burstSeconds = burst.map { _ in 2 }
    return request
  }

  /// How long 4 KiB reads past the page cache take, each: never shorter than the limit lets them be.
  private func secondsPerRead(_ path: String, count: Int) async throws -> Double {
    let started = ContinuousClock.now
    let user = try await BlockingThread.detached {
      try ChildProcess.spawn(
        executable: "dd",
        arguments: ["if=\(path)", "of=/dev/null", "bs=4k", "count=\(count)", "iflag=direct", "status=none"])
    }
    #expect(try await user.handle.waitUntilExit() == .exited(0))
    return (ContinuousClock.now - started) / .seconds(1) / Double(count)
  }

  @Test func aServedFunctionIsHeldBackAndItsLimitsChangeWhileItIsInUse() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = limited(try await disk.request(.server, on: plugin), reads: 100)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    #expect(served.function?.enforced?.block?.maxReadOperationsPerSecond == 100)
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: served.serverPort)
    let device = try #require(try await plugin.connect(consumer).arrival?.devicePath)
    // 100 a second, of which the first few are free.
    #expect(try await secondsPerRead(device, count: 60) > 0.006)
    let free = limited(server, reads: 0)
    #expect(try await plugin.configure(free).function?.enforced?.block?.maxReadOperationsPerSecond == nil)
    let bursting = limited(server, reads: 50, burst: 4)
    #expect(try await plugin.configure(bursting).function?.enforced?.block?.burstFactor == 4)
    // What another plugin process finds.
    #expect(try await disk.plugin().observe().contains { $0.function?.enforced?.block?.burstSeconds == 2 })
    _ = try await plugin.unserve(server)
    _ = try await plugin.disconnect(consumer)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func whatADiskIsKnownToDoCanBeAskedFor() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let capabilities = try #require(try await plugin.discover().first?.capabilities)
    for rate in ["block.min_operations_per_second", "block.min_bytes_per_second", "block.rate_guarantee"] {
      #expect(capabilities.attributes.contains(rate))
    }
    var request = try await disk.request(.direct, on: plugin)
    request.assignment?.attributes?.block?.minOperationsPerSecond = 100
    _ = try await plugin.create(request)
    let status = try await plugin.attach(request)
    #expect(status.phase == .inUse)
    // It is the coordinator's promise, and nothing that the host could enforce.
    #expect(status.function?.enforced?.block?.minOperationsPerSecond == nil)
    _ = try await plugin.detach(request)
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }

  @Test func aFunctionOfTheOwnHostIsHeldBackToo() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = limited(try await disk.request(.direct, on: plugin), reads: 100)
    _ = try await plugin.create(request)
    let status = try await plugin.attach(request)
    #expect(try await plugin.attach(request) == status)
    #expect(try await plugin.observe() == [status])
    let device = try #require(status.arrival?.devicePath)
    #expect(try await secondsPerRead(device, count: 60) > 0.006)
    let data = randomBytes(1 << 20)
    try await write(data, to: device)
    #expect(try await read(disk.loop.path, count: 1 << 20) == data)
    // A kill of the daemon is mended by the next attach.
    try await #require(plugin.localDaemon(try FunctionPlan(request)).process).killAndWait()
    #expect(try await plugin.observe().map(\.phase) == [.created])
    #expect(try await plugin.attach(request).phase == .inUse)
    #expect(try await plugin.configure(limited(request, reads: 0)).phase == .inUse)
    #expect(try await plugin.detach(request).phase == .created)
    _ = try await plugin.scrub(request) { _, _ in }
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }

  @Test func whatRunsFreeIsNotHeldBackBehindItsUsersBack() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = try await disk.request(.direct, on: plugin)
    _ = try await plugin.create(request)
    _ = try await plugin.attach(request)
    let refusal = try await #require(throws: PluginError.self) {
      try await plugin.configure(limited(request, reads: 5))
    }
    #expect(refusal.message.contains("release the claim"))
    _ = try await plugin.detach(limited(request, reads: 5))
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }

  @Test func aLimitThatCannotBeKeptIsRefused() throws {
    let attributes = BlockAttributes {
      $0.maxReadBytesPerSecond = 1 << 49
      $0.burstFactor = 1000
    }
    #expect(throws: PluginError.self) { try DiskLimits(attributes) }
  }
}
