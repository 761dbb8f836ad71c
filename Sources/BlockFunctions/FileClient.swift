import FunctionPluginKit
import Glibc
import LinuxDevices

/// `nbdfuse` shows the export as a file, and a loop device over that file is the block device. It has no holes to offer
/// (`DiskGuard`): whoever asks for zeroes gets them.
///
/// Where the plugin runs in a mount namespace of its own, the file is seen in there only; the loop device holds it open, so
/// it works everywhere.
struct FileClient: DiskClient {
  static let program = "nbdfuse"
  private static let record = "nbdfuse"
  let directory: FunctionDirectory
  let security: DiskTLS
  let isReadOnly: Bool

  private var file: String { directory.file("disk") }
  private var pidFile: String { directory.file("nbdfuse.pid") }

  static func isPossible(secured: Bool) -> Bool {
    ([program] + (secured ? [DiskTLS.rightsChanger] : [])).allSatisfy { ChildProcess.path(of: $0) != nil }
  }

  var process: ProcessHandle? {
    directory.processes(recordedAs: Self.record, program: Self.program, argument: file).first
  }

  var device: String? { loopUse()?.path }

  func measures() throws -> (sizeBytes: UInt64, isReadOnly: Bool)? {
    try device.map { path in
      let facts = try BlockDevice.facts(path)
      return (facts.sizeBytes, facts.isReadOnly)
    }
  }

  /// A loop device by name and by which of its uses is meant.
  struct LoopUse: Sendable, Hashable {
    var path: String
    var sequence: UInt64
  }

  func loopUse() -> LoopUse? {
    if let words = directory.text("loop")?.split(separator: " "), words.count == 2, let sequence = UInt64(words[1]),
      LoopDevice.attachedSequence(String(words[0])) == sequence, !LoopDevice.isGivenUp(String(words[0]))
    {
      return LoopUse(path: String(words[0]), sequence: sequence)
    }
    // The plugin may have died between attaching and writing it down. The kernel knows the file's name.
    for name in SmallFile.names(in: "/sys/block")
    where name.hasPrefix("loop") && SmallFile.text("/sys/block/\(name)/loop/backing_file") == file {
      if !LoopDevice.isGivenUp(name), let sequence = LoopDevice.attachedSequence(name) {
        return LoopUse(path: "/dev/\(name)", sequence: sequence)
      }
    }
    return nil
  }

  func start(_ export: ExportPlace) throws {
    try mount(export)
    if !isReadOnly { try DiskGuard.checkRefusal(ofHolesIn: file) }
    let loop = try LoopDevice.attach(to: file, offset: 0, size: 0, readOnly: isReadOnly)
    try directory.write("loop", "\(loop.path) \(loop.sequence)")
  }

  private func mount(_ export: ExportPlace) throws {
    try SmallFile.replace(file, with: [], durably: false)
    let log = try FileDescriptor(opening: directory.file(NetworkDisk.log), O_WRONLY | O_CREAT | O_TRUNC)
    // One connection: the server is one thread, so that four are slower to set up (15 ms) and move no more (measured).
    let options = ["-C", "1", "-P", pidFile] + (isReadOnly ? ["-r"] : []) + [file]
    var environment = try DiskGuard.environment()
    let command: (executable: String, arguments: [String])
    if case .host = export {
      command = security.client(
        Self.program, options + [String(export.uri.prefix { $0 != "?" })], in: directory, environment: &environment)
    } else {
      command = (Self.program, options + [export.uri])
    }
    let child = try ChildProcess.spawn(
      executable: command.executable, arguments: command.arguments, environment: environment,
      standardError: log.number)
    try directory.write(Self.record, child.identity.description)
    // It writes its pid file when the file system answers.
    try child.wait(named: Self.program, toWrite: pidFile)
  }

  func end() throws {
    let loop = loopUse()
    // First the process: with it gone every request that waits for a dead server fails, and nothing below can hang. What
    // was written and not flushed is lost, as when any disk is pulled; the server has cut us off by now anyway.
    for process in directory.allProcesses(program: Self.program, argument: file) { try StorageDaemon.kill(process) }
    // Whoever has the device open keeps a device without anything behind it, which goes when they let go.
    if let loop { try LoopDevice.release(loop.path, sequence: loop.sequence) }
    try unmount()
    guard directory.allProcesses(program: Self.program, argument: file).isEmpty else {
      throw PluginError(.unavailable, "\(Self.program) for \(file) is still there.")
    }
  }

  /// Lazily: a mount whose process is gone must not wait for anybody. Where it is not mounted there is nothing to do; in
  /// another mount namespace it goes with that namespace.
  private func unmount() throws {
    // More than one mount can lie on the file after kills at the wrong moment.
    for _ in 0..<16 {
      if umount2(file, CInt(MNT_DETACH)) == 0 { continue }
      if errno == EINVAL || errno == ENOENT { return }
      throw SystemCallError("unmount \(file)", errno: errno)
    }
  }
}
