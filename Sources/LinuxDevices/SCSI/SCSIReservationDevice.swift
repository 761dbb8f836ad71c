/// A SCSI path as one of a disk that knows persistent reservations.
public struct SCSIReservationDevice: ReservationDevice {
  public let transport: any SCSITransport

  public init(_ transport: any SCSITransport) { self.transport = transport }

  public var name: String { transport.name }

  public func reservationCapabilities() throws(ReservationRefusal) -> ReservationCapabilities {
    try sending(PersistentReserveIn.reportCapabilities)
  }

  public func reservationState() throws(ReservationRefusal) -> ReservationState {
    // Of a device that is pre-empted all the time there would be no end.
    for _ in 0..<4 {
      let before = try keys()
      let reservation = try sending(PersistentReserveIn.readReservation)
      // Reserving and releasing are not counted, but they need registrations, which are read on both sides.
      let after = try keys()
      guard before == after, reservation.generation == after.generation else { continue }
      return ReservationState(
        generation: after.generation, registrations: try registrations(after), reservation: reservation.elements.first)
    }
    throw .unsteady
  }

  public func change(_ change: ReservationChange) throws(ReservationRefusal) {
    try sending(PersistentReserveOut(change))
  }

  private func keys() throws(ReservationRefusal) -> ReservationList<ReservationKey> {
    let list = try whole { most in .readKeys(atMost: most) }
    guard list.isWhole else {
      throw .failed("\(name) has \(list.wholeLength) bytes of keys, more than can be asked for", isUnknown: false)
    }
    return list
  }

  /// With whose they are, from a device that tells.
  private func registrations(
    _ keys: ReservationList<ReservationKey>
  ) throws(ReservationRefusal) -> [ReservationState.Registration] {
    let bare = keys.elements.map { ReservationState.Registration(key: $0) }
    do throws(ReservationRefusal) {
      let full: ReservationList<FullReservationStatus> = try whole { most in .readFullStatus(atMost: most) }
      guard full.isWhole, full.generation == keys.generation else { return bare }
      return full.elements.map {
        ReservationState.Registration(key: $0.key, isHolder: $0.isHolder, initiator: $0.initiator?.description)
      }
    } catch .unsupported {
      return bare
    }
  }

  /// Asks again with room for all that there is, as far as a command can ask for it.
  private func whole<Element: Sendable & Hashable>(
    _ command: (UInt16) -> PersistentReserveIn<ReservationList<Element>>
  ) throws(ReservationRefusal) -> ReservationList<Element> {
    let list = try sending(command(8192))
    return list.isWhole ? list : try sending(command(UInt16(clamping: list.wholeLength)))
  }

  private func sending<Command: SCSICommand>(_ command: Command) throws(ReservationRefusal) -> Command.Answer {
    do throws(SCSIError) {
      return try transport.send(command)
    } catch {
      throw ReservationRefusal(error)
    }
  }
}

extension ReservationRefusal {
  init(_ error: SCSIError) {
    self =
      switch error.failure {
      case .reservationConflict: .conflict
      case .checkCondition(let sense) where sense.code == .insufficientRegistrationResources: .noRoomForRegistration
      case .checkCondition(let sense) where sense.code == .invalidRelease: .wrongTypeReleased
      case .checkCondition(let sense) where sense.isUnsupported: .unsupported
      case .path, .status, .malformed: .failed("\(error)", isUnknown: true)
      case .checkCondition(let sense): .failed("\(error)", isUnknown: sense.key == .abortedCommand)
      case .system: .failed("\(error)", isUnknown: false)
      }
  }
}
