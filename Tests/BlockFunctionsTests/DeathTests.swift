import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// What dies beside the plugin: daemons, servers, devices detached by somebody else.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct DeathTests {
  @Test(arguments: [false, true])
  func theDeathOfADaemonIsTold(afterARestartOfThePlugin: Bool) async throws {
    let disk = try TestDisk()
    let first = try await disk.plugin()
    let server = try await disk.request(.server, on: first)
    _ = try await first.create(server)
    let port = try await first.serve(server).serverPort
    let plugin = afterARestartOfThePlugin ? try await disk.plugin() : first
    var changes = plugin.watch().makeAsyncIterator()
    try await #require(first.daemon(FunctionPlan(server)).process).killAndWait()
    await changes.next()
    #expect(try await plugin.observe().map(\.phase) == [.created])
    // At the same port, so that a consumer needs nobody to tell it a new one.
    #expect(try await plugin.serve(server).serverPort == port)
    _ = try await plugin.unserve(server)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  /// Without the look that a plugin takes now and then.
  @Test func theEndOfAProcessIsToldByTheKernel() async throws {
    let (told, teller) = AsyncStream.makeStream(of: Void.self)
    let lives = LifeWatch { teller.yield() }
    let child = try ChildProcess.spawn(executable: "/bin/sleep", arguments: ["1000"])
    lives.watch("one", child.handle)
    try child.handle.kill(SIGKILL)
    var ends = told.makeAsyncIterator()
    await ends.next()
  }

  @Test func aConsumerIsToldThatItsServerIsGone() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let port = try await plugin.serve(server).serverPort
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: port)
    _ = try await plugin.connect(consumer)
    // A plugin that knows of the consumer alone, as one on another host does.
    let other = try await disk.plugin(knowing: [consumer])
    var changes = other.watch().makeAsyncIterator()
    try await #require(plugin.daemon(FunctionPlan(server)).process).killAndWait()
    await changes.next()
    #expect(try await other.observe().filter { $0.role == .consumer }.map(\.phase) == [.created])
    #expect(try await plugin.serve(server).serverPort == port)
    let device = try #require(try await other.connect(consumer).arrival?.devicePath)
    let data = randomBytes(4096)
    try await write(data, to: device)
    #expect(try await read(disk.loop.path, count: 4096) == data)
    _ = try await plugin.unserve(server)
    _ = try await other.disconnect(consumer)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aDeviceHeldOpenIsReplacedByOneThatWorks() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let port = try await plugin.serve(server).serverPort
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: port)
    let device = try #require(try await plugin.connect(consumer).arrival?.devicePath)
    var holder: FileDescriptor? = try FileDescriptor(opening: device, O_RDWR)
    // Nil where the kernel itself is the client.
    let former = try plugin.networkDisk(FunctionPlan(consumer)).fileClient.loopUse()
    func isThere() -> Bool { former.map { LoopDevice.attachedSequence($0.path) == $0.sequence } ?? false }
    try await #require(plugin.daemon(FunctionPlan(server)).process).killAndWait()
    _ = try await plugin.serve(server)
    #expect(try await plugin.connect(consumer).arrival?.devicePath == device)
    let data = randomBytes(4096)
    try await write(data, to: device)
    // The former device leads nowhere.
    let old = try #require(holder).number
    #expect(pwrite(old, randomBytes(4096), 4096, 0) != 4096 || fsync(old) != 0)
    #expect(try await read(disk.loop.path, count: 4096) == data)
    #expect(try await plugin.disconnect(consumer).phase == .absent)
    #expect(isThere() == (former != nil))
    holder = nil
    // The kernel's own time: it goes after its last user.
    while isThere() { await Task.yield() }
    _ = try await plugin.unserve(server)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  /// A writer that stamps block after block and takes a flush for granted, while the server dies again and again.
  @Test func noFlushedWriteIsLostWhenTheServerDies() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let port = try await plugin.serve(server).serverPort
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: port)
    let device = try #require(try await plugin.connect(consumer).arrival?.devicePath)
    var stamps: [UInt8] = []
    for _ in 0..<5 {
      let daemon = try #require(try plugin.daemon(FunctionPlan(server)).process)
      let first = stamps.count
      async let written = writeStamps(to: device, from: first, until: first + 200, killing: daemon, at: first + 20)
      stamps += try await written
      #expect(stamps.count >= first + 20)
      _ = try await plugin.serve(server)
      _ = try await plugin.connect(consumer)
    }
    for (block, stamp) in stamps.enumerated() {
      let found = try await read(disk.loop.path, at: block * 4096, count: 4096)
      #expect(found.allSatisfy { $0 == stamp }, "block \(block)")
    }
    _ = try await plugin.unserve(server)
    _ = try await plugin.disconnect(consumer)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aDeviceThatSomebodyDetachedIsAttachedAgain() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = try await disk.request(.direct, on: plugin)
    _ = try await plugin.create(request)
    _ = try await plugin.attach(request)
    try await disk.detachBehindItsBack(plugin, request)
    #expect(try await plugin.observe().map(\.phase) == [.created])
    _ = try await plugin.attach(request)
    try await disk.detachBehindItsBack(plugin, request)
    #expect(try await plugin.detach(request).phase == .created)
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }

  @Test(arguments: [false, true])
  func anOpenDirectDiskIsTakenAway(byFence: Bool) async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = try await disk.request(.direct, on: plugin)
    _ = try await plugin.create(request)
    let device = try #require(try await plugin.attach(request).arrival?.devicePath)
    var holder: FileDescriptor? = try FileDescriptor(opening: device, O_RDWR)
    let open = try #require(holder).number
    let data = randomBytes(4096)
    #expect(pwrite(open, data, 4096, 0) == 4096 && fsync(open) == 0)
    let status = byFence ? try await plugin.fence(request) : try await plugin.detach(request)
    #expect(status.phase == .created)
    #expect(pwrite(open, randomBytes(4096), 4096, 0) != 4096 || fsync(open) != 0)
    #expect(try await read(disk.loop.path, count: 4096) == data)
    // Its blocks can be given to somebody else while the former holder sits there.
    _ = try await plugin.scrub(request) { _, _ in }
    _ = try await plugin.destroy(request)
    holder = nil
    #expect(disk.leftovers() == [])
  }

  @Test func aMountedDirectDiskIsTakenAway() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = try await disk.request(.direct, on: plugin, sizeBytes: 16 << 20)
    _ = try await plugin.create(request)
    let device = try #require(try await plugin.attach(request).arrival?.devicePath)
    let mountPoint = disk.directory + "/mounted"
    try SmallFile.makeDirectory(mountPoint)
    defer { rmdir(mountPoint) }
    // It may have ended before it can be waited for; whether it did its work is seen by mounting.
    _ = try? await ChildProcess.spawn(executable: "mkfs.ext4", arguments: ["-q", "-F", device]).waitUntilExit()
    try #require(mount(realpathText(device), mountPoint, "ext4", 0, nil) == 0)
    defer { umount(mountPoint) }
    do {
      #expect(try await plugin.fence(request).phase == .created)
      let file = try FileDescriptor(opening: mountPoint + "/file", O_RDWR | O_CREAT)
      #expect(write(file.number, [1], 1) != 1 || fsync(file.number) != 0)
    } catch is SystemCallError {
      // The file system has noticed already, and makes no file.
    }
    umount(mountPoint)
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }
}

private func realpathText(_ path: String) -> String {
  guard let resolved = realpath(path, nil) else { return path }
  defer { free(resolved) }
  return String(cString: resolved)
}

/// Fills blocks with their number until a write or a flush fails, and kills the daemon on the way. Answers the stamps of
/// those that were flushed.
private func writeStamps(
  to device: String, from first: Int, until end: Int, killing daemon: ProcessHandle, at moment: Int
) async throws -> [UInt8] {
  try await BlockingThread.detached {
    let file = try FileDescriptor(opening: device, O_RDWR)
    var flushed: [UInt8] = []
    for block in first..<end {
      if block == moment { try daemon.kill(SIGKILL) }
      let stamp = UInt8(truncatingIfNeeded: block &* 7 &+ 1)
      let bytes = [UInt8](repeating: stamp, count: 4096)
      guard pwrite(file.number, bytes, 4096, block * 4096) == 4096, fsync(file.number) == 0 else { break }
      flushed.append(stamp)
    }
    return flushed
  }
}
