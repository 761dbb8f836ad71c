import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// What one storage daemon serves: one extent, to one consumer.
struct ServedExtent: Sendable, Hashable {
  var disk: String
  var offsetBytes: UInt64
  var sizeBytes: UInt64
  var isReadOnly: Bool
  var limits: DiskLimits
  var door: Door

  /// By which its consumer comes in.
  enum Door: Sendable, Hashable {
    /// NBD to one other host.
    case host(Mediation, consumer: String)
    /// NBD to this host itself, for limits: nothing else can hold a loop device back.
    case local
    /// A virtual machine of this host (vhost-user-blk).
    case machine

    var exportName: String {
      switch self {
      case .host(let mediation, _): mediation.exportName
      case .local, .machine: "function"
      }
    }
  }

  init(_ part: FunctionExtent, for door: Door) {
    disk = part.disk.device
    offsetBytes = part.extent.offsetBytes
    sizeBytes = part.extent.sizeBytes
    isReadOnly = part.plan.isReadOnly
    limits = part.plan.limits
    self.door = door
  }
}

/// The `qemu-storage-daemon` of one function: a process of its own, so that cutting one function off cannot touch another,
/// in a session of its own, so that it outlives the plugin.
///
/// Measured on QEMU 7.2: an export with `iothread=` aborts the daemon when its client goes, so there is none.
struct StorageDaemon: Sendable {
  static let program = "qemu-storage-daemon"
  private static let limits = "limits"
  /// The block node that is the function's part of its disk; other nodes lie above and below it.
  static let extentNode = "extent"
  private static let answerLimitMilliseconds: CInt = 5000
  private static let portLooks = 50
  private static let portLookMicroseconds: UInt32 = 20_000
  let directory: FunctionDirectory
  let security: DiskTLS

  private var monitorPath: String { directory.file("qmp.sock") }
  private var pidFile: String { directory.file("daemon.pid") }
  private var logFile: String { directory.file("daemon.log") }

  /// Serves another host, or finds that it is served already; answers the port.
  func serve(_ part: FunctionExtent, by mediation: Mediation, to consumer: String) throws -> UInt32 {
    let extent = ServedExtent(part, for: .host(mediation, consumer: consumer))
    if !isOutdated(for: mediation.consumerAddress, servingAt: mediation.serverAddress), let port = runningPort() {
      try apply(extent.limits)
      return port
    }
    try security.check(servingAt: mediation.serverAddress)
    // A consumer whose server died connects again by itself if nothing about the server has changed.
    let former = directory.text("port").flatMap { UInt16($0) }
    let (dataSocket, port) = try begin(extent) { try listen(mediation, former: former) }
    withExtendedLifetime(dataSocket) {}
    try directory.write("port", "\(port)")
    return UInt32(port)
  }

  /// Serves this host; answers the Unix socket at which it does.
  func serveHere(_ extent: ServedExtent) throws -> String {
    if isServing {
      try apply(extent.limits)
    } else {
      _ = try begin(extent) { (nil, 0) }
    }
    return localSocket
  }

  var localSocket: String { directory.file("data.sock") }

  /// The directory is made before a daemon and removed after the proof that it is gone.
  private func begin(
    _ extent: ServedExtent, _ listen: () throws -> (socket: FileDescriptor?, port: UInt16)
  ) throws -> (socket: FileDescriptor?, port: UInt16) {
    if directory.exists { try stop() }
    try directory.make()
    do {
      if case .host = extent.door {
        try security.writeDown(in: directory)
        try security.link(.server, in: directory)
      }
      let door = try listen()
      try start(extent, door.socket)
      try readBack(extent)
      return door
    } catch {
      let log = directory.text("daemon.log") ?? ""
      try? stop()
      throw PluginError(.unavailable, "\(Self.program) does not serve \(extent.disk): \(error). \(log)")
    }
  }

