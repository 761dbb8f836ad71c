import CLinux
import Glibc
import LinuxDevices

/// Connects a disk that another host serves to the kernel's NBD client: it makes the connection, the negotiation and TLS's
/// handshake, and hands the socket over. From then on nothing is between whoever uses the disk and the kernel.
///
/// It stays, asleep, for the end alone. The kernel fails what comes after a connection is gone; what is under way then waits for
/// somebody to say so, or for a time limit, which a disk with limits would run into.
@main
struct Program {
  private static let usage = CInt(64)

  static func main() {
    guard let arguments = Arguments(Array(CommandLine.arguments.dropFirst())) else {
      complain("started by the plugins of disks; its arguments are in Arguments.swift")
      exit(usage)
    }
    do {
      try Program(arguments: arguments).run()
    } catch let error as KernelLacks {
      complain(error.description)
      exit(NetworkBlockDriver.lackingExitCode)
    } catch {
      complain("\(error)")
      exit(1)
    }
  }

  private static func complain(_ text: String) {
    let line = Array("iov-nbd-client: \(text)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
  }

  let arguments: Arguments

  private func run() throws {
    let held = iov_hold_termination()
    guard held == 0 else { throw SystemCallError("hold SIGTERM back", errno: -held) }
    guard let driver = try NetworkBlockDriver.find() else { throw KernelLacks(description: "there is no nbd") }
    let connection = try ServerConnection(to: arguments.place)
    let export = try connection.negotiate(arguments.export, securedBy: handshake)
    try connection.waitForEver()
    let device: NetworkBlockDevice
    do {
      device = try driver.connect(description(of: export, connection))
    } catch {
      // Its blocks are larger than a page, say, or this process may not.
      throw KernelLacks(description: "\(error)")
    }
    do {
      guard device.backend() == arguments.backend else {
        throw KernelLacks(description: "this kernel's nbd does not keep who uses its devices")
      }
      try SmallFile.replace(
        arguments.directory + "/" + NetworkBlockDriver.record, with: Array(device.path.utf8), durably: false)
    } catch {
      try driver.disconnect(device)
      throw error
    }
    try waitForTheEnd(of: device, connection, driver)
  }

  private var handshake: TLSHandshake? {
    guard arguments.isSecured, case .host(let address, _) = arguments.place else { return nil }
    return TLSHandshake(directory: arguments.directory, address: address)
  }

  private func description(of export: Export, _ connection: ServerConnection) -> NetworkBlockDriver.Connection {
    NetworkBlockDriver.Connection(
      socket: connection.socket.number, sizeBytes: export.sizeBytes,
      // The kernel knows none below a sector.
      blockSizeBytes: max(512, UInt64(export.minimumBlockBytes)),
      flags: UInt64(export.flags) | (arguments.isReadOnly ? UInt64(NBD_FLAG_READ_ONLY) : 0),
      backend: arguments.backend)
  }

  /// When the server has closed the connection, or whoever started this says so.
  private func waitForTheEnd(
    of device: NetworkBlockDevice, _ connection: ServerConnection, _ driver: NetworkBlockDriver
  ) throws {
    let isWanted = try wait(for: connection.socket.number)
    // First, so that the kernel waits for nothing that it sends to a server that does not read.
    shutdown(connection.socket.number, CInt(SHUT_RDWR))
    // Somebody may have disconnected it, and somebody else may have it by now.
    guard device.backend() == arguments.backend else { return }
    if isWanted { return try driver.disconnect(device) }
    // The claim's name still leads here. While the device is open it is given to nobody else. What is under way has to end all the
    // same.
    let kept = try? FileDescriptor(opening: device.path, O_RDONLY | O_NONBLOCK)
    try driver.disconnect(device)
    _ = try wait(for: -1)
    withExtendedLifetime(kept) {}
  }

  /// - Returns: Whether whoever started this says so; false: the other end has closed the connection.
  private func wait(for socket: CInt) throws -> Bool {
    let result = iov_wait_for_end(socket)
    guard result >= 0 else { throw SystemCallError("wait for the end of a connection", errno: -result) }
    return result == 1
  }
}
