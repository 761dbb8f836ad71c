import Glibc
import LinuxDevices
import Services

/// A device that several hosts see, as it keeps them apart itself: a directory that the plugins of several agents share. It says
/// who may write, under which token, and what was wiped by whom.
struct TestDevice {
  let directory: String
  let host: String
  static let sizeBytes: UInt64 = 1 << 30

  /// From the words "device=DIRECTORY" and "host=NAME"; nil: the device is this host's alone.
  init?(_ words: [String]) {
    let values = ["device=", "host="].map { name in
      words.first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
    }
    guard let directory = values[0], let host = values[1] else { return nil }
    (self.directory, self.host) = (directory, host)
  }

  private struct Holder: Equatable {
    var host: String
    var token: UInt64
  }

  private var holder: Holder? {
    let words = (try? Files.read(directory + "/holder"))?.split(separator: " ").map(String.init) ?? []
    guard words.count == 2, let token = UInt64(words[1]) else { return nil }
    return Holder(host: words[0], token: token)
  }

  func isHeld(under token: UInt64) -> Bool { holder == Holder(host: host, token: token) }

  /// Keeps it for this host. Whoever has it under a lower token is cut off.
  func seize(under token: UInt64) throws {
    try withLock {
      if let holder, holder.token > token || (holder.token == token && holder.host != host) {
        var error = RPCError(
          .failedPrecondition, "the device is held under token \(holder.token), and not under \(token)")
        error.metadata.add("iov-highest-token", .text("\(holder.token)"))
        throw error
      }
      try Files.write("\(host) \(token)", to: directory + "/holder")
    }
  }

  /// Where nobody has the whole of it under a higher token.
  func takeControl(under token: UInt64) throws {
    if holder.map({ $0.token < token }) ?? true { try seize(under: token) }
  }

  func letGo(under token: UInt64) throws {
    try withLock {
      if isHeld(under: token) { unlink(directory + "/holder") }
    }
  }

  /// Only whom it is held for can write to it.
  func wipe(_ function: String, under token: UInt64) throws {
    try withLock {
      guard isHeld(under: token) else {
        throw RPCError(.failedPrecondition, "the device takes no write of \(host) under token \(token)")
      }
      let before = (try? Files.read(directory + "/wiped")) ?? ""
      try Files.write("\(before)\(function) by \(host)\n", to: directory + "/wiped")
    }
  }

  private func withLock(_ body: () throws -> Void) throws {
    let lock = try FileDescriptor(opening: directory + "/lock", O_RDWR | O_CREAT | O_CLOEXEC)
    guard flock(lock.number, LOCK_EX) == 0 else { throw RPCError(.internalError, "flock: \(errno)") }
    try body()
  }
}
