import FunctionPluginKit
import LinuxDevices
import Services
import Synchronization

/// What a drive says of itself and of one of its namespaces, by commands.
struct DriveLook: Sendable {
  var controller: NVMeControllerData
  var namespace: NVMeNamespaceData
  var health: Health
  /// Whether the drive erases the namespace when it is told to, and nothing else.
  var erasesItAlone: Bool

  init(_ drive: any NVMeTransport, namespace number: UInt32) throws {
    controller = try drive.send(Identify.controller)
    namespace = try drive.send(Identify.allocatedOrActive(number, of: controller))
    erasesItAlone = controller.hasFormat
    if controller.hasFormat, controller.erasesAllNamespaces || controller.formatsAllNamespaces {
      erasesItAlone = try drive.send(controller.allNamespaces).elementsEqual([number])
    }
    do {
      health = try drive.send(GetLogPage.health).health
    } catch {
      health = Health {
        $0.state = .unknown
        $0.message = "\(error)"
      }
    }
  }

  /// Whether the namespace can be kept for one of several hosts so that others neither write nor read.
  var keepsHostsApart: Bool {
    controller.hasReservations && namespace.isShared
      && namespace.reservationTypes.contains(.exclusiveAccessRegistrantsOnly)
  }
}

extension NVMeControllerData {
  /// A drive that does not manage namespaces knows none but those that are attached.
  var allNamespaces: Identify<[UInt32]> { hasNamespaceManagement ? .allocatedNamespaces() : .activeNamespaces() }
}

extension Identify where Answer == NVMeNamespaceData {
  /// A drive that does not manage namespaces knows none but those that are attached.
  static func allocatedOrActive(_ number: UInt32, of controller: NVMeControllerData) -> Self {
    controller.hasNamespaceManagement ? .allocatedNamespace(number) : .namespace(number)
  }
}

extension NVMeHealth {
  /// What makes a drive one that nobody should be given; heat alone passes.
  var health: Health {
    var complaints: [String] = []
    if warnings.contains(.unreliable) { complaints.append("the drive says that it is not reliable any more") }
    if warnings.contains(.readOnly) { complaints.append("the drive takes no writes any more") }
    if warnings.contains(.spareLow) || availableSparePercent < spareThresholdPercent {
      complaints.append(
        "\(availableSparePercent) % of its spare blocks are left; \(spareThresholdPercent) % is the least")
    }
    if warnings.contains(.memoryBackupFailed) {
      complaints.append("its cache does not outlive a loss of power any more")
    }
    if warnings.contains(.persistentMemoryUnreliable) { complaints.append("its persistent memory is not reliable") }
    let isUnhealthy = !complaints.isEmpty
    if warnings.contains(.temperature) { complaints.append("it has \(celsius) °C, which is beyond what it bears") }
    return Health {
      $0.state = isUnhealthy ? .unhealthy : .healthy
      $0.message = complaints.joined(separator: "; ")
    }
  }
}

/// The last look at each namespace. Disks are described every few seconds; they are asked every five minutes, or when an
/// operator wants it.
final class LookMemory: Sendable {
  private struct Entry {
    var look: DriveLook
    var end: ContinuousClock.Instant
  }

  private static var lifetime: Duration { .seconds(300) }
  /// A drive that does not answer lets whoever asks wait for a minute.
  private static var pauseAfterFailure: Duration { .seconds(60) }
  private let entries = Mutex<[String: Entry]>([:])

  /// - Throws: when the drive does not answer and never did: whether hosts share it is nothing to be guessed.
  func look(at identity: String, _ ask: () throws -> DriveLook) throws -> DriveLook {
    let now = ContinuousClock.now
    let known = entries.withLock { $0[identity] }
    if let known, known.end > now { return known.look }
    let entry: Entry
    do {
      entry = Entry(look: try ask(), end: now + Self.lifetime)
    } catch {
      guard var look = known?.look else { throw error }
      look.health = Health {
        $0.state = .unhealthy
        $0.message = "\(error)"
      }
      entry = Entry(look: look, end: now + Self.pauseAfterFailure)
    }
    entries.withLock { $0[identity] = entry }
    return entry.look
  }

  func forgetAll() { entries.withLock { $0 = [:] } }
}
