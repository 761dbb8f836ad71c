import CLinux
import Glibc

/// A SCSI disk (sdX) or sg device that commands are sent to by SG_IO.
public struct SCSIPath: SCSITransport {
  public let name: String
  private let device: FileDescriptor

  /// - Parameter path: "/dev/sdb" or "/dev/sg1".
  public init(_ path: String) throws(SystemCallError) {
    // For reading only: udev looks at a disk anew whenever somebody closes it that had it open for writing. The kernel lets
    // root send any command. Without O_NONBLOCK an open waits for a medium, or for whoever has an sg device to themselves.
    device = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
    name = path
  }

  public func execute(
    _ command: [UInt8], _ data: CommandData, timeout: Duration
  ) throws(SCSIFailure) -> SCSIAnswer {
    guard let length = UInt8(exactly: command.count), (6...16).contains(length) else {
      throw .system(SystemCallError("send a command of \(command.count) bytes to \(name)", errno: EINVAL))
    }
    var buffer: [UInt8]
    let direction: iov_scsi_direction
    switch data {
    case .none: (buffer, direction) = ([], IOV_SCSI_NO_DATA)
    case .receive(let most): (buffer, direction) = ([UInt8](repeating: 0, count: max(0, most)), IOV_SCSI_FROM_DEVICE)
    case .send(let bytes): (buffer, direction) = (bytes, IOV_SCSI_TO_DEVICE)
    }
    guard let size = UInt32(exactly: buffer.count) else {
      throw .system(SystemCallError("move \(buffer.count) bytes to or from \(name)", errno: EINVAL))
    }
    var outcome = iov_scsi_outcome()
    let result = buffer.withUnsafeMutableBytes { bytes in
      iov_scsi_execute(
        device.number, command, length, direction, bytes.baseAddress, size, timeout.wholeMilliseconds, &outcome)
    }
    guard result >= 0 else { throw .system(SystemCallError("send a SCSI command to \(name)", errno: -result)) }
    let sense = withUnsafeBytes(of: outcome.sense) { SCSISense([UInt8]($0.prefix(Int(outcome.sense_length)))) }
    if let failure = SCSIFailure(
      status: outcome.status, host: outcome.host_status, driver: outcome.driver_status, sense: sense)
    {
      throw failure
    }
    if case .receive = data {
      return SCSIAnswer(data: Array(buffer.prefix(Int(outcome.transferred_bytes))), sense: sense)
    }
    return SCSIAnswer(sense: sense)
  }
}

extension Duration {
  /// At least one.
  var wholeMilliseconds: UInt32 {
    let (seconds, attoseconds) = components
    let milliseconds = max(0, min(seconds, 4_000_000)) * 1000 + attoseconds / 1_000_000_000_000_000
    return UInt32(clamping: max(1, milliseconds))
  }
}
