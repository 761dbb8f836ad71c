import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices

/// What one storage daemon serves: one extent, under one name, to one host.
struct ServedExtent: Sendable, Hashable {
  var disk: String
  var offsetBytes: UInt64
  var sizeBytes: UInt64
  var isReadOnly: Bool
  var exportName: String
  var serverAddress: String
  var consumerAddress: String
  var consumerHost: String
}

/// The `qemu-storage-daemon` of one function: a process of its own, so that cutting one function off cannot touch another,
/// in a session of its own, so that it outlives the plugin.
///
/// Measured on QEMU 7.2: an export with `iothread=` aborts the daemon when its client goes, so there is none.
struct StorageDaemon: Sendable {
  static let program = "qemu-storage-daemon"
  private static let answerLimitMilliseconds: CInt = 5000
  let directory: FunctionDirectory
  let security: DiskTLS

  private var monitorPath: String { directory.file("qmp.sock") }
  private var pidFile: String { directory.file("daemon.pid") }
  private var logFile: String { directory.file("daemon.log") }

  /// Serves, or finds that it is served already; answers the port.
  func serve(_ extent: ServedExtent) throws -> UInt32 {
    if !isOutdated(for: extent.consumerAddress, servingAt: extent.serverAddress),
      let port = runningPort(exportName: extent.exportName)
    {
      return port
    }
    try security.check(servingAt: extent.serverAddress)
    // A consumer whose server died connects again by itself if nothing about the server has changed.
    let former = directory.text("port").flatMap { UInt16($0) }
    // The directory is made before a daemon and removed after the proof that it is gone.
    if directory.exists { try stop() }
    try directory.make()
    try security.writeDown(in: directory)
    try security.link(.server, in: directory)
    let (dataSocket, port) = try listen(extent, former: former)
    do {
      try start(extent, dataSocket)
      try readBack(extent)
    } catch {
      let log = directory.text("daemon.log") ?? ""
      try? stop()
      throw PluginError(.unavailable, "\(Self.program) does not serve \(extent.disk): \(error). \(log)")
    }
    try directory.write("port", "\(port)")
    return UInt32(port)
  }

  private func listen(_ extent: ServedExtent, former: UInt16?) throws -> (socket: FileDescriptor, port: UInt16) {
    var port = former ?? 0
    var listener = iov_listen_for_peer(extent.serverAddress, extent.consumerAddress, &port)
    if listener == -EADDRINUSE, former != nil {
      port = 0
      listener = iov_listen_for_peer(extent.serverAddress, extent.consumerAddress, &port)
    }
    guard listener >= 0 else {
      throw SystemCallError("listen on \(extent.serverAddress) for \(extent.consumerAddress)", errno: -listener)
    }
    return (FileDescriptor(owning: listener), port)
  }

  /// The port at which the export is served now; nil when it is not.
  func runningPort(exportName: String) -> UInt32? {
    guard let port = directory.text("port").flatMap({ UInt32($0) }), isRunning,
      var monitor = try? QMPConnection(path: monitorPath, timeoutMilliseconds: Self.answerLimitMilliseconds),
      (try? monitor.execute("query-block-exports"))?.array?.count == 1
    else { return nil }
    return port
  }

  /// Whether new certificates are there, or TLS itself is new, and nobody is connected: QEMU reads certificates once (7.2;
  /// deleting and adding the object leaves the old one in its server), so that the daemon must be another one, and who is
  /// connected must not lose the disk for it.
  func isOutdated(for consumer: String, servingAt address: String) -> Bool {
    guard let process, security.isRenewed(since: directory, servingAt: address) else { return false }
    do {
      return try process.connection(to: consumer).map(\.isHungUp) ?? true
    } catch {
      return false
    }
  }

  var isRunning: Bool { process != nil }

  /// Without trust in what was written down: for proof that nobody writes to the extent.
  var isProvenGone: Bool { directory.allProcesses(program: Self.program, argument: pidFile).isEmpty }

  /// The port that was written down, if the daemon lives; without asking it.
  var recordedPort: UInt32? { isRunning ? directory.text("port").flatMap { UInt32($0) } : nil }

  private func start(_ extent: ServedExtent, _ dataSocket: FileDescriptor) throws {
    let listener = iov_unix_listen(monitorPath)
    guard listener >= 0 else { throw SystemCallError("listen on \(monitorPath)", errno: -listener) }
    // Closed in this process on return: when the daemon dies, whoever waits for its answer is told at once.
    let monitorSocket = FileDescriptor(owning: listener)
    let log = try FileDescriptor(opening: logFile, O_WRONLY | O_CREAT | O_TRUNC)
    let arguments =
      ["--pidfile", pidFile]
      + ["--chardev", "socket,id=qmp,fd=\(monitorSocket.number),server=on,wait=off", "--monitor", "chardev=qmp"]
      + blockNodes(extent)
      + server(extent, dataSocket)
      + ["--export", export(extent).text]
    let child = try ChildProcess.spawn(
      executable: Self.program, arguments: arguments, inheriting: [monitorSocket.number, dataSocket.number],
      standardError: log.number)
    child.reapAtItsEnd()
    try directory.write("daemon", child.identity.description)
  }

