import FunctionPluginKit
import Glibc
import LinuxDevices

/// The kernel's NBD client: requests go from whoever uses the disk through the kernel, TLS included, to the server. A program of
/// ours connects it, and sleeps until the end (`Sources/iov-nbd-client`).
///
/// When that program is killed the disk goes on, but nobody would see its end, so that the disk is connected anew.
struct KernelClient: DiskClient {
  static let program = "iov-nbd-client"
  private static let patienceMilliseconds: CInt = 3000
  private static let record = "client"
  let directory: FunctionDirectory
  let isReadOnly: Bool

  /// Whether this host has all that it takes. The module is loaded by being asked for.
  static func isPossible(secured: Bool) -> Bool {
    guard access(path, X_OK) == 0, (try? NetworkBlockDriver.find()) != nil else { return false }
    return !secured || KernelTLS.isPossible
  }

  private static var path: String { DiskGuard.beside(program) }

  /// Of the device and of nothing else: what an earlier connection left open is told from this one's.
  private var backend: String? { directory.text("backend") }

  var process: ProcessHandle? {
    guard directory.exists else { return nil }
    return directory.processes(recordedAs: Self.record, program: Self.program, argument: directory.path).first
  }

  private var found: NetworkBlockDevice? {
    guard let path = directory.text(NetworkBlockDriver.record), let backend else { return nil }
    return NetworkBlockDevice.all(backend: backend).first { $0.path == path }
  }

  var device: String? { found?.path }

  func measures() -> (sizeBytes: UInt64, isReadOnly: Bool)? { found?.measures() }

  func start(_ export: ExportPlace) throws {
    let connection = String(UInt64.random(in: .min ... .max), radix: 16)
    let backend = "iov-\(StableDigest.hexadecimal(directory.path))-\(connection)"
    try directory.write("backend", backend)
    let log = try FileDescriptor(opening: directory.file(NetworkDisk.log), O_WRONLY | O_CREAT | O_TRUNC)
    let child = try ChildProcess.spawn(
      executable: Self.path, arguments: [directory.path, "--backend", backend] + arguments(export),
      standardError: log.number)
    try directory.write(Self.record, child.identity.description)
    try child.wait(named: Self.program, toWrite: directory.file(NetworkBlockDriver.record))
  }

  private func arguments(_ export: ExportPlace) -> [String] {
    let place =
      switch export {
      case .here(let socket): ["--export", "function", "--socket", socket]
      case .host(let address, let port, let name, _): ["--export", name, "--address", address, "--port", "\(port)"]
      }
    return place + (export.isSecured ? ["--tls"] : []) + (isReadOnly ? ["--read-only"] : [])
  }

  func end() throws {
    // It has the connection, and closes that first, so that nothing waits for a server that does not read.
    for process in directory.allProcesses(program: Self.program, argument: directory.path) {
      try process.kill(SIGTERM)
      if process.blockUntilExit(milliseconds: Self.patienceMilliseconds) == nil { try StorageDaemon.kill(process) }
    }
    guard directory.allProcesses(program: Self.program, argument: directory.path).isEmpty else {
      throw PluginError(.unavailable, "\(Self.program) for \(directory.path) is still there.")
    }
    // What it could not do if it was killed. Again is no harm.
    guard let backend else { return }
    for device in NetworkBlockDevice.all(backend: backend) { try NetworkBlockDriver.find()?.disconnect(device) }
  }
}
