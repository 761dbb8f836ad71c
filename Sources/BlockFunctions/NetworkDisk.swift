import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// A function used on another host than the disk's: `nbdfuse` shows the export as a file, and a loop device over that file
/// is the block device. It has no holes to offer (`DiskGuard`): whoever asks for zeroes gets them.
///
/// Where the plugin runs in a mount namespace of its own, the file is seen in there only; the loop device holds it open, so
/// it works everywhere.
struct NetworkDisk: Sendable {
  static let program = "nbdfuse"
  private static let connectLimitMilliseconds = 10_000
  let plan: FunctionPlan
  let directory: FunctionDirectory
  let security: DiskTLS
  /// Where this host's own storage daemon serves it; nil: another host does.
  var localSocket: String?

  private var file: String { directory.file("disk") }
  private var pidFile: String { directory.file("nbdfuse.pid") }

  func connect() throws -> FunctionStatus {
    let uri = try uri()
    if let status = try connected(uri) { return status }
    try disconnect()
    if localSocket == nil { try security.check() }
    try directory.make()
    do {
      if localSocket == nil { try security.link(.client, in: directory) }
      try mount(uri)
      if !plan.isReadOnly { try DiskGuard.checkRefusal(ofHolesIn: file) }
      let loop = try LoopDevice.attach(to: file, offset: 0, size: 0, readOnly: plan.isReadOnly)
      try directory.write("loop", "\(loop.path) \(loop.sequence)")
      try plan.handover.give(loop.path)
      guard let status = try connected(uri) else { throw PluginError(.unavailable, "\(uri) went at once.") }
      return status
    } catch {
      let log = directory.text("nbdfuse.log") ?? ""
      try? disconnect()
      throw PluginError(.unavailable, "\(uri) cannot be used: \(error). \(explanation(of: log))\(log)")
    }
  }

  /// The status if everything is there, belongs to this server, and the server is at the other end.
  func connected(_ uri: String? = nil) throws -> FunctionStatus? {
    let wanted = try uri ?? self.uri()
    guard let found = directory.text("uri"), Self.place(of: found) == Self.place(of: wanted), let process,
      isServed(process), let loop = loopUse(), plan.handover.isGiven(loop.path)
    else { return nil }
    let facts = try BlockDevice.facts(loop.path)
    guard facts.isReadOnly == plan.isReadOnly, plan.sizeBytes == 0 || facts.sizeBytes == plan.sizeBytes else {
      throw PluginError(
        .unavailable,
        "\(wanted) has \(facts.sizeBytes) bytes and read-only \(facts.isReadOnly), the assignment grants \(plan.sizeBytes) "
          + "and \(plan.isReadOnly).")
    }
    return plan.arrived(sizeBytes: facts.sizeBytes, isReadOnly: facts.isReadOnly) {
      plan.handover.describe(loop.path, &$0)
      $0.uri = found
    }
  }

  /// Without how it is secured: an agent that has got a certificate takes no disk away from whoever uses it. The next
  /// connection is with TLS.
  private static func place(of uri: String) -> Substring {
    let place = uri.firstRange(of: "://").map { uri[$0.upperBound...] } ?? uri[...]
    return place.prefix { $0 != "?" }
  }

  /// The process that shows the export as a file; nil when there is none.
  var process: ProcessHandle? {
    directory.processes(recordedAs: "nbdfuse", program: Self.program, argument: file).first
  }

  /// Its way to the server; nil when it has none.
  func connection(of process: ProcessHandle) throws -> ProcessConnection? {
    guard localSocket == nil else { return nil }
    let mediation = try plan.mediation()
    guard let port = UInt16(exactly: mediation.serverPort) else { return nil }
    return try process.connection(to: mediation.serverAddress, port: port)
  }

  /// False when the server has closed the connection: nbdfuse never opens another. A connection that cannot be looked at
  /// is taken for good.
  private func isServed(_ process: ProcessHandle) -> Bool {
    // Our own daemon is looked at by whoever asks.
    guard localSocket == nil else { return true }
    do {
      return try connection(of: process).map { !$0.isHungUp } ?? false
    } catch {
      return true
    }
  }

