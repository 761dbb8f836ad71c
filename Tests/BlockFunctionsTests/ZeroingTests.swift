import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions

/// Whoever asks a disk of another host for zeroes gets them, or is refused: what was there never comes back.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct ZeroingTests {
  /// Ways of users to ask for them.
  enum Request: CaseIterable {
    case hole
    case zeroOut

    /// - Returns: Whether the device did it; false: it says that it does no such thing.
    func carryOut(on path: String, _ offset: Int, _ length: Int) throws -> Bool {
      let device = try FileDescriptor(opening: path, O_RDWR)
      let result =
        switch self {
        case .hole: iov_punch_hole(device.number, UInt64(offset), UInt64(length))
        case .zeroOut: iov_block_write_zeroes(device.number, UInt64(offset), UInt64(length))
        }
      guard result == 0 || result == -EOPNOTSUPP else { throw SystemCallError("\(self) on \(path)", errno: -result) }
      return result == 0
    }
  }

  @Test(arguments: [true, false]) func whatIsZeroedIsZeroOrWasRefused(takesDiscard: Bool) async throws {
    let disk = try TestDisk(takesDiscard: takesDiscard)
    let plugin = try await disk.plugin()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let served = try await plugin.serve(server)
    let consumer = try await disk.request(.consumer, on: plugin, serverPort: served.serverPort)
    let device = try #require(try await plugin.connect(consumer).arrival?.devicePath)
    let data = randomBytes(1 << 20)
    for (number, request) in Request.allCases.enumerated() {
      try await write(data, to: device, at: number << 20)
      let wasDone = try await BlockingThread.detached { try request.carryOut(on: device, number << 20, 1 << 20) }
      #expect(wasDone || request != .zeroOut, "\(request) is what every disk does")
      let expected = wasDone ? [UInt8](repeating: 0, count: data.count) : data
      #expect(try await read(device, at: number << 20, count: data.count) == expected, "\(request), done: \(wasDone)")
      #expect(try await read(disk.loop.path, at: number << 20, count: data.count) == expected, "\(request), behind")
    }
    _ = try await plugin.unserve(server)
    _ = try await plugin.disconnect(consumer)
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aClientThatWouldMakeHolesIsNotUsed() throws {
    // As nbdfuse is by itself; nothing fails here.
    let disk = try FailingDisk(.reads, atByte: 0)
    let file = try #require(SmallFile.text("/sys/block/\(disk.loop.path.dropFirst(5))/loop/backing_file"))
    let error = #expect(throws: PluginError.self) { try DiskGuard.checkRefusal(ofHolesIn: file) }
    #expect(error?.message.contains("could come back") == true)
  }
}
