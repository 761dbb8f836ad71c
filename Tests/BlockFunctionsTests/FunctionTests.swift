import CLinux
import Configuration
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct FunctionTests {
  @Test func aDirectFunctionIsTheExtentAndNothingElse() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = try await disk.request(.direct, on: plugin)
    #expect(try await plugin.create(request).phase == .created)
    let status = try await plugin.attach(request)
    let device = try #require(status.arrival?.devicePath)
    #expect(status.arrival?.enforced?.block?.sizeBytes == 8 << 20)
    let data = randomBytes(1 << 20)
    try await write(data, to: device)
    #expect(try await read(disk.loop.path, count: 1 << 20) == data)
    #expect(try await plugin.attach(request) == status)
    #expect(try await plugin.observe() == [status])

    #expect(try await plugin.detach(request).phase == .created)
    #expect(try await plugin.detach(request).phase == .created)
    _ = try await plugin.scrub(request) { _, _ in }
    #expect(try await read(disk.loop.path, count: 1 << 20).allSatisfy { $0 == 0 })
    #expect(try await plugin.destroy(request).phase == .absent)
    #expect(try await plugin.destroy(request).phase == .absent)
    #expect(disk.leftovers() == [])
  }

  /// As an orphan is purged on a host that has lost its memory.
  private func bare(_ request: FunctionRequest) -> FunctionRequest {
    FunctionRequest {
      $0.role = request.role
      $0.assignment = Assignment {
        $0.function = request.assignment?.function ?? ""
        $0.endNode = request.assignment?.endNode ?? ""
        $0.token = request.assignment?.token
      }
    }
  }

  @Test func aFunctionIsReleasedByItsIdAlone() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let known = try await disk.request(.direct, on: plugin)
    _ = try await plugin.create(known)
    _ = try await plugin.attach(known)
    let request = bare(known)
    let restarted = try await disk.plugin(knowing: [request])
    await #expect(throws: PluginError.self) { try await restarted.attach(request) }
    #expect(try await restarted.detach(request).phase == .created)
    _ = try await restarted.scrub(request) { _, _ in }
    #expect(try await restarted.destroy(request).phase == .absent)
    #expect(disk.leftovers() == [])
  }

  @Test func aMediatedFunctionIsReleasedByItsIdAlone() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let port = try await plugin.serve(server).serverPort
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: port)
    _ = try await plugin.connect(consumer)
    let restarted = try await disk.plugin(knowing: [bare(server), bare(consumer)])
    #expect(try await restarted.disconnect(bare(consumer)).phase == .absent)
    #expect(try await restarted.unserve(bare(server)).phase == .created)
    _ = try await restarted.scrub(bare(server)) { _, _ in }
    #expect(try await restarted.destroy(bare(server)).phase == .absent)
    #expect(disk.leftovers() == [])
  }

  @Test func aMediatedFunctionCarriesBytesAndLeavesNothing() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    #expect(served.phase == .inUse)
    #expect(try await plugin.serve(server) == served)
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: served.serverPort)
    let connected = try await plugin.connect(consumer)
    #expect(try await plugin.connect(consumer) == connected)
    let device = try #require(connected.arrival?.devicePath)
    let data = randomBytes(1 << 20)
    try await write(data, to: device, at: 1 << 20)
    #expect(try await read(disk.loop.path, at: 1 << 20, count: 1 << 20) == data)
    let statistics = try await plugin.statistics(function: nil)
    #expect(statistics.count == 2 && statistics.allSatisfy { $0.transmittedBytes >= 1 << 20 })

    #expect(try await plugin.unserve(server).phase == .created)
    #expect(try await plugin.disconnect(consumer).phase == .absent)
    #expect(try await plugin.disconnect(consumer).phase == .absent)
    _ = try await plugin.scrub(server) { _, _ in }
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aReadOnlyFunctionRefusesWrites() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin, isReadOnly: true)
    _ = try await plugin.create(server)
    let port = try await plugin.serve(server).serverPort
    let consumer = try await disk.request(.consumer, on: plugin, isReadOnly: true, serverPort: port)
    let connected = try await plugin.connect(consumer)
    #expect(connected.arrival?.enforced?.block?.readOnly == true)
    let device = try #require(connected.arrival?.devicePath)
    await #expect(throws: (any Error).self) { try await write([1], to: device) }
    _ = try await plugin.unserve(server)
    _ = try await plugin.disconnect(consumer)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aPluginStartedAgainFindsWhatIsInUse() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: served.serverPort)
    let connected = try await plugin.connect(consumer)

    let second = try await disk.plugin()
    #expect(try await second.serve(server) == served)
    #expect(try await second.connect(consumer) == connected)
    // A plugin that died before it wrote down whom it started.
    for name in SmallFile.names(in: disk.runtimeDirectory) {
      for record in ["daemon", "nbdfuse", "loop", "client"] { unlink("\(disk.runtimeDirectory)/\(name)/\(record)") }
    }
    let third = try await disk.plugin()
    _ = try await third.unserve(server)
    _ = try await third.disconnect(consumer)
    _ = try await third.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aKilledDaemonIsSeenAndServedAgain() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    _ = try await plugin.serve(server)
    let daemon = plugin.daemon(try FunctionPlan(server))
    let identity = try #require(daemon.directory.text("daemon").flatMap { ProcessIdentity($0) })
    try await #require(ProcessHandle(identity)).killAndWait()
    #expect(try await plugin.observe().map(\.phase) == [.created])
    #expect(try await plugin.serve(server).phase == .inUse)
    _ = try await plugin.fence(server)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func onlyThePeerIsAdmitted() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin, consumer: "127.0.0.2")
    _ = try await plugin.create(server)
    let port = UInt16(try await plugin.serve(server).serverPort)
    try await BlockingThread.detached {
      #expect(greeting(from: port, source: "127.0.0.2")?.starts(with: Array("NBDMAGIC".utf8)) == true)
      #expect(greeting(from: port, source: "127.0.0.1") == nil)
    }
    _ = try await plugin.unserve(server)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aDiskWithDataOnItIsRefusedUntilTheOperatorSaysSo() async throws {
    var contents = [UInt8](repeating: 0, count: 4096)
    // The superblock of XFS begins with its name.
    contents.replaceSubrange(0..<4, with: Array("XFSB".utf8))
    contents.replaceSubrange(510..<512, with: [0x55, 0xaa])
    contents[446 + 4] = 0x83
    contents[446 + 8] = 1
    contents[446 + 12] = 8
    let disk = try TestDisk(contents: contents)
    let careful = try await disk.plugin()
    let request = try await disk.request(.direct, on: careful)
    #expect(try await careful.discover().first?.health?.state == .unhealthy)
    await #expect(throws: PluginError.self) { try await careful.create(request) }
    let told = try await disk.plugin(settings: "    acceptExistingData: true\n")
    _ = try await told.create(request)
    _ = try await told.destroy(request)
  }

  @Test func dataIsGivenUpDiskByDisk() throws {
    #expect(throws: (any Error).self) {
      try Configuration.decode(
        BlockConfiguration<SATADisks>.self, from: "endNodes:\n  - match: /dev/sd?\n    acceptExistingData: true\n",
        named: "sata.yaml")
    }
  }

  @Test func virtualFunctionsOfDisksThatMakeNoneAreRefused() throws {
    let error = #expect(throws: (any Error).self) {
      try Configuration.decode(
        BlockConfiguration<SATADisks>.self, from: "endNodes:\n  - device: /dev/sda\n    virtualFunctions: 4\n",
        named: "sata.yaml")
    }
    #expect(error.map { "\($0)" }?.contains("virtualFunctions") == true)
  }

  @Test func aSizeThatIsNoMultipleNamesTheNearestOnes() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = try await disk.request(.direct, on: plugin, sizeBytes: 5000)
    let error = try await #require(throws: PluginError.self) { try await plugin.create(request) }
    #expect(error.code == .invalidArgument && error.message.contains("4096 and 8192"))
  }

  @Test func noMoreFunctionsThanConfigured() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin(settings: "    functions: 1\n")
    let first = try await disk.request(.direct, on: plugin)
    let second = try await disk.request(.direct, on: plugin, token: 2)
    _ = try await plugin.create(first)
    let error = try await #require(throws: PluginError.self) { try await plugin.create(second) }
    #expect(error.code == .resourceExhausted)
    _ = try await plugin.destroy(first)
    _ = try await plugin.create(second)
    _ = try await plugin.destroy(second)
  }
}

/// The server's first bytes, seen from an address of ours; nil when nobody answers.
private func greeting(from port: UInt16, source: String) -> [UInt8]? {
  let socket = FileDescriptor(owning: Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0))
  var limit = timeval(tv_sec: 0, tv_usec: 500_000)
  setsockopt(socket.number, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  setsockopt(socket.number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  func address(_ text: String, _ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    inet_pton(AF_INET, text, &address.sin_addr)
    return address
  }
  var from = address(source, 0)
  var to = address("127.0.0.1", port)
  let size = socklen_t(MemoryLayout<sockaddr_in>.size)
  func generic(_ pointer: UnsafePointer<sockaddr_in>, _ call: (UnsafePointer<sockaddr>) -> CInt) -> CInt {
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1, call)
  }
  guard generic(&from, { bind(socket.number, $0, size) }) == 0, generic(&to, { connect(socket.number, $0, size) }) == 0
  else { return nil }
  var bytes = [UInt8](repeating: 0, count: 18)
  return recv(socket.number, &bytes, bytes.count, 0) > 0 ? bytes : nil
}
