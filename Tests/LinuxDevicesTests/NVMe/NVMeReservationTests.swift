import FakeDevices
import LinuxDevices
import Testing

@Suite struct NVMeReservationTests {
  private let drive = FakeNVMeDrive()
  private let keyA: ReservationKey
  private let keyB: ReservationKey

  init() throws {
    keyA = try #require(ReservationKey(0xa))
    keyB = try #require(ReservationKey(0xb))
    drive.addNamespace(1) { $0.attached = [0, 1] }
  }

  @Test(arguments: ReservationType.allCases)
  func aFencedHostWritesNoMoreWhateverTheTypeIs(_ type: ReservationType) throws {
    let (alpha, beta) = (drive.controller(0, host: "a"), drive.controller(1, host: "b"))
    let (a, b) = (PersistentReservation(namespace: 1, [alpha]), PersistentReservation(namespace: 1, [beta]))
    try a.register(keyA)
    try b.register(keyB)
    _ = try b.reserve(type, by: keyB)
    try beta.write(to: 1)
    let proof = try a.fence(keyB, by: keyA, type: type)
    #expect(proof.after.keys == [keyA] && proof.after.reservation?.type == type)
    #expect(proof.after.registrations.first?.initiator?.hasPrefix("host 61") == true)
    #expect(throws: NVMeError.self) { try beta.write(to: 1) }
    if type.keepsReadersOut {
      #expect(throws: NVMeError.self) { try beta.read(from: 1) }
    } else {
      try beta.read(from: 1)
    }
    try alpha.write(to: 1)
    try a.release(by: keyA)
    try a.unregister(keyA)
    #expect(try a.state().registrations.isEmpty)
    try beta.write(to: 1)
  }

  @Test func aDriveWithoutReservationsSaysSo() throws {
    drive.adjust { $0.knowsReservations = false }
    let disk = PersistentReservation(namespace: 1, [drive.controller()])
    do {
      try disk.register(keyA)
      Issue.record("it registered")
    } catch {
      #expect(error.reason == .unsupported("to register \(keyA)"))
    }
  }

  @Test func whatTheDriveCanIsTold() throws {
    drive.adjust { $0.types = [.writeExclusiveRegistrantsOnly] }
    let disk = PersistentReservation(namespace: 1, [drive.controller()])
    #expect(try disk.capabilities().types == [.writeExclusiveRegistrantsOnly])
    try disk.register(keyA, persistently: true)
    #expect(try disk.capabilities().persists)
    #expect(throws: ReservationError.self) { try disk.reserve(.exclusiveAccess, by: keyA) }
  }

  @Test func manyRegistrationsAreReadToTheEnd() throws {
    for number in 1...60 as ClosedRange<UInt64> {
      let host = PersistentReservation(namespace: 1, [drive.controller(0, host: "h\(number)")])
      try host.register(try #require(ReservationKey(number)))
    }
    let limited = FakeNVMeDrive()
    limited.addNamespace(1)
    #expect(try PersistentReservation(namespace: 1, [drive.controller()]).state().registrations.count == 60)
    #expect(try PersistentReservation(namespace: 1, [limited.controller()]).state().registrations.isEmpty)
  }

  @Test func aDriveThatWantsAHostIdentifierIsQuoted() {
    // Host identifier not set: command sequence error.
    drive.adjust { $0.failures[0x0d] = [.status(NVMeStatus(type: 0, code: 0x0c))] }
    do {
      try PersistentReservation(namespace: 1, [drive.controller()]).register(keyA)
      Issue.record("it registered")
    } catch {
      #expect(error.description.contains("Reservation Register on /dev/nvme0: status 0/0c"))
    }
  }
}
