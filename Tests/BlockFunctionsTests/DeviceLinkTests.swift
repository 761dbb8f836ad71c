import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// Names for devices where a udevd runs, and where none does.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct DeviceLinkTests {
  private func note(_ device: String) -> String? {
    let name = String(device.dropFirst(5))
    guard let sequence = SmallFile.text("/sys/block/\(name)/diskseq") else { return nil }
    return SmallFile.text("\(DeviceNote.directory)/\(name)-\(sequence)")
  }

  @Test func aDeviceIsNotedForItsClaimAsLongAsItIsGiven() throws {
    let disk = try TestDisk(sizeBytes: 1 << 20)
    let link = try DeviceLink(claim: disk.claim)
    try link.make(to: disk.loop.path)
    #expect(link.target == disk.loop.path && link.leads(to: disk.loop.path))
    #expect(note(disk.loop.path) == "IOV_CLAIM=\(disk.claim)")
    let other = try TestDisk(sizeBytes: 1 << 20)
    try link.remove(to: other.loop.path)
    #expect(link.target == disk.loop.path)
    try link.make(to: other.loop.path)
    #expect(note(disk.loop.path) == nil && note(other.loop.path) != nil)
    try link.remove()
    #expect(link.target == nil && note(other.loop.path) == nil)
  }

  /// Behind the plugin's back: the number is given again, and what is there then is another claim's.
  @Test func whereALinkLeadsIsWhatWasGivenWhileItIsThatUseOfTheDevice() async throws {
    let (disk, other) = (try TestDisk(sizeBytes: 1 << 20), try TestDisk(sizeBytes: 1 << 20))
    let link = try DeviceLink(claim: disk.claim)
    let path = other.directory + "/disk"
    let device = try await BlockingThread.detached {
      try LoopDevice.attach(to: path, offset: 0, size: 0, readOnly: false)
    }
    try link.make(to: device.path)
    #expect(link.given == device.path)
    try await BlockingThread.detached { try device.detach() }
    #expect(link.target == device.path && link.given == nil)
    try link.make(to: disk.loop.path)
    #expect(link.given == disk.loop.path)
    try link.remove()
    #expect(link.given == nil)
  }

  @Test func aLinkThatUdevMadeIsAsGoodAsOurs() throws {
    let disk = try TestDisk(sizeBytes: 1 << 20)
    let byID = disk.directory + "/by-id"
    symlink(disk.loop.path, byID)
    let link = try DeviceLink(claim: disk.claim)
    try link.make(to: byID)
    #expect(link.target == byID && link.leads(to: disk.loop.path))
    unlink(link.path)
    symlink("../\(disk.loop.path.dropFirst(5))", link.path)
    #expect(link.leads(to: byID))
    try link.make(to: byID)
    #expect(link.target == disk.loop.path)
    try link.remove(to: byID)
    #expect(link.target == nil)
    unlink(byID)
  }

  /// As after a restore, when another claim has adopted what is in use under the name of a former one.
  @Test(arguments: [false, true]) func aNameInUseIsNotTakenOver(isForContainer: Bool) async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    func request(_ token: UInt64) async throws -> FunctionRequest {
      var request = try await disk.request(.direct, on: plugin, token: token)
      request.assignment?.claim = disk.claim
      if isForContainer { request.assignment?.consumer = Consumer { $0.kind = .container(ContainerConsumer()) } }
      disk.know(request)
      _ = try await plugin.create(request)
      return request
    }
    let first = try await request(1)
    let held = try await plugin.attach(first)
    let second = try await request(2)
    let link = try DeviceLink(claim: disk.claim)
    let target = try #require(link.target)
    let error = await #expect(throws: PluginError.self) { try await plugin.attach(second) }
    #expect(error?.code == .alreadyExists)
    #expect(error?.message.contains(try #require(first.assignment?.function)) == true)
    #expect(link.target == target)
    #expect(try await plugin.observe().map(\.phase) == [.inUse, .created])
    // The one that has it may be told again, and the other may give up.
    #expect(try await plugin.attach(first) == held)
    _ = try await plugin.detach(second)
    #expect(link.target == target)

    _ = try await plugin.detach(first)
    #expect(try await plugin.attach(second).phase == .inUse)
    let next = try #require(link.target)
    // What is left of the first one takes nothing of this one with it.
    _ = try await plugin.detach(first)
    _ = try await plugin.destroy(first)
    disk.forget(first)
    #expect(link.target == next)
    #expect(try await plugin.observe().map(\.phase) == [.inUse])
    _ = try await plugin.detach(second)
    _ = try await plugin.destroy(second)
    #expect(disk.leftovers() == [])
  }

  @Test func aNameInUseIsNotTakenOverFromAnotherHost() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    var first = try await disk.request(.direct, on: plugin)
    first.assignment?.claim = disk.claim
    disk.know(first)
    _ = try await plugin.create(first)
    _ = try await plugin.attach(first)
    let server = try await disk.request(.server, on: plugin, token: 2)
    _ = try await plugin.create(server)
    let port = try await plugin.serve(server).serverPort
    var consumer = try await disk.request(.consumer, on: plugin, token: 2, serverPort: port)
    consumer.assignment?.claim = disk.claim
    disk.know(consumer)
    let target = try DeviceLink(claim: disk.claim).target
    await #expect(throws: PluginError.self) { try await plugin.connect(consumer) }
    #expect(try DeviceLink(claim: disk.claim).target == target)
    _ = try await plugin.detach(first)
    #expect(try await plugin.connect(consumer).phase == .inUse)
    _ = try await plugin.destroy(first)
    _ = try await plugin.unserve(server)
    _ = try await plugin.disconnect(consumer)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test(.enabled(if: ChildProcess.path(of: "udevadm") != nil, "udevadm is not installed"))
  func theRuleMakesTheSameLink() async throws {
    let disk = try TestDisk(sizeBytes: 1 << 20)
    let link = try DeviceLink(claim: disk.claim)
    try link.make(to: disk.loop.path)
    let written = readLink(link.path)
    unlink(link.path)
    let rule = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/cluster/systemd/70-iov.rules"
    // A mount namespace, so that this machine's udev knows nothing of it; the notes are the machine's.
    let script = """
      mkdir -p /run/iov && mount --bind /run/iov /mnt && mount -t tmpfs tmpfs /run && mkdir -p /run/iov /run/udev/rules.d &&
      mount --bind /mnt /run/iov && cp '\(rule)' /run/udev/rules.d/ && udevadm test /sys/block/\(disk.loop.path.dropFirst(5))
      """
    let user = try await BlockingThread.detached {
      try ChildProcess.spawn(executable: "unshare", arguments: ["--mount", "sh", "-ec", script])
    }
    #expect(try await user.handle.waitUntilExit() == .exited(0))
    #expect(readLink(link.path) == written)
    try link.remove()
  }

  private func readLink(_ path: String) -> String {
    var bytes = [CChar](repeating: 0, count: 256)
    let count = readlink(path, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
