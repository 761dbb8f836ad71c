import CLinux
import Glibc

/// A controller's character device (nvme0) or a namespace (nvme0n1) that commands are sent to.
///
/// The admin queue is reached by either, reads and writes (reservations among them) by a namespace only.
public struct NVMeDevice: NVMeTransport {
  public let name: String
  private let device: FileDescriptor

  public init(_ path: String) throws(SystemCallError) {
    // For reading only: whoever closes a disk after writing makes udev look at it anew. Root may send any command.
    device = try FileDescriptor(opening: path, O_RDONLY)
    name = path
  }

  public func execute(
    _ request: NVMeRequest, _ data: CommandData, timeout: Duration
  ) throws(NVMeFailure) -> NVMeAnswer {
    var buffer: [UInt8] =
      switch data {
      case .none: []
      case .receive(let most): [UInt8](repeating: 0, count: max(0, most))
      case .send(let bytes): bytes
      }
    guard let size = UInt32(exactly: buffer.count), request.words.count == 6 else {
      throw .system(
        SystemCallError("send \(buffer.count) bytes and \(request.words.count) words to \(name)", errno: EINVAL))
    }
    var command = iov_nvme_command()
    command.opcode = request.opcode
    command.namespace_id = request.namespace
    withUnsafeMutableBytes(of: &command.words_10_to_15) { $0.copyBytes(from: request.words.flatMap(Self.bytes)) }
    var result: UInt32 = 0
    let status = buffer.withUnsafeMutableBytes { bytes in
      iov_nvme_execute(
        device.number, request.queue == .admin ? 1 : 0, &command, bytes.baseAddress, size, timeout.wholeMilliseconds,
        &result)
    }
    guard status >= 0 else { throw .system(SystemCallError("send an NVMe command to \(name)", errno: -status)) }
    guard status == 0 else { throw .status(NVMeStatus(kernel: UInt32(status))) }
    if case .receive = data { return NVMeAnswer(result: result, data: buffer) }
    return NVMeAnswer(result: result)
  }

  /// In the machine's own order, as the kernel takes them.
  private static func bytes(_ word: UInt32) -> [UInt8] { withUnsafeBytes(of: word) { Array($0) } }
}
