import LinuxDevices
import Synchronization

/// What is found out about a disk by commands, or by many files.
struct DiskLook: Sendable {
  var labels: [String: String]
  var isMultiRoot: Bool
  /// Whether it erases all that it holds when it is told to.
  var sanitizes: Bool
  var report: DriveReport

  /// Throws when the disk does not say whether it knows reservations: whether hosts share it is nothing to be guessed.
  init(_ disk: DiskPaths, _ access: DiskAccess) throws {
    let transports = try access.transports(to: disk)
    let places = DiskPlaces(disk, access.sysfs)
    labels = places.labels
    isMultiRoot = try disk.paths.contains { $0.attachment.mayBeShared } && Self.keepsHostsApart(transports)
    // A SATA disk behind an adapter would be asked through a translation, and can stay locked when its power goes meanwhile.
    sanitizes = disk.paths.first?.vendor != "ATA" && SelfErasing(transports).isOffered
    report = DriveReport(asking: transports)
    report.linkErrors = places.linkErrors
  }

  /// Whether the disk can be kept for one host so that others neither write nor read.
  private static func keepsHostsApart(_ transports: [any SCSITransport]) throws -> Bool {
    do throws(ReservationError) {
      return try PersistentReservation(transports).capabilities().types?.contains(.exclusiveAccessRegistrantsOnly)
        ?? false
    } catch {
      guard case .unsupported = error.reason else { throw error }
      return false
    }
  }
}

/// The last look at each disk. Disks are described every few seconds; they are asked when a path comes or goes, when an
/// operator wants it, and else every ten minutes.
final class LookMemory: Sendable {
  private struct Entry {
    var look: DiskLook
    var stamps: Set<PathFinder.Stamp>
    var end: ContinuousClock.Instant
  }

  private static var lifetime: Duration { .seconds(600) }
  private let entries = Mutex<[DiskName: Entry]>([:])

  func look(at disk: DiskPaths, _ ask: () throws -> DiskLook) rethrows -> DiskLook {
    let now = ContinuousClock.now
    if let entry = entries.withLock({ $0[disk.name] }), entry.stamps == disk.stamps, entry.end > now {
      return entry.look
    }
    let look = try ask()
    entries.withLock { $0[disk.name] = Entry(look: look, stamps: disk.stamps, end: now + Self.lifetime) }
    return look
  }

  func forget(_ disk: DiskName) { entries.withLock { $0[disk] = nil } }
  func forgetAll() { entries.withLock { $0 = [:] } }
}
