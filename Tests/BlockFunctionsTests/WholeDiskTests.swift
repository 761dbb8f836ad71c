import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Synchronization
import Testing

@testable import BlockFunctions

/// Disks that are given away whole, and whose medium remembers for whom it is kept.
private struct KeptDisks: DiskClass {
  static let name = "sata"
  static let givesWholeDisks = true
  /// By the disk's identity: the token for which it is kept. Outlives the plugin, as the disk's memory does.
  static let kept = Mutex<[String: UInt64]>([:])

  init(context: PluginContext) {}

  func describe(_ path: String) throws -> DiskDescription? {
    guard let identity = BlockDevice.stableIdentity(path) else { return nil }
    return DiskDescription(identity: identity, devices: [path], facts: try BlockDevice.facts(path), isMultiRoot: true)
  }

  /// The disk's path is a link to the loop device that plays it.
  func pull(_ disk: DiskDescription) throws -> DiskDescription {
    let device = try #require(realpath(disk.device, nil).map { String(cString: $0) })
    let file = try #require(SmallFile.text("/sys/block/\(device.dropFirst(5))/loop/backing_file"))
    try #require(try LoopDevice.status(device)).withdraw()
    let again = try LoopDevice.attach(to: file, offset: 0, size: 0, readOnly: false)
    unlink(disk.device)
    symlink(again.path, disk.device)
    return disk
  }

  func keeper(of disk: DiskDescription) -> (any DiskKeeper)? { Keeper(identity: disk.identity) }

  struct Keeper: DiskKeeper {
    let identity: String

    func seize(_ token: FencingToken) throws {
      try KeptDisks.kept.withLock { kept in
        guard kept[identity] ?? 0 <= token.value else {
          throw PluginError(.failedPrecondition, "\(identity) is kept for token \(kept[identity] ?? 0).")
        }
        kept[identity] = token.value
      }
    }

    func isHeld(by token: FencingToken) -> Bool { KeptDisks.kept.withLock { $0[identity] } == token.value }

    func letGo(of token: FencingToken) {
      KeptDisks.kept.withLock { if $0[identity] == token.value { $0[identity] = nil } }
    }

