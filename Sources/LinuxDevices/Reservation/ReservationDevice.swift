/// One path to a disk that knows persistent reservations. Calls block.
public protocol ReservationDevice: Sendable {
  /// What errors call it: "/dev/sdb".
  var name: String { get }
  func reservationCapabilities() throws(ReservationRefusal) -> ReservationCapabilities
  /// Registrations and reservation of one moment, not of two.
  func reservationState() throws(ReservationRefusal) -> ReservationState
  func change(_ change: ReservationChange) throws(ReservationRefusal)
}

/// What can be asked of a disk. `key` is always that of the path that asks.
public enum ReservationChange: Sendable, Hashable {
  /// Whatever this path's key was before. `persistently`: registrations and reservation outlive a loss of power.
  case register(ReservationKey, persistently: Bool)
  /// Refused if this path has another key already.
  case registerFirst(ReservationKey, persistently: Bool)
  case unregister(ReservationKey)
  case reserve(ReservationKey, ReservationType)
  case release(ReservationKey, ReservationType)
  /// All registrations and the reservation.
  case clear(ReservationKey)
  /// Takes the victim's registrations, and the reservation if it held that. With `aborting`, what it has under way ends first.
  case preempt(ReservationKey, victim: ReservationKey, ReservationType, aborting: Bool)

  /// "PREEMPT AND ABORT"
  public var name: String {
    switch self {
    case .register: "REGISTER AND IGNORE EXISTING KEY"
    case .registerFirst, .unregister: "REGISTER"
    case .reserve: "RESERVE"
    case .release: "RELEASE"
    case .clear: "CLEAR"
    case .preempt(_, _, _, let aborting): aborting ? "PREEMPT AND ABORT" : "PREEMPT"
    }
  }
}

/// How a disk, or the way to it, refused.
public enum ReservationRefusal: Error, Hashable {
  /// The disk will not, as registrations and reservation stand.
  case conflict
  /// It does not know the command, or not this form of it.
  case unsupported
  case noRoomForRegistration
  /// It was released by another type than the one that it has.
  case wrongTypeReleased
  /// Somebody changed registrations all the time while they were read.
  case unsteady
  /// Anything else. `isUnknown`: the change may have been made or not.
  case failed(String, isUnknown: Bool)
}

extension ReservationRefusal: CustomStringConvertible {
  public var description: String {
    switch self {
    case .conflict: "reservation conflict"
    case .unsupported: "the disk does not know the command"
    case .noRoomForRegistration: "the disk has no room for another registration"
    case .wrongTypeReleased: "a reservation is released by its own type only"
    case .unsteady: "registrations changed again and again while they were read"
    case .failed(let reason, _): reason
    }
  }
}
