import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices

/// Writes zeroes over an extent and reads some of them back. Its methods block.
struct ExtentScrubber: Sendable {
  /// Small enough for progress on a slow disk, large enough for a fast one's commands.
  static let chunkBytes: UInt64 = 64 << 20
  private static let sampleBytes = 4096
  let disk: String
  let extent: AllocatedExtent

  init(_ part: FunctionExtent) {
    disk = part.disk.device
    extent = part.extent
  }

  /// Cleans the part of the extent that begins at `start`; answers where the next one begins.
  func scrubChunk(from start: UInt64) throws -> UInt64 {
    let device = try FileDescriptor(opening: disk, O_RDWR)
    let count = min(Self.chunkBytes, extent.sizeBytes - start)
    // The kernel may discard instead where the device promises zeroes for what was discarded.
    let result = iov_block_write_zeroes(device.number, extent.offsetBytes + start, count)
    guard result == 0 else { throw SystemCallError("write zeroes to \(disk)", errno: -result) }
    try sample(device, start: start, count: count)
    return start + count
  }

  func flush() throws {
    let device = try FileDescriptor(opening: disk, O_RDWR)
    guard fsync(device.number) == 0 else { throw SystemCallError("flush \(disk)", errno: errno) }
  }

  /// The first, the last and some blocks between, past the page cache.
  private func sample(_ device: FileDescriptor, start: UInt64, count: UInt64) throws {
    let opened = iov_open_direct(disk)
    guard opened >= 0 else { throw SystemCallError("open \(disk) past the page cache", errno: -opened) }
    let direct = FileDescriptor(owning: opened)
    let block = UInt64(Self.sampleBytes)
    let last = (count - block) / block
    for offset in Set([0, last / 3, last / 2, last]).sorted().map({ extent.offsetBytes + start + $0 * block }) {
      try withUnsafeTemporaryAllocation(byteCount: Self.sampleBytes, alignment: Self.sampleBytes) { buffer in
        let read = pread(direct.number, buffer.baseAddress, buffer.count, off_t(offset))
        guard read == Self.sampleBytes else {
          throw SystemCallError("read \(disk) at \(offset)", errno: read < 0 ? errno : EIO)
        }
        guard buffer.allSatisfy({ $0 == 0 }) else {
          throw PluginError(.dataLoss, "\(disk) does not hold zeroes at \(offset) although they were written.")
        }
      }
    }
  }
}
