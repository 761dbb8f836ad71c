import FakeDevices
import LinuxDevices
import Testing

@Suite struct PersistentReservationTests {
  private let target = FakeSCSITarget()
  private let alpha: FakeSCSITarget.Path
  private let beta: FakeSCSITarget.Path
  private let keyA: ReservationKey
  private let keyB: ReservationKey

  init() throws {
    alpha = target.path("a")
    beta = target.path("b")
    keyA = try #require(ReservationKey(0xa))
    keyB = try #require(ReservationKey(0xb))
  }

  private func hold(_ type: ReservationType = .writeExclusiveRegistrantsOnly) throws -> (
    PersistentReservation, PersistentReservation
  ) {
    let (a, b) = (PersistentReservation([alpha]), PersistentReservation([beta]))
    try a.register(keyA)
    try b.register(keyB)
    _ = try b.reserve(type, by: keyB)
    return (a, b)
  }

  @Test(arguments: ReservationType.allCases)
  func aFencedHostWritesNoMoreWhateverTheTypeIs(_ type: ReservationType) throws {
    let (a, _) = try hold(type)
    try beta.write(1, block: 3)
    let proof = try a.fence(keyB, by: keyA, type: type)
    #expect(proof.wasRegistered)
    #expect(proof.after.keys == [keyA])
    #expect(proof.after.reservation?.type == type)
    #expect(throws: SCSIError.self) { try beta.write(2, block: 3) }
    if type.keepsReadersOut {
      #expect(throws: SCSIError.self) { try beta.read(block: 3) }
    } else {
      #expect(try beta.read(block: 3) == 1)
    }
    try alpha.write(4, block: 3)
    #expect(try alpha.read(block: 3) == 4)
  }

  @Test func anUnregisteredWriteIsAReservationConflict() throws {
    _ = try hold()
    let stranger = target.path("c")
    do {
      try stranger.write(9, block: 0)
      Issue.record("it was let in")
    } catch {
      #expect(error.failure == .reservationConflict)
    }
    #expect(try stranger.read(block: 0) == 0)
  }

  @Test func fencingWithoutAReservationMakesOneFirst() throws {
    let (a, b) = (PersistentReservation([alpha]), PersistentReservation([beta]))
    try a.register(keyA)
    try b.register(keyB)
    let proof = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
    #expect(proof.after.reservation == .init(type: .writeExclusiveRegistrantsOnly, holder: keyA))
    #expect(throws: SCSIError.self) { try beta.write(1, block: 0) }
  }

  @Test func otherRegistrantsStayWhenOneIsFenced() throws {
    let (a, _) = try hold()
    let keyC = try #require(ReservationKey(0xc))
    let gamma = target.path("c")
    let c = PersistentReservation([gamma])
    try c.register(keyC)
    // The victim holds the reservation; a host that does not hold it takes it over.
    _ = try c.fence(keyB, by: keyC, type: .writeExclusiveRegistrantsOnly)
    try alpha.write(1, block: 0)
    try gamma.write(2, block: 1)
    // And one is fenced by a registrant that is not the holder.
    let proof = try a.fence(keyC, by: keyA, type: .writeExclusiveRegistrantsOnly)
    #expect(proof.after.reservation?.holder == keyA)
    #expect(throws: SCSIError.self) { try gamma.write(2, block: 1) }
  }

  @Test func aVictimThatIsGoneAlreadyIsFencedAndTheProofSaysSo() throws {
    let (a, b) = try hold()
    _ = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
    let proof = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
    #expect(!proof.wasRegistered)
    // It cannot act under its former registration.
    #expect(throws: ReservationError.self) { try b.reserve(.writeExclusiveRegistrantsOnly, by: keyB) }
    #expect(throws: ReservationError.self) { try b.registerAgain(keyB) }
    #expect(target.reservations.key(of: "b") == nil)
  }

  @Test func bothPathsOfAVictimAreTaken() throws {
    let (a, _) = try hold()
    let second = target.path("b2")
    try PersistentReservation([beta, second]).register(keyB)
    try second.write(1, block: 0)
    let proof = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
    #expect(proof.before.registrations.count == 3)
    #expect(throws: SCSIError.self) { try second.write(1, block: 0) }
    #expect(throws: SCSIError.self) { try beta.write(1, block: 0) }
  }

