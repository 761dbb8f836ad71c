import Glibc
import LinuxDevices
import Synchronization

@testable import BlockFunctions

/// A disk one sector of which cannot be written, or read: QEMU's blkdebug behind a loop device. Everything goes with it.
final class FailingDisk: Sendable {
  enum Failure {
    /// The first attempt fails, in all ways in which zeroes can be written; then the disk has mended itself.
    case writesOnce
    case reads
  }

  let loop: LoopDevice
  private let files: Files

  /// Goes also when a disk is half made.
  private final class Files: Sendable {
    let directory = "/tmp/iov-" + String(UInt64.random(in: .min ... .max), radix: 36)
    private let processes = Mutex<[ChildProcess]>([])

    func start(_ program: String, _ arguments: [String]) throws {
      let process = try ChildProcess.spawn(executable: program, arguments: arguments)
      processes.withLock { $0.insert(process, at: 0) }
    }

    deinit {
      for process in processes.withLock({ $0 }) {
        try? process.kill(SIGKILL)
        _ = process.handle.blockUntilExit(milliseconds: 5000)
      }
      umount2(directory + "/disk", CInt(MNT_DETACH))
      for name in SmallFile.names(in: directory) { unlink("\(directory)/\(name)") }
      rmdir(directory)
    }
  }

  init(_ failure: Failure, atByte offset: UInt64, sizeBytes: Int = 64 << 20) throws {
    files = Files()
    let directory = files.directory
    try SmallFile.makeDirectory(directory)
    let (image, socket, mount) = (directory + "/image", directory + "/nbd.sock", directory + "/disk")
    let file = try FileDescriptor(opening: image, O_RDWR | O_CREAT)
    guard ftruncate(file.number, sizeBytes) == 0 else { throw SystemCallError("make \(image)", errno: errno) }
    let rule = Self.rule(at: offset)
    let rules: [JSONValue] =
      switch failure {
      case .writesOnce: [rule("write", true), rule("write-zeroes", true)]
      // The daemon looks where there is nothing, and does not read there.
      case .reads: [rule("read", false), rule("block-status", false)]
      }
    let node: JSONValue = .object([
      "driver": .string("blkdebug"), "node-name": .string("disk"), "discard": .string("unmap"),
      "image": .object(["driver": .string("file"), "filename": .string(image), "discard": .string("unmap")]),
      "inject-error": .array(rules),
    ])
    let export: JSONValue = .object([
      "type": .string("nbd"), "id": .string("export"), "node-name": .string("disk"), "name": .string("disk"),
      "writable": .bool(true),
    ])
    try files.start(
      StorageDaemon.program,
      [
        "--pidfile", directory + "/daemon.pid", "--blockdev", node.text, "--nbd-server",
        "addr.type=unix,addr.path=\(socket)", "--export", export.text,
      ])
    // Written when it listens.
    try Self.wait(for: directory + "/daemon.pid")
    _ = try FileDescriptor(opening: mount, O_RDWR | O_CREAT)
    try files.start(
      FileClient.program,
      ["-P", directory + "/nbdfuse.pid", mount, "nbd+unix:///disk?socket=\(socket)"])
    try Self.wait(for: directory + "/nbdfuse.pid")
    loop = try LoopDevice.attach(to: mount, offset: 0, size: 0, readOnly: false)
  }

  private static func rule(at offset: UInt64) -> (_ kind: String, _ isOnce: Bool) -> JSONValue {
    { kind, isOnce in
      .object([
        "event": .string("none"), "iotype": .string(kind), "errno": .integer(Int64(EIO)),
        "sector": .integer(Int64(offset / 512)), "once": .bool(isOnce),
      ])
    }
  }

  private static func wait(for path: String) throws {
    for _ in 0..<20_000 {
      if access(path, F_OK) == 0 { return }
      usleep(1000)
    }
    throw SystemCallError("wait for \(path)", errno: ETIMEDOUT)
  }

  var configuration: String { "endNodes:\n  - device: \(loop.path)\n" }

  deinit { try? loop.detach() }
}
