import FakeDevices
import LinuxDevices
import Testing

/// What a disk may refuse, and what somebody else may have done: each its own error.
@Suite struct ReservationRefusalTests {
  private let key: ReservationKey
  private let other: ReservationKey

  init() throws {
    key = try #require(ReservationKey(0xa))
    other = try #require(ReservationKey(0xb))
  }

  private func reason(_ body: () throws -> Void) -> ReservationError.Reason? {
    do {
      try body()
      return nil
    } catch let error as ReservationError {
      #expect(error.description.contains("/dev/"))
      return error.reason
    } catch {
      return nil
    }
  }

  @Test func aDiskWithoutReservationsSaysSo() {
    let disk = PersistentReservation([FakeSCSITarget { $0.knowsReservations = false }.path("a")])
    #expect(reason { _ = try disk.state() } == .unsupported("to list its keys"))
    #expect(reason { try disk.register(key) } == .unsupported("to register \(key)"))
    #expect(reason { _ = try disk.capabilities() } == .unsupported("to report its capabilities"))
  }

  @Test func aTypeThatTheDiskDoesNotKnowIsNotAskedFor() {
    let target = FakeSCSITarget { $0.types = [.writeExclusive] }
    let disk = PersistentReservation([target.path("a")])
    #expect(
      reason {
        try disk.register(key)
        _ = try disk.reserve(.exclusiveAccess, by: key)
      } == .typeUnsupported(.exclusiveAccess, offered: [.writeExclusive]))
    #expect(target.reservations.type == nil)
  }

  @Test func aDiskThatIsFullOfRegistrationsSaysSo() {
    let target = FakeSCSITarget { $0.registrationRoom = 1 }
    #expect(reason { try PersistentReservation([target.path("b")]).register(other) } == nil)
    #expect(reason { try PersistentReservation([target.path("a")]).register(key) } == .noRoomForRegistration)
  }

  @Test func keysOfStrangersAreNamed() throws {
    let target = FakeSCSITarget()
    let disk = PersistentReservation([target.path("a")])
    try PersistentReservation([target.path("b")]).register(other)
    try disk.register(key)
    guard case .foreignKeys([other], _)? = reason({ try disk.checkForeignKeys(knowing: [key]) }) else {
      Issue.record("they went unnoticed")
      return
    }
    try disk.checkForeignKeys(knowing: [key, other])
  }

  @Test func withoutAPathThereIsAnError() {
    #expect(throws: ReservationError("the disk", .noPath)) { try PersistentReservation(paths: []).register(key) }
  }

  @Test func manyUnitAttentionsAreHeardAndTheCommandIsCarriedOut() throws {
    let target = FakeSCSITarget()
    let path = target.path("a")
    for _ in 0..<8 { target.push(.capacityChanged, to: "a") }
    var heard: [SCSISense.AdditionalCode] = []
    _ = try path.send(PersistentReserveIn.readKeys()) { heard.append($0.code) }
    #expect(heard == [.powerOnOrReset] + [SCSISense.AdditionalCode](repeating: .capacityChanged, count: 8))
  }

  @Test func aPathThatOnlyTellsOfAttentionsEndsInOne() {
    let target = FakeSCSITarget()
    let path = target.path("a")
    for _ in 0..<50 { target.push(.powerOnOrReset, to: "a") }
    #expect(throws: SCSIError.self) { try path.send(PersistentReserveIn.readKeys()) }
  }

  @Test func whatAPreemptedPathIsToldIsHeard() throws {
    let target = FakeSCSITarget()
    let path = target.path("b")
    let (a, b) = (PersistentReservation([target.path("a")]), PersistentReservation([path]))
    try a.register(key)
    try b.register(other)
    _ = try a.fence(other, by: key, type: .writeExclusiveRegistrantsOnly)
    var heard: [SCSISense.AdditionalCode] = []
    _ = try path.send(PersistentReserveIn.readKeys()) { heard.append($0.code) }
    #expect(heard == [.registrationsPreempted])
  }

  /// Of more paths than a command can ask for with their names, the keys are read.
  @Test(arguments: [(500, true), (1500, false)])
  func manyRegistrationsAreReadToTheEnd(count: UInt64, named: Bool) throws {
    let target = FakeSCSITarget { $0.registrationRoom = 2000 }
    for number in 1...count {
      try PersistentReservation.registering(number, on: target.path("h\(number)"))
    }
    let state = try PersistentReservation([target.path("a")]).state()
    #expect(state.registrations.count == Int(count))
    #expect(Set(state.registrations.compactMap(\.initiator)).count == (named ? Int(count) : 0))
    guard named else { return }
    #expect(state.registrations.first?.initiator == "iqn.2001-04.example:h1 session 0001")
  }

  @Test func registrationsThatChangeAllTheTimeAreReadAsAFailure() throws {
    let target = FakeSCSITarget()
    let noisy = target.path("noisy")
    // What is left of it holds the disk that has it.
    defer { target.adjust { $0.faults = [] } }
    target.fault(
      .init(0x5e, action: 1, on: "a", .comesAfter { try? PersistentReservation.registering(7, on: noisy) }, times: 100))
    let disk = PersistentReservation([target.path("a")])
    #expect(throws: ReservationError.self) { try disk.state() }
  }

  @Test func whatIsRegisteredPersistentlyOutlivesALossOfPower() throws {
    for persistently in [true, false] {
      let target = FakeSCSITarget()
      let disk = PersistentReservation([target.path("a")])
      try disk.register(key, persistently: persistently)
      _ = try disk.reserve(.writeExclusiveRegistrantsOnly, by: key)
      #expect(try disk.capabilities().persists == persistently)
      target.losePower()
      #expect(try disk.state().holds(key) == persistently)
    }
  }

  @Test func aDiskThatCannotPersistIsNotAskedTo() throws {
    let target = FakeSCSITarget { $0.canPersist = false }
    let disk = PersistentReservation([target.path("a")])
    try disk.register(key)
    #expect(try !disk.capabilities().persists)
  }

  @Test func leavingTakesEveryPathAndNobodyElse() throws {
    let target = FakeSCSITarget()
    let disk = PersistentReservation([target.path("a"), target.path("a2")])
    try PersistentReservation([target.path("b")]).register(other)
    try disk.register(key)
    _ = try disk.reserve(.writeExclusiveAllRegistrants, by: key)
    try disk.unregister(key)
    #expect(target.reservations.registrations.map(\.nexus) == ["b"])
    #expect(target.reservations.type == .writeExclusiveAllRegistrants)
    try disk.unregister(key)
  }

  @Test func releaseAndClearAreReadBack() throws {
    let target = FakeSCSITarget()
    let disk = PersistentReservation([target.path("a")])
    try disk.register(key)
    _ = try disk.reserve(.exclusiveAccess, by: key)
    try disk.release(by: key)
    try disk.release(by: key)
    #expect(try disk.state().reservation == nil)
    try disk.clear(by: key)
    #expect(try disk.state().registrations.isEmpty)
  }
}

extension PersistentReservation {
  /// By the device alone: without reading back, which takes long on a thousand paths.
  fileprivate static func registering(_ number: UInt64, on path: FakeSCSITarget.Path) throws {
    guard let key = ReservationKey(number) else { return }
    try SCSIReservationDevice(path).change(.register(key, persistently: false))
  }
}