  @Test func aPathThatComesBackIsRegisteredAgainWhileAnotherOneHoldsTheKey() throws {
    let second = target.path("a2")
    let a = PersistentReservation([alpha, second])
    target.fault(.init(0x5f, on: "a2", .fails(.path(host: 0x01, driver: 0))))
    #expect(try a.register(keyA).keys.sorted() == ["/dev/a2"])
    _ = try a.reserve(.writeExclusiveRegistrantsOnly, by: keyA)
    #expect(throws: SCSIError.self) { try second.write(1, block: 0) }
    #expect(try a.registerAgain(keyA).isEmpty)
    try second.write(1, block: 0)
  }

  @Test func aDeadPathKeepsNobodyFromFencingByAnother() throws {
    let (_, _) = try hold()
    let second = target.path("a2")
    let a = PersistentReservation([alpha, second])
    try a.register(keyA)
    target.adjust {
      for operation: UInt8 in [0x5e, 0x5f] {
        $0.faults.append(.init(operation, on: "a", .fails(.path(host: 0x0f, driver: 0)), times: 1000))
      }
    }
    let proof = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
    #expect(proof.after.keys == [keyA])
  }

  @Test func aLostAnswerIsSettledByLooking() throws {
    let (a, b) = try hold()
    target.fault(.init(0x5f, action: 5, .losesAnswer))
    let proof = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
    #expect(proof.wasRegistered)
    target.fault(.init(0x5f, action: 2, .losesAnswer))
    try a.release(by: keyA)
    target.fault(.init(0x5f, action: 1, .losesAnswer))
    #expect(try a.reserve(.exclusiveAccessRegistrantsOnly, by: keyA).reservation?.holder == keyA)
    #expect(try b.state().reservation?.type == .exclusiveAccessRegistrantsOnly)
  }

  @Test func aDiskThatOnlySaysThatItPreemptedProvesNothing() throws {
    let (a, _) = try hold()
    target.adjust { $0.forgetsPreemptions = true }
    do {
      _ = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
      Issue.record("it was believed")
    } catch {
      guard case .unproven(_, let state) = error.reason else {
        Issue.record("\(error)")
        return
      }
      #expect(state.keys == [keyA, keyB])
    }
  }

  @Test func whoeverWasFencedFencesNobody() throws {
    let (a, b) = try hold()
    _ = try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly)
    do {
      _ = try b.fence(keyA, by: keyB, type: .writeExclusiveRegistrantsOnly)
      Issue.record("it fenced")
    } catch {
      guard case .notRegistered(keyB, _) = error.reason else {
        Issue.record("\(error)")
        return
      }
    }
    #expect(target.reservations.key(of: "a") == keyA.value)
  }

  @Test func twoThatFenceEachOtherEndWithOneOfThem() throws {
    let (a, b) = try hold()
    let (own, other) = (keyA, keyB)
    // While a's command is on its way, b's is carried out.
    target.fault(
      .init(
        0x5f, action: 5, on: "a",
        .comesAfter { _ = try? b.fence(own, by: other, type: .writeExclusiveRegistrantsOnly) }))
    #expect(throws: ReservationError.self) { try a.fence(keyB, by: keyA, type: .writeExclusiveRegistrantsOnly) }
    #expect(target.reservations.registrations.map(\.key) == [keyB.value])
  }

  @Test func anotherHostsExclusiveReservationIsNotOurs() throws {
    let (a, _) = try hold(.writeExclusive)
    let keyC = try #require(ReservationKey(0xc))
    let c = PersistentReservation([target.path("c")])
    try c.register(keyC)
    for attempt in [
      { try a.fence(keyC, by: keyA, type: .writeExclusive).after }, { try a.reserve(.writeExclusive, by: keyA) },
    ] {
      do {
        _ = try attempt()
        Issue.record("it was let in")
      } catch let error as ReservationError {
        guard case .heldByAnother(let standing, _) = error.reason else {
          Issue.record("\(error)")
          return
        }
        #expect(standing.holder == keyB)
      }
    }
  }

  @Test func aWeakerReservationThanAskedForIsAnError() throws {
    let (a, _) = try hold(.writeExclusiveAllRegistrants)
    do {
      _ = try a.reserve(.exclusiveAccessRegistrantsOnly, by: keyA)
      Issue.record("it was taken for enough")
    } catch {
      guard case .anotherType = error.reason else {
        Issue.record("\(error)")
        return
      }
    }
  }

  @Test func nobodyFencesItself() throws {
    let (a, _) = try hold()
    do {
      _ = try a.fence(keyA, by: keyA, type: .writeExclusiveRegistrantsOnly)
      Issue.record("it did")
    } catch {
      #expect(error.reason == .victimIsSelf(keyA))
    }
  }
}