  private func listen(_ mediation: Mediation, former: UInt16?) throws -> (socket: FileDescriptor?, port: UInt16) {
    var port = former ?? 0
    var listener = iov_listen_for_peer(mediation.serverAddress, mediation.consumerAddress, &port)
    // A program that is being started beside has a copy of every descriptor until its exec, the dead daemon's among them:
    // on a busy machine that takes a while. Another port is found at once, but the consumer has to be told of it.
    for _ in 0..<Self.portLooks where listener == -EADDRINUSE && former != nil {
      usleep(Self.portLookMicroseconds)
      listener = iov_listen_for_peer(mediation.serverAddress, mediation.consumerAddress, &port)
    }
    if listener == -EADDRINUSE, former != nil {
      port = 0
      listener = iov_listen_for_peer(mediation.serverAddress, mediation.consumerAddress, &port)
    }
    guard listener >= 0 else {
      throw SystemCallError("listen on \(mediation.serverAddress) for \(mediation.consumerAddress)", errno: -listener)
    }
    return (FileDescriptor(owning: listener), port)
  }

  /// Changes what holds the consumer back, while it is in use; reads it back.
  func apply(_ limits: DiskLimits) throws {
    guard recordedLimits != limits else { return }
    var monitor = try QMPConnection(path: monitorPath, timeoutMilliseconds: Self.answerLimitMilliseconds)
    try monitor.execute(
      "qom-set",
      [
        "path": .string("/objects/\(Self.limits)"), "property": .string("limits"), "value": limits.throttle,
      ])
    try recordLimits(&monitor, expecting: limits)
  }

  /// What holds the consumer back, as it was read back last; nil: no daemon was there.
  var recordedLimits: DiskLimits? {
    directory.text("limits").flatMap { JSONValue(parsing: $0.utf8) }.flatMap { DiskLimits(throttle: $0) }
  }

  private func recordLimits(_ monitor: inout QMPConnection, expecting limits: DiskLimits) throws {
    let found = try monitor.execute(
      "qom-get", ["path": .string("/objects/\(Self.limits)"), "property": .string("limits")])
    guard let inForce = DiskLimits(throttle: found), inForce.throttle == limits.throttle else {
      throw PluginError(.internalError, "the limits are \(found.text) instead of \(limits.throttle.text)")
    }
    try directory.write("limits", found.text)
  }

  /// The port at which the export is served now; nil when it is not.
  func runningPort() -> UInt32? {
    guard let port = directory.text("port").flatMap({ UInt32($0) }), isServing else { return nil }
    return port
  }

