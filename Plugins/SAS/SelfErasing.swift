import FunctionPluginKit
import Glibc
import LinuxDevices

/// A disk that erases all that it holds, by SANITIZE: this logical unit, and no other of the same device.
struct SelfErasing {
  /// The quickest first. What the last one leaves is noise, all of which has to be overwritten after it.
  private static let preferred: [SanitizeUnit.Action] = [.blockErase, .overwrite, .cryptographicErase]
  private let paths: [any SCSITransport]

  init(_ paths: [any SCSITransport]) { self.paths = paths }

  /// A disk that another host has to itself may refuse to say; it is asked again when it is to erase itself.
  var isOffered: Bool {
    guard let path = paths.first else { return false }
    do throws(SCSIError) { return try Self.action(path) != nil } catch { return error.failure == .reservationConflict }
  }

  /// By which action; nil: the disk knows none.
  private static func action(_ path: any SCSITransport) throws(SCSIError) -> SanitizeUnit.Action? {
    for action in preferred {
      do throws(SCSIError) {
        if try path.send(ReportSupportedOperation(action)) { return action }
      } catch {
        // Of a command that a disk does not have it may say so, or refuse the question.
        guard error.failure.isUnsupported else { throw error }
      }
    }
    return nil
  }

  /// Returns when the disk has erased itself. One that is at it already, by an earlier request of ours or another's, is waited
  /// for: it erases all there is.
  ///
  /// - Parameter progress: is told each percent once.
  func carryOut(pause: Duration, progress: (_ percent: Int) -> Void) throws {
    guard let path = paths.first else { throw PluginError(.unavailable, "No path leads to the disk just now.") }
    if try erasing(path) == nil {
      guard let action = try Self.action(path) else {
        throw PluginError(
          .failedPrecondition,
          "\(path.name) does not erase itself (it knows no SANITIZE): set scrub: zero for this end node.")
      }
      try path.send(SanitizeUnit(action))
    }
    var told = -1
    while let percent = try erasing(path) {
      if percent > told { progress(percent) }
      told = max(told, percent)
      usleep(UInt32(clamping: Int64(pause / .microseconds(1))))
    }
    do throws(SCSIError) {
      try path.send(TestUnitReady())
    } catch {
      guard error.failure.sense?.code == .sanitizeFailed else { throw error }
      throw PluginError(
        .dataLoss, "The disk could not erase itself, and gives out nothing that it holds until it has: \(error)")
    }
  }

  /// How far it is, in percent; nil: it is not at it. A disk need not say how far.
  private func erasing(_ path: any SCSITransport) throws(SCSIError) -> Int? {
    var sense = try path.send(RequestSense())
    // What has happened to the path is told first, each thing once; there are about ten.
    for _ in 0..<12 where sense.key == .unitAttention { sense = try path.send(RequestSense()) }
    return sense.code == .sanitizeInProgress ? Int((sense.progress ?? 0) * 100) : nil
  }
}