    func highestToken() -> FencingToken? {
      KeptDisks.kept.withLock { kept in kept[identity].map { value in FencingToken { $0.value = value } } }
    }
  }
}

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct WholeDiskTests {
  @Test(arguments: [false, true])
  func theWholeDiskIsTheDeviceItselfAndKeptForItsHolder(keepsOthersOut: Bool) async throws {
    let disk = try TestDisk()
    let plugin: BlockPlugin<KeptDisks> = try await disk.plugin(of: KeptDisks.self)
    var request = try await disk.request(.direct, on: plugin, sizeBytes: 64 << 20, path: .direct)
    _ = try await plugin.create(request)
    let status = try await plugin.attach(request)
    #expect(try await plugin.attach(request) == status)
    let link = try #require(status.arrival?.devicePath)
    #expect(try FunctionPlan(request).handover.link?.target == disk.loop.path)
    let identity = try #require(BlockDevice.stableIdentity(disk.loop.path))
    #expect(KeptDisks.kept.withLock { $0[identity] } == 1)
    let data = randomBytes(1 << 16)
    try await write(data, to: link, at: 1 << 20)
    #expect(try await read(disk.loop.path, at: 1 << 20, count: 1 << 16) == data)
    #expect(try await plugin.observe() == [status])
    await #expect(throws: PluginError.self) { try await plugin.scrub(request) { _, _ in } }

    // Somebody who was cut off from it may still have it open on another host.
    request.keepOthersOut = keepsOthersOut
    #expect(try await plugin.detach(request).phase == .created)
    #expect(KeptDisks.kept.withLock { $0[identity] } == (keepsOthersOut ? 1 : nil))
    #expect(try await plugin.observe().map(\.phase) == [.created])
    _ = try await plugin.scrub(request) { _, _ in }
    #expect(try await read(disk.loop.path, at: 1 << 20, count: 1 << 16).allSatisfy { $0 == 0 })
    #expect(try await plugin.destroy(request).phase == .absent)
    #expect(disk.leftovers() == [])
  }

  @Test func controlIsTakenAtTheDiskFromWhoeverIsRegisteredAndLeavesOneAloneThatNobodyUses() async throws {
    let disk = try TestDisk()
    let plugin: BlockPlugin<KeptDisks> = try await disk.plugin(of: KeptDisks.self)
    let identity = try #require(BlockDevice.stableIdentity(disk.loop.path))
    let control = ControlRequest {
      $0.endNode = "sata/\(identity)"
      $0.controlToken = FencingToken { $0.value = 7 }
      $0.formerControlTokens = [FencingToken { $0.value = 5 }]
    }
    try await plugin.takeControl(control)
    #expect(KeptDisks.kept.withLock { $0[identity] } == nil)
    KeptDisks.kept.withLock { $0[identity] = 5 }
    try await plugin.takeControl(control)
    #expect(KeptDisks.kept.withLock { $0[identity] } == 7)
    KeptDisks.kept.withLock { $0[identity] = 9 }
    try await plugin.takeControl(control)
    #expect(KeptDisks.kept.withLock { $0[identity] } == 9)
    // What nobody uses is let go of, if it is this host's.
    var unused = control
    unused.formerControlTokens = []
    unused.unused = true
    try await plugin.takeControl(unused)
    #expect(KeptDisks.kept.withLock { $0[identity] } == 9)
    KeptDisks.kept.withLock { $0[identity] = 7 }
    try await plugin.takeControl(unused)
    #expect(KeptDisks.kept.withLock { $0[identity] } == nil)
    // With what the former one had it is done as well.
    KeptDisks.kept.withLock { $0[identity] = 5 }
    unused.formerControlTokens = control.formerControlTokens
    try await plugin.takeControl(unused)
    #expect(KeptDisks.kept.withLock { $0[identity] } == nil)
  }

  @Test func aWholeDiskIsPulledFromWhoeverHasItOpen() async throws {
    let disk = try TestDisk(in: "/dev/shm")
    let path = disk.directory + "/plugged"
    symlink(disk.loop.path, path)
    let plugin: BlockPlugin<KeptDisks> = try await disk.plugin(
      of: KeptDisks.self, configuration: "endNodes:\n  - device: \(path)\n")
    let request = try await disk.request(.direct, on: plugin, sizeBytes: 64 << 20, path: .direct)
    _ = try await plugin.create(request)
    let link = try #require(try await plugin.attach(request).arrival?.devicePath)
    // A process of its own: what this one has open is never taken for a user's.
    let user = try await BlockingThread.detached {
      try ChildProcess.spawn(
        executable: "sh",
        arguments: [
          "-c",
          "exec 3<>\(link); while dd if=/dev/urandom of=/proc/self/fd/3 bs=4k count=1 conv=notrunc,fsync 2>/dev/null; do :; done",
        ])
    }
    try await untilOpen(disk.loop.path)
    #expect(try await plugin.detach(request).phase == .created)
    // What it writes does not arrive: it is told, and ends.
    #expect(try await user.handle.waitUntilExit() == .exited(0))
    _ = try await plugin.scrub(request) { _, _ in }
    #expect(try await plugin.destroy(request).phase == .absent)
    for device in disk.loopDevices {
      try await BlockingThread.detached { try LoopDevice.status(device.path)?.detach() }
    }
    unlink(path)
    #expect(disk.leftovers() == [])
  }

  @Test func aWholeDiskIsServedFromInParts() async throws {
    let disk = try TestDisk()
    let plugin: BlockPlugin<KeptDisks> = try await disk.plugin(of: KeptDisks.self)
    let asked = try await disk.request(.direct, on: plugin, sizeBytes: 64 << 20, path: .direct)
    let source = asked.forFileServer
    disk.know(source)
    _ = try await plugin.create(source)
    _ = try await plugin.attach(source)
    var parts: [FunctionRequest] = []
    for (role, token) in [(Role.direct, UInt64(101)), (.server, 102)] {
      var part = try await disk.request(role, on: plugin, token: token)
      disk.forget(part)
      part.assignment?.endNode = source.assignment?.function ?? ""
      part.assignment?.source = source.assignment?.claim ?? ""
      part.assignment?.function = "\(source.assignment?.function ?? "")/\(token)"
      disk.know(part)
      _ = try await plugin.create(part)
      parts.append(part)
    }
    let device = try #require(try await plugin.attach(parts[0]).arrival?.devicePath)
    _ = try await plugin.serve(parts[1])
    let data = randomBytes(1 << 16)
    try await write(data, to: device)
    #expect(try await read(disk.loop.path, count: 1 << 16) == data)

    // Another run of the plugin sees who has which part open: none of that contradicts that the disk is one claim's.
    let next: BlockPlugin<KeptDisks> = try await disk.plugin(of: KeptDisks.self)
    let nodes = try await next.discover()
    #expect(nodes.map(\.source) == ["", source.assignment?.claim])
    #expect(nodes.allSatisfy { $0.health?.state != .unhealthy }, "\(nodes.map { $0.health?.message ?? "" })")
    #expect(nodes.last?.capabilities?.paths == [.directSoftware, .mediated])
    #expect(try await next.observe().allSatisfy { $0.phase == .inUse })
    for part in parts {
      _ = try await part.role == .server ? next.unserve(part) : next.detach(part)
      _ = try await next.scrub(part) { _, _ in }
      #expect(try await next.destroy(part).phase == .absent)
      disk.forget(part)
    }
    _ = try await next.detach(source)
    _ = try await next.scrub(source) { _, _ in }
    #expect(try await next.destroy(source).phase == .absent)
    #expect(disk.leftovers() == [])
  }

  private func untilOpen(_ path: String) async throws {
    for _ in 0..<1000 {
      if try await BlockingThread.detached({ try DeviceUser.find(of: path) }) != nil { return }
      try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record("nobody opened \(path)")
  }
}