  /// Whether anything of the function is left on this host.
  var isAbsent: Bool { !directory.exists }

  /// A loop device by name and by which of its uses is meant.
  struct LoopUse: Sendable, Hashable {
    var path: String
    var sequence: UInt64
  }

  /// The loop device over our file, found without asking the file, whose server may be dead.
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

  private func uri() throws -> String {
    if let localSocket { return "nbd+unix:///function?socket=\(Self.percentEncoded(localSocket))" }
    let mediation = try plan.mediation()
    guard mediation.serverPort > 0 else {
      throw PluginError(.failedPrecondition, "The assignment has no server port yet: its server does not serve.")
    }
    let isIPv6 = mediation.serverAddress.contains(":")
    let host = isIPv6 ? "[\(mediation.serverAddress)]" : mediation.serverAddress
    let place = "\(host):\(mediation.serverPort)/\(Self.percentEncoded(mediation.exportName))"
    // libnbd takes `nbds` for TLS or nothing, and looks for the address that it dials among the server's names.
    guard security.tls != nil else { return "nbd://\(place)" }
    return "nbds://\(place)?tls-certificates=\(Self.percentEncoded(directory.path))"
  }

  private func explanation(of log: String) -> String {
    let assignment = plan.request.assignment
    let explanation = security.explanation(
      of: log, server: assignment?.controllingHost ?? "", at: assignment?.mediation?.serverAddress ?? "")
    return explanation.map { $0 + " " } ?? ""
  }

  private static func percentEncoded(_ name: String) -> String {
    let digits = Array("0123456789ABCDEF")
    return name.utf8.map { byte -> String in
      let character = Character(Unicode.Scalar(byte))
      if character.isASCII && (character.isLetter || character.isNumber || "-._~/".contains(character)) {
        return String(character)
      }
      return "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
    }.joined()
  }

  private func mount(_ uri: String) throws {
    try SmallFile.replace(file, with: [], durably: false)
    try directory.write("uri", uri)
    let log = try FileDescriptor(opening: directory.file("nbdfuse.log"), O_WRONLY | O_CREAT | O_TRUNC)
    // One connection: the server is one thread, so that four are slower to set up (15 ms) and move no more (measured).
    let options = ["-C", "1", "-P", pidFile] + (plan.isReadOnly ? ["-r"] : []) + [file]
    var environment = try DiskGuard.environment()
    let command: (executable: String, arguments: [String])
    if localSocket == nil {
      command = security.client(
        Self.program, options + [String(uri.prefix { $0 != "?" })], in: directory, environment: &environment)
    } else {
      command = (Self.program, options + [uri])
    }
    let child = try ChildProcess.spawn(
      executable: command.executable, arguments: command.arguments, environment: environment,
      standardError: log.number)
    try directory.write("nbdfuse", child.identity.description)
    // It writes its pid file when the file system answers.
    for _ in 0..<Self.connectLimitMilliseconds {
      if access(pidFile, F_OK) == 0 { return child.reapAtItsEnd() }
      if let status = child.handle.blockUntilExit(milliseconds: 1) {
        throw PluginError(.unavailable, "\(Self.program) ended with \(status)")
      }
    }
    throw PluginError(.unavailable, "\(Self.program) did not connect in \(Self.connectLimitMilliseconds) ms")
  }

  /// Bounded in time whether the server answers or not, and whether somebody holds the device open or not.
  func disconnect() throws {
    if isAbsent { return }
    let loop = loopUse()
    if let loop { try plan.handover.take(loop.path) }
    // First the process: with it gone every request that waits for a dead server fails, and nothing below can hang. What
    // was written and not flushed is lost, as when any disk is pulled; the server has cut us off by now anyway.
    for process in directory.allProcesses(program: Self.program, argument: file) { try StorageDaemon.kill(process) }
    // Whoever has the device open keeps a device without anything behind it, which goes when they let go.
    if let loop { try LoopDevice.release(loop.path, sequence: loop.sequence) }
    try unmount()
    guard directory.allProcesses(program: Self.program, argument: file).isEmpty else {
      throw PluginError(.unavailable, "\(Self.program) for \(file) is still there.")
    }
    try directory.remove()
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
