/// Reservation Register, Acquire and Release (base specification 2.0, 7.2 to 7.5) for a change.
public struct NVMeReservationChange: NVMeCommand {
  public typealias Answer = Void
  public let change: ReservationChange
  public let namespace: UInt32

  public init(_ change: ReservationChange, namespace: UInt32) {
    self.change = change
    self.namespace = namespace
  }

  public var name: String {
    switch change {
    case .register, .registerFirst, .unregister: "Reservation Register"
    case .reserve: "Reservation Acquire"
    case .preempt: "Reservation Acquire with \(change.name)"
    case .release: "Reservation Release"
    case .clear: "Reservation Release with CLEAR"
    }
  }

  public var request: NVMeRequest {
    NVMeRequest(.readsAndWrites, opcode: fields.opcode, namespace: namespace, words: [fields.word])
  }

  public var data: CommandData {
    // Releasing sends one key; the others two.
    var keys = [UInt8](repeating: 0, count: fields.opcode == 0x15 ? 8 : 16)
    keys.put(littleEndian: fields.key?.value ?? 0, at: 0)
    if keys.count == 16 { keys.put(littleEndian: fields.other?.value ?? 0, at: 8) }
    return .send(keys)
  }

  private struct Fields {
    var opcode: UInt8
    var word: UInt32
    var key: ReservationKey?
    var other: ReservationKey?
  }

  private var fields: Fields {
    switch change {
    case .registerFirst(let key, let persists): Fields(opcode: 0x0d, word: Self.persistence(persists), other: key)
    case .unregister(let key): Fields(opcode: 0x0d, word: 1, key: key)
    // Replacing, whatever the key is that this host has, if any: bit 3.
    case .register(let key, let persists):
      Fields(opcode: 0x0d, word: 2 | 1 << 3 | Self.persistence(persists), other: key)
    case .reserve(let key, let type): Fields(opcode: 0x11, word: UInt32(type.nvmeCode) << 8, key: key)
    case .preempt(let key, let victim, let type, let aborting):
      Fields(opcode: 0x11, word: (aborting ? 2 : 1) | UInt32(type.nvmeCode) << 8, key: key, other: victim)
    case .release(let key, let type): Fields(opcode: 0x15, word: UInt32(type.nvmeCode) << 8, key: key)
    case .clear(let key): Fields(opcode: 0x15, word: 1, key: key)
    }
  }

  /// 2: registrations end with the power; 3: they outlive it.
  private static func persistence(_ persists: Bool) -> UInt32 { (persists ? 3 : 2) << 30 }
}

/// Reservation Report (base specification 2.0, 7.4), with host identifiers of 16 bytes.
public struct NVMeReservationReport: NVMeCommand {
  public let namespace: UInt32
  private let length: Int

  public init(namespace: UInt32, length: Int = 4096) {
    self.namespace = namespace
    self.length = length / 4 * 4
  }

  public var name: String { "Reservation Report" }
  public var request: NVMeRequest {
    NVMeRequest(.readsAndWrites, opcode: 0x0e, namespace: namespace, words: [UInt32(length / 4 - 1), 1])
  }
  public var data: CommandData { .receive(atMost: length) }

  public struct Report: Sendable, Hashable {
    public var state: ReservationState
    public var persists: Bool
    /// How many bytes the whole report takes.
    public var wholeLength: Int
  }

  public func answer(to answer: NVMeAnswer) throws(MalformedAnswer) -> Report {
    let bytes = AnswerBytes(answer.data)
    let code = try bytes.byte(4)
    let type = ReservationType(nvmeCode: code)
    guard code == 0 || type != nil else { throw MalformedAnswer("a reservation of type \(code) is of none that exist") }
    let count = Int(try bytes.littleEndian(5, as: UInt16.self))
    var registrations: [ReservationState.Registration] = []
    for index in 0..<count {
      // What did not fit is asked for again.
      guard let entry = try? bytes.part(64 + 64 * index, 64) else { break }
      guard let key = ReservationKey(try entry.littleEndian(8)) else { throw MalformedAnswer("it lists a key of zero") }
      registrations.append(
        ReservationState.Registration(
          key: key, isHolder: try entry.bit(0, ofByte: 2), initiator: "host \(try entry.part(16, 16).hexadecimalText)"))
    }
    let reservation = type.map { type in
      ReservationState.Reservation(
        type: type, holder: type.isHeldByAllRegistrants ? nil : registrations.first { $0.isHolder == true }?.key)
    }
    return Report(
      state: ReservationState(
        generation: try bytes.littleEndian(0), registrations: registrations, reservation: reservation),
      persists: try bytes.byte(9) & 1 != 0, wholeLength: 64 + 64 * count)
  }
}

/// A namespace through one controller as a disk that knows persistent reservations.
///
/// A drive knows a registrant by its host identifier, which the kernel sets for fabrics. On PCI Express somebody has to set
/// one (Set Features 81h), or the drive refuses to register.
public struct NVMeReservationDevice: ReservationDevice {
  public let transport: any NVMeTransport
  public let namespace: UInt32

  public init(_ transport: any NVMeTransport, namespace: UInt32) {
    self.transport = transport
    self.namespace = namespace
  }

  public var name: String { transport.name }

  public func reservationCapabilities() throws(ReservationRefusal) -> ReservationCapabilities {
    guard try sending(Identify.controller).hasReservations else { throw .unsupported }
    let namespace = try sending(Identify.namespace(namespace))
    let report = try report()
    return ReservationCapabilities(
      types: namespace.reservationTypes, canPersist: namespace.canPersistReservations, persists: report.persists)
  }

  public func reservationState() throws(ReservationRefusal) -> ReservationState { try report().state }

  public func change(_ change: ReservationChange) throws(ReservationRefusal) {
    try sending(NVMeReservationChange(change, namespace: namespace))
  }

  private func report() throws(ReservationRefusal) -> NVMeReservationReport.Report {
    var report = try sending(NVMeReservationReport(namespace: namespace))
    if report.wholeLength > 4096 {
      report = try sending(NVMeReservationReport(namespace: namespace, length: report.wholeLength))
    }
    // More registered in between, or the drive does not send all of them.
    guard report.state.registrations.count * 64 + 64 >= report.wholeLength else { throw .unsteady }
    if let reservation = report.state.reservation, !reservation.type.isHeldByAllRegistrants, reservation.holder == nil {
      throw .failed("\(name) is reserved and says that nobody holds it", isUnknown: false)
    }
    return report
  }

  private func sending<Command: NVMeCommand>(_ command: Command) throws(ReservationRefusal) -> Command.Answer {
    do throws(NVMeError) {
      return try transport.send(command)
    } catch {
      throw ReservationRefusal(error)
    }
  }
}

extension ReservationRefusal {
  init(_ error: NVMeError) {
    self =
      switch error.failure {
      case .status(.reservationConflict): .conflict
      case .status(.invalidOpcode): .unsupported
      // The drive knows the command: what is wrong with it stands in the error (no host identifier, say).
      case .status(let status): .failed("\(error)", isUnknown: status.type == 3)
      case .system, .malformed: .failed("\(error)", isUnknown: true)
      }
  }
}

extension PersistentReservation {
  /// Of a namespace, by the controllers that it is attached to here.
  public init(namespace: UInt32, _ controllers: [any NVMeTransport]) {
    self.init(paths: controllers.map { NVMeReservationDevice($0, namespace: namespace) })
  }
}
