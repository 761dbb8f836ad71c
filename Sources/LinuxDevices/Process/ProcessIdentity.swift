import CLinux
import Glibc

/// Which process is meant, also after its number has been given to another one: the number, when it started, and in which
/// boot. It can be written to a file and read back by a later process.
public struct ProcessIdentity: Sendable, Hashable, LosslessStringConvertible {
  public let pid: pid_t
  /// In clock ticks since the machine's start: field 22 of /proc/PID/stat, see proc(5).
  public let startTimeTicks: UInt64
  public let bootID: String

  public static let currentBootID = SmallFile.text("/proc/sys/kernel/random/boot_id") ?? "unknown"

  /// The process that has this number now, if there is one and it has not ended. One that waits to be reaped has ended.
  public init?(of pid: pid_t) {
    guard let stat = SmallFile.text("/proc/\(pid)/stat"), let fields = Self.fieldsAfterName(stat),
      fields.count > 19, fields[0] != "Z", fields[0] != "X", let start = UInt64(fields[19])
    else { return nil }
    self.pid = pid
    startTimeTicks = start
    bootID = Self.currentBootID
  }

  /// As `description` writes it.
  public init?(_ description: String) {
    let parts = description.split(separator: " ")
    guard parts.count == 3, let pid = pid_t(parts[0]), pid > 0, let start = UInt64(parts[1]) else { return nil }
    self.pid = pid
    startTimeTicks = start
    bootID = String(parts[2])
  }

  public var description: String { "\(pid) \(startTimeTicks) \(bootID)" }

  /// Whether this very process still runs.
  public var isAlive: Bool { bootID == Self.currentBootID && ProcessIdentity(of: pid) == self }

  /// The name may hold spaces and parentheses: what follows its last parenthesis counts, from the state on.
  private static func fieldsAfterName(_ stat: String) -> [Substring]? {
    guard let end = stat.lastIndex(of: ")") else { return nil }
    return stat[stat.index(after: end)...].split(separator: " ")
  }
}
