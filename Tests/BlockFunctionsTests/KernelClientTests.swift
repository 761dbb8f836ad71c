import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// The kernel's NBD client, where the kernel has one. (The emulated rack's has: `cluster/scenarios/sata`.)
private let missing: String? =
  missingOnThisMachine ?? (KernelClient.isPossible(secured: true) ? nil : "this kernel has no nbd, or no TLS")

@Suite(.enabled(if: missing == nil, "\(missing ?? "")"), .timeLimit(.minutes(2)))
struct KernelClientTests {
  private struct Rack {
    let disk: TestDisk
    let server: BlockPlugin<SATADisks>
    let consumer: BlockPlugin<SATADisks>
    let served: FunctionRequest
    let used: FunctionRequest

    init(isReadOnly: Bool = false) async throws {
      let certificates = try TestCertificates()
      disk = try TestDisk()
      server = try await disk.plugin(host: "host-c", tls: certificates.issue("host-c"))
      consumer = try await disk.plugin(host: "host-a", tls: certificates.issue("host-a"))
      served = try await disk.request(.server, on: server, isReadOnly: isReadOnly)
      _ = try await server.create(served)
      let port = try await server.serve(served).serverPort
      used = try await disk.request(.consumer, on: server, isReadOnly: isReadOnly, serverPort: port)
    }

    var networkDisk: NetworkDisk { get throws { consumer.networkDisk(try FunctionPlan(used)) } }

    func end() async throws {
      _ = try await server.unserve(served)
      _ = try await consumer.disconnect(used)
      _ = try await server.destroy(served)
      #expect(disk.leftovers() == [])
    }
  }

  @Test func itsDeviceIsTheDiskAndOutlivesThePlugin() async throws {
    let rack = try await Rack()
    let connected = try await rack.consumer.connect(rack.used)
    let path = try #require(connected.arrival?.devicePath)
    let device = try #require(try rack.networkDisk.device)
    #expect(device.hasPrefix("/dev/nbd") && SmallFile.resolved(path) == device)
    let data = randomBytes(1 << 20)
    try await write(data, to: path, at: 1 << 20)
    #expect(try await read(rack.disk.loop.path, at: 1 << 20, count: 1 << 20) == data)
    let next = try await rack.disk.plugin(host: "host-a")
    #expect(try await next.adopt(rack.used).arrival?.devicePath == path)
    try await rack.end()
    #expect(SmallFile.text("/sys/block/\(device.dropFirst(5))/backend") == nil)
  }

  @Test func aReadOnlyOneTakesNoWrites() async throws {
    let rack = try await Rack(isReadOnly: true)
    let path = try #require(try await rack.consumer.connect(rack.used).arrival?.devicePath)
    await #expect(throws: (any Error).self) { try await write(randomBytes(4096), to: path) }
    try await rack.end()
  }

  /// Until its claim's name is taken away, which could lead to another claim's disk otherwise.
  @Test func aDeviceWhoseServerIsGoneIsNobodyElses() async throws {
    let rack = try await Rack()
    let path = try #require(try await rack.consumer.connect(rack.used).arrival?.devicePath)
    let device = try #require(try rack.networkDisk.device)
    try await #require(rack.server.daemon(FunctionPlan(rack.served)).process).killAndWait()
    while (try? await read(path, count: 4096)) != nil { await Task.yield() }
    let other = try await Rack()
    _ = try await other.consumer.connect(other.used)
    #expect(try other.networkDisk.device != device)
    try await other.end()
    try await rack.end()
  }
}
