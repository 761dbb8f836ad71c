/// What a host registers with a disk, to be told from others by: never zero, which stands for "none".
public struct ReservationKey: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let value: UInt64

  public init?(_ value: UInt64) {
    guard value != 0 else { return nil }
    self.value = value
  }

  /// "0x00000a0b0c0d0e0f", as sg_persist writes it.
  public var description: String { "0x" + hexadecimal(value, digits: 16) }

  public static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// Whom a reservation keeps out (SPC-4, 5.13.4; NVMe base specification, "Reservations").
public enum ReservationType: Sendable, Hashable, CaseIterable {
  case writeExclusive
  case exclusiveAccess
  /// Does not keep anybody from reading.
  case writeExclusiveRegistrantsOnly
  case exclusiveAccessRegistrantsOnly
  case writeExclusiveAllRegistrants
  case exclusiveAccessAllRegistrants

  /// Whether those that are not let in may not read either.
  public var keepsReadersOut: Bool {
    switch self {
    case .exclusiveAccess, .exclusiveAccessRegistrantsOnly, .exclusiveAccessAllRegistrants: true
    case .writeExclusive, .writeExclusiveRegistrantsOnly, .writeExclusiveAllRegistrants: false
    }
  }

  /// Whether every registered path is let in; otherwise the holder's path alone.
  public var admitsRegistrants: Bool { self != .writeExclusive && self != .exclusiveAccess }

  /// Whether each registrant holds it, and it ends with the last of them. The other types end with their holder.
  public var isHeldByAllRegistrants: Bool {
    self == .writeExclusiveAllRegistrants || self == .exclusiveAccessAllRegistrants
  }

  public var scsiCode: UInt8 {
    switch self {
    case .writeExclusive: 1
    case .exclusiveAccess: 3
    case .writeExclusiveRegistrantsOnly: 5
    case .exclusiveAccessRegistrantsOnly: 6
    case .writeExclusiveAllRegistrants: 7
    case .exclusiveAccessAllRegistrants: 8
    }
  }

  public init?(scsiCode: UInt8) {
    guard let type = Self.allCases.first(where: { $0.scsiCode == scsiCode }) else { return nil }
    self = type
  }
}

extension ReservationType: CustomStringConvertible {
  public var description: String {
    switch self {
    case .writeExclusive: "write exclusive"
    case .exclusiveAccess: "exclusive access"
    case .writeExclusiveRegistrantsOnly: "write exclusive, registrants only"
    case .exclusiveAccessRegistrantsOnly: "exclusive access, registrants only"
    case .writeExclusiveAllRegistrants: "write exclusive, all registrants"
    case .exclusiveAccessAllRegistrants: "exclusive access, all registrants"
    }
  }
}

/// What a disk can do of all this.
public struct ReservationCapabilities: Sendable, Hashable {
  /// Nil: the disk does not say.
  public var types: Set<ReservationType>?
  /// Whether registrations and the reservation can outlive a loss of power, and whether they do now.
  public var canPersist: Bool
  public var persists: Bool

  public init(types: Set<ReservationType>?, canPersist: Bool, persists: Bool) {
    self.types = types
    self.canPersist = canPersist
    self.persists = persists
  }
}

/// Who is registered with a disk, and what is reserved.
public struct ReservationState: Sendable, Hashable {
  /// Counts registering, pre-empting and clearing, not reserving and releasing, and starts anew with the disk.
  public var generation: UInt32
  /// One for each path that is registered, in the disk's order: a host with two paths is here twice, by the same key.
  public var registrations: [Registration]
  public var reservation: Reservation?

  public struct Registration: Sendable, Hashable {
    public var key: ReservationKey
    /// Nil: the disk did not say.
    public var isHolder: Bool?
    /// Whose path it is, as the disk names it: "sas 5000c50000000001", "iqn.… isid …", an NVMe host identifier; nil: it did
    /// not say.
    public var initiator: String?

    public init(key: ReservationKey, isHolder: Bool? = nil, initiator: String? = nil) {
      self.key = key
      self.isHolder = isHolder
      self.initiator = initiator
    }
  }

  public struct Reservation: Sendable, Hashable {
    public var type: ReservationType
    /// Nil where all registrants hold it.
    public var holder: ReservationKey?

    public init(type: ReservationType, holder: ReservationKey?) {
      self.type = type
      self.holder = holder
    }
  }

  public init(generation: UInt32, registrations: [Registration], reservation: Reservation? = nil) {
    self.generation = generation
    self.registrations = registrations
    self.reservation = reservation
  }

  public var keys: Set<ReservationKey> { Set(registrations.map(\.key)) }

  public func isRegistered(_ key: ReservationKey) -> Bool { registrations.contains { $0.key == key } }

  /// Whether the one with this key may write under the reservation that there is.
  public func holds(_ key: ReservationKey) -> Bool {
    guard let reservation, isRegistered(key) else { return false }
    return reservation.type.admitsRegistrants || reservation.holder == key
  }
}

extension ReservationState: CustomStringConvertible {
  /// "generation 7, registered 0x…1, 0x…2; reserved write exclusive, registrants only by 0x…1"
  public var description: String {
    let registered =
      keys.isEmpty ? "nobody registered" : "registered " + keys.sorted().map { "\($0)" }.joined(separator: ", ")
    return "generation \(generation), \(registered); \(reservation.map { "\($0)" } ?? "not reserved")"
  }
}

extension ReservationState.Reservation: CustomStringConvertible {
  public var description: String { "reserved \(type)" + (holder.map { " by \($0)" } ?? "") }
}
