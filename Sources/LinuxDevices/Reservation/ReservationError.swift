/// Why registrations and reservation of a disk are not as was asked.
public struct ReservationError: Error, Hashable, CustomStringConvertible {
  public var device: String
  public var reason: Reason

  public init(_ device: String, _ reason: Reason) {
    self.device = device
    self.reason = reason
  }

  public enum Reason: Sendable, Hashable {
    /// The disk knows no persistent reservations, or not this part of them.
    case unsupported(String)
    case typeUnsupported(ReservationType, offered: Set<ReservationType>)
    case noRoomForRegistration
    /// This path has, or this host's paths have, no registration by that key: it was never made, or somebody fenced us.
    case notRegistered(ReservationKey, ReservationState)
    /// Somebody else holds the disk.
    case heldByAnother(ReservationState.Reservation, ReservationState)
    /// There is a reservation, and it is less or something else than what was asked for.
    case anotherType(ReservationState.Reservation, wanted: ReservationType)
    /// A host would fence itself.
    case victimIsSelf(ReservationKey)
    /// Somebody registered these of whom the caller knows nothing.
    case foreignKeys([ReservationKey], ReservationState)
    /// The disk refused, and what it says of its state does not tell why.
    case conflict(String)
    /// What was asked is not what the disk says afterwards.
    case unproven(String, ReservationState)
    /// The path failed. `isUnknown`: the change may have been made or not; ask again by another path.
    case failed(String, isUnknown: Bool)
    case noPath
  }

  public var description: String {
    switch reason {
    case .unsupported(let what):
      "\(device) refuses \(what): it does not know persistent reservations, so it cannot be shared directly by several hosts; "
        + "serve it from one"
    case .typeUnsupported(let type, let offered):
      "\(device) knows no reservation of the type '\(type)'; it knows "
        + (offered.isEmpty
          ? "none" : ReservationType.allCases.filter(offered.contains).map { "'\($0)'" }.joined(separator: ", "))
    case .noRoomForRegistration:
      "\(device) has no room for another registration; remove those of hosts that are gone"
    case .notRegistered(let key, let state):
      "\(device) has no registration by the key \(key) (\(state)); register it again if this host may still use the disk"
    case .heldByAnother(let reservation, let state):
      "\(device) is \(reservation), which is not the one that was expected (\(state)); release it there, or fence that key by name"
    case .anotherType(let reservation, let wanted):
      "\(device) is \(reservation), and '\(wanted)' was asked for; release it first"
    case .victimIsSelf(let key): "\(key) is this host's own key on \(device); it cannot fence itself"
    case .foreignKeys(let keys, let state):
      "\(device) has keys that nobody here registered: \(keys.map { "\($0)" }.joined(separator: ", ")) (\(state)); if no other "
        + "cluster uses the disk, remove them there or with `sg_persist`"
    case .conflict(let what): "\(device) refused \(what) with a reservation conflict; read its state again"
    case .unproven(let what, let state): "\(device): \(what) (\(state))"
    case .failed(let text, let isUnknown):
      isUnknown ? "\(text); read the state again, by another path if there is one" : text
    case .noPath: "there is no path to \(device)"
    }
  }
}
