import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct DeadServerTests {
  /// A server that is stopped, not gone: connections stay and nothing is answered, as when its host hangs.
  @Test func disconnectingFromAServerThatHangsTakesBoundedTime() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: served.serverPort)
    let device = try #require(try await plugin.connect(consumer).arrival?.devicePath)
    let daemon = plugin.daemon(try FunctionPlan(server))
    let process = try #require(daemon.process)
    try process.kill(SIGSTOP)

    // A reader that hangs in the kernel until the disk is taken away.
    let reader = Task { try await read(device, at: 4 << 20, count: 4096) }
    // While the reader holds the device open this may ask for another try.
    while (try? await plugin.disconnect(consumer)) == nil { await Task.yield() }
    await #expect(throws: (any Error).self) { try await reader.value }

    try process.kill(SIGCONT)
    _ = try await plugin.unserve(server)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aProcessThatServedTheDiskIsReplacedByConnectingAnew() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: served.serverPort)
    _ = try await plugin.connect(consumer)
    try await #require(plugin.networkDisk(FunctionPlan(consumer)).process).killAndWait()
    #expect(try await plugin.observe().map(\.phase).contains(.created))
    let again = try await plugin.connect(consumer)
    let device = try #require(again.arrival?.devicePath)
    let data = randomBytes(4096)
    try await write(data, to: device)
    #expect(try await read(disk.loop.path, count: 4096) == data)
    _ = try await plugin.unserve(server)
    _ = try await plugin.disconnect(consumer)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }
}
