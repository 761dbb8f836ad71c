import LinuxDevices

/// Registrations and reservation of a logical unit by the rules of SPC-4, 5.13, as a value.
public struct FakeReservations: Sendable {
  public typealias Nexus = String

  public enum Refusal: Error {
    case conflict
    case invalidRelease
    case noRoom
    case invalidParameter
  }

  /// In the order of registering.
  public private(set) var registrations: [(nexus: Nexus, key: UInt64)] = []
  public private(set) var holder: Nexus?
  public private(set) var type: ReservationType?
  public private(set) var generation: UInt32 = 0
  public private(set) var persists = false
  /// What each path is told before its next command is carried out.
  public var attentions: [Nexus: [SCSISense.AdditionalCode]] = [:]

  public func key(of nexus: Nexus) -> UInt64? { registrations.first { $0.nexus == nexus }?.key }

  func isHolder(_ nexus: Nexus) -> Bool {
    guard let type, key(of: nexus) != nil else { return false }
    return type.isHeldByAllRegistrants || holder == nexus
  }

  func admits(_ nexus: Nexus, writing: Bool) -> Bool {
    guard let type, writing || type.keepsReadersOut else { return true }
    return isHolder(nexus) || type.admitsRegistrants && key(of: nexus) != nil
  }

  // MARK: Changes

  mutating func register(
    _ nexus: Nexus, existing: UInt64?, new: UInt64, persists: Bool, room: Int
  ) throws(Refusal) {
    if let existing, existing != key(of: nexus) ?? 0 { throw .conflict }
    switch (registrations.firstIndex { $0.nexus == nexus }, new) {
    case (nil, 0): break
    case (nil, _):
      guard registrations.count < room else { throw .noRoom }
      registrations.append((nexus, new))
    case (let index?, 0):
      let wasHolder = isHolder(nexus)
      registrations.remove(at: index)
      if wasHolder, let type, !type.isHeldByAllRegistrants || registrations.isEmpty { end(type, telling: nexus) }
    case (let index?, _): registrations[index].key = new
    }
    self.persists = persists
    generation &+= 1
  }

  mutating func reserve(_ nexus: Nexus, _ key: UInt64, _ type: ReservationType) throws(Refusal) {
    try check(nexus, key)
    guard let standing = self.type else {
      (self.type, holder) = (type, nexus)
      return
    }
    guard isHolder(nexus), standing == type else { throw .conflict }
  }

  mutating func release(_ nexus: Nexus, _ key: UInt64, _ type: ReservationType) throws(Refusal) {
    try check(nexus, key)
    guard isHolder(nexus) else { return }
    guard self.type == type else { throw .invalidRelease }
    end(type, telling: nexus)
  }

  mutating func clear(_ nexus: Nexus, _ key: UInt64) throws(Refusal) {
    try check(nexus, key)
    let others = registrations.map(\.nexus).filter { $0 != nexus }
    (registrations, holder, type) = ([], nil, nil)
    tell(others, .reservationsPreempted)
    generation &+= 1
  }

  mutating func preempt(
    _ nexus: Nexus, _ key: UInt64, victim: UInt64, _ type: ReservationType
  ) throws(Refusal) {
    try check(nexus, key)
    let standing = self.type
    let takesReservation =
      standing.map { $0.isHeldByAllRegistrants ? victim == 0 : holder.flatMap { self.key(of: $0) } == victim } ?? false
    if victim == 0, !takesReservation { throw .invalidParameter }
    let removed = registrations.filter { $0.nexus != nexus && (victim == 0 || $0.key == victim) }.map(\.nexus)
    guard !removed.isEmpty || key == victim else { throw .conflict }
    registrations.removeAll { removed.contains($0.nexus) }
    if takesReservation {
      (self.type, holder) = (type, nexus)
      if standing != type { tell(registrations.map(\.nexus).filter { $0 != nexus }, .reservationsReleased) }
    }
    tell(removed, .registrationsPreempted)
    generation &+= 1
  }

  /// What a loss of power leaves.
  mutating func losePower() {
    tell(Array(Set(registrations.map(\.nexus)).union(attentions.keys)), .powerOnOrReset)
    generation = 0
    if !persists { (registrations, holder, type) = ([], nil, nil) }
  }

  private func check(_ nexus: Nexus, _ key: UInt64) throws(Refusal) {
    guard let registered = self.key(of: nexus), registered == key else { throw .conflict }
  }

  private mutating func end(_ type: ReservationType, telling nexus: Nexus) {
    (self.type, holder) = (nil, nil)
    if type.admitsRegistrants { tell(registrations.map(\.nexus).filter { $0 != nexus }, .reservationsReleased) }
  }

  private mutating func tell(_ nexuses: [Nexus], _ code: SCSISense.AdditionalCode) {
    for nexus in nexuses { attentions[nexus, default: []].append(code) }
  }
}