  /// Whether the daemon answers that it has its export.
  private var isServing: Bool {
    guard isRunning,
      var monitor = try? QMPConnection(path: monitorPath, timeoutMilliseconds: Self.answerLimitMilliseconds)
    else { return false }
    return (try? monitor.execute("query-block-exports"))?.array?.count == 1
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

  /// One that holds a disk which is not there any more, since it was pulled, say, is of no use to anybody, also when the disk is
  /// back: what is open leads to what is gone.
  var isRunning: Bool { process != nil && hasItsDisk }

  private var hasItsDisk: Bool {
    guard let words = directory.text("disk")?.split(separator: " "), words.count == 2 else { return true }
    return BlockDevice.sequence(ofKernelName: String(words[0])) == UInt64(words[1])
  }

  /// Before the daemon opens it: a disk that is exchanged in between is seen as another one.
  private func writeDown(disk: String) throws {
    let name = BlockDevice.kernelName(disk) ?? ""
    guard let sequence = BlockDevice.sequence(ofKernelName: name) else { return }
    try directory.write("disk", "\(name) \(sequence)")
  }

  /// Without trust in what was written down: for proof that nobody writes to the extent.
  var isProvenGone: Bool { directory.allProcesses(program: Self.program, argument: pidFile).isEmpty }

  /// The port that was written down, if the daemon lives; without asking it.
  var recordedPort: UInt32? { isRunning ? directory.text("port").flatMap { UInt32($0) } : nil }

  private func start(_ extent: ServedExtent, _ dataSocket: FileDescriptor?) throws {
    let listener = iov_unix_listen(monitorPath)
    guard listener >= 0 else { throw SystemCallError("listen on \(monitorPath)", errno: -listener) }
    // Closed in this process on return: when the daemon dies, whoever waits for its answer is told at once.
    let monitorSocket = FileDescriptor(owning: listener)
    let log = try FileDescriptor(opening: logFile, O_WRONLY | O_CREAT | O_TRUNC)
    try writeDown(disk: extent.disk)
    let arguments =
      ["--pidfile", pidFile]
      + ["--chardev", "socket,id=qmp,fd=\(monitorSocket.number),server=on,wait=off", "--monitor", "chardev=qmp"]
      + blockNodes(extent)
      + server(extent, dataSocket)
      + ["--export", export(extent).text]
    let child = try ChildProcess.spawn(
      executable: Self.program, arguments: arguments, environment: try DiskGuard.environment(),
      inheriting: [monitorSocket.number] + (dataSocket.map { [$0.number] } ?? []),
      standardError: log.number)
    try directory.write("daemon", child.identity.description)
    // Until it has read its command line and has the socket of its monitor in order. Who is connected before may be greeted and
    // never heard: in QEMU 7.2 the main thread takes the connection while the monitor's takes over the socket.
    try child.wait(named: Self.program, toWrite: pidFile)
  }

  /// With TLS nobody is served without, and whose certificate is not the consumer's is sent away.
  private func server(_ extent: ServedExtent, _ dataSocket: FileDescriptor?) -> [String] {
    guard case .host(_, let consumer) = extent.door, let dataSocket else {
      return extent.door == .local ? ["--nbd-server", "addr.type=unix,addr.path=\(localSocket)"] : []
    }
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
      "identity": .string(tls.subject(ofHost: consumer)),
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
    part["node-name"] = .string(Self.extentNode)
    part["file"] = .string("disk")
    part["offset"] = .integer(Int64(extent.offsetBytes))
    part["size"] = .integer(Int64(extent.sizeBytes))
    // Always, so that limits can be set while it is in use; without any it costs nothing that could be measured.
    var limited = common
    limited["driver"] = .string("throttle")
    limited["node-name"] = .string("limited")
    limited["file"] = .string(Self.extentNode)
    limited["throttle-group"] = .string(Self.limits)
    let group: JSONValue = .object([
      "qom-type": .string("throttle-group"), "id": .string(Self.limits), "limits": extent.limits.throttle,
    ])
    return ["--object", group.text] + [disk, part, limited].flatMap { ["--blockdev", JSONValue.object($0).text] }
  }

  private func export(_ extent: ServedExtent) -> JSONValue {
    var members: [String: JSONValue] = [
      "id": .string("export"), "node-name": .string("limited"), "writable": .bool(!extent.isReadOnly),
    ]
    if extent.door == .machine {
      members["type"] = .string("vhost-user-blk")
      members["addr"] = .object(["type": .string("unix"), "path": .string(localSocket)])
    } else {
      members["type"] = .string("nbd")
      members["name"] = .string(extent.door.exportName)
    }
    return .object(members)
  }

  private func readBack(_ extent: ServedExtent) throws {
    var monitor = try QMPConnection(path: monitorPath, timeoutMilliseconds: Self.answerLimitMilliseconds)
    let exports = try monitor.execute("query-block-exports").array ?? []
    // It answers, so that all is loaded that it has.
    if let process { try DiskGuard.checkLoaded(by: process) }
    guard exports.contains(where: { $0["id"]?.string == "export" && $0["shutting-down"] == .bool(false) }) else {
      throw PluginError(.internalError, "the export is not among \(JSONValue.array(exports).text)")
    }
    try recordLimits(&monitor, expecting: extent.limits)
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