  /// With TLS nobody is served without, and whose certificate is not the consumer's is sent away.
  private func server(_ extent: ServedExtent, _ dataSocket: FileDescriptor) -> [String] {
    let address = "addr.type=fd,addr.str=\(dataSocket.number)"
    guard let tls = security.tls else { return ["--nbd-server", address] }
    let credentials: JSONValue = .object([
      "qom-type": .string("tls-creds-x509"), "id": .string("certificates"), "endpoint": .string("server"),
      "dir": .string(directory.path), "verify-peer": .bool(true),
      // GnuTLS's usual choice, without the versions that RFC 8996 gave up.
      "priority": .string("NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"),
    ])
    let peer: JSONValue = .object([
      "qom-type": .string("authz-simple"), "id": .string("consumer"),
      "identity": .string(tls.subject(ofHost: extent.consumerHost)),
    ])
    return ["--object", credentials.text, "--object", peer.text]
      + ["--nbd-server", address + ",tls-creds=certificates,tls-authz=consumer"]
  }

  private func blockNodes(_ extent: ServedExtent) -> [String] {
    let cache = JSONValue.object(["direct": .bool(true), "no-flush": .bool(false)])
    let common: [String: JSONValue] = [
      "cache": cache, "read-only": .bool(extent.isReadOnly), "discard": .string("unmap"),
    ]
    var disk = common
    disk["driver"] = .string("host_device")
    disk["node-name"] = .string("disk")
    disk["filename"] = .string(extent.disk)
    disk["aio"] = .string("native")
    // Which extent belongs to whom is the extent table's business; daemons on other extents hold the same device.
    disk["locking"] = .string("off")
    var part = common
    part["driver"] = .string("raw")
    part["node-name"] = .string("extent")
    part["file"] = .string("disk")
    part["offset"] = .integer(Int64(extent.offsetBytes))
    part["size"] = .integer(Int64(extent.sizeBytes))
    return ["--blockdev", JSONValue.object(disk).text, "--blockdev", JSONValue.object(part).text]
  }

  private func export(_ extent: ServedExtent) -> JSONValue {
    .object([
      "type": .string("nbd"), "id": .string("export"), "node-name": .string("extent"),
      "name": .string(extent.exportName), "writable": .bool(!extent.isReadOnly),
    ])
  }

  private func readBack(_ extent: ServedExtent) throws {
    var monitor = try QMPConnection(path: monitorPath, timeoutMilliseconds: Self.answerLimitMilliseconds)
    let exports = try monitor.execute("query-block-exports").array ?? []
    guard exports.contains(where: { $0["id"]?.string == "export" && $0["shutting-down"] == .bool(false) }) else {
      throw PluginError(.internalError, "the export is not among \(JSONValue.array(exports).text)")
    }
  }

  /// Cuts the consumer off and ends the daemon. When it returns there is no process left that could write to the extent.
  func stop() throws {
    let running = directory.allProcesses(program: Self.program, argument: pidFile)
    if running.count == 1, askToEnd(running[0]) {
      // Ended in good order.
    } else {
      for process in running { try Self.kill(process) }
    }
    guard directory.allProcesses(program: Self.program, argument: pidFile).isEmpty else {
      throw PluginError(.unavailable, "\(Self.program) with \(pidFile) is still there.")
    }
    try directory.remove()
  }

  private func askToEnd(_ process: ProcessHandle) -> Bool {
    do {
      var monitor = try QMPConnection(path: monitorPath, timeoutMilliseconds: 2000)
      try monitor.execute("block-export-del", ["id": .string("export"), "mode": .string("hard")])
      try monitor.waitForEvent("BLOCK_EXPORT_DELETED")
      // Closing the nodes on the way out flushes the device.
      try monitor.execute("quit")
    } catch {
      return false
    }
    return process.blockUntilExit(milliseconds: 3000) != nil
  }

  static func kill(_ process: ProcessHandle) throws {
    try process.kill(SIGKILL)
    guard process.blockUntilExit(milliseconds: 10_000) != nil else {
      throw PluginError(
        .unavailable, "Process \(process.identity.pid) hangs in the kernel after SIGKILL: the device does not answer.")
    }
  }

  /// The daemon, if it runs.
  var process: ProcessHandle? {
    guard directory.exists else { return nil }
    return directory.processes(recordedAs: "daemon", program: Self.program, argument: pidFile).first
  }
}
