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
