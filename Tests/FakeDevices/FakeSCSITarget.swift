import LinuxDevices
import Synchronization

/// A logical unit in memory that several paths lead to: it reads, writes, reserves, and fails as it is told to.
public final class FakeSCSITarget: Sendable {
  public struct Behaviour: Sendable {
    public var knowsReservations = true
    public var tellsFullStatus = true
    public var types: Set<ReservationType> = Set(ReservationType.allCases)
    public var canPersist = true
    public var registrationRoom = 64
    /// Answers to pre-emptions that are not carried out.
    public var forgetsPreemptions = false
    /// By the first byte of the command and its service action.
    public var faults: [Fault] = []
    /// What it erases itself by, and how it does; nil: it does not.
    public var erasing: FakeErasing?
    /// Answers to commands that only tell something: by the command's bytes up to where the length of the answer stands.
    public var answers: [[UInt8]: [UInt8]] = [:]
    public init() {}
  }

  public struct Fault: Sendable {
    public enum Kind: Sendable {
      case fails(SCSIFailure)
      /// The command is carried out, and nobody hears of it.
      case losesAnswer
      /// Something else happens before: another host acts, say.
      case comesAfter(@Sendable () -> Void)
    }

    public var operation: UInt8
    public var action: UInt8?
    /// Nil: on any.
    public var nexus: String?
    public var kind: Kind
    public var times: Int

    public init(_ operation: UInt8, action: UInt8? = nil, on nexus: String? = nil, _ kind: Kind, times: Int = 1) {
      self.operation = operation
      self.action = action
      self.nexus = nexus
      self.kind = kind
      self.times = times
    }
  }

  public static let blockBytes = 512

  fileprivate struct Unit {
    var behaviour = Behaviour()
    var reservations = FakeReservations()
    var memory: [UInt8]
    var received: [[UInt8]] = []
    /// How often it will say that it is at it.
    var erasingLeft = 0
  }

  private let unit: Mutex<Unit>

  public init(blocks: Int = 64, _ adjust: (inout Behaviour) -> Void = { _ in }) {
    var behaviour = Behaviour()
    adjust(&behaviour)
    unit = Mutex(Unit(behaviour: behaviour, memory: [UInt8](repeating: 0, count: blocks * Self.blockBytes)))
  }

  /// A path from an initiator, which is told once that the device was switched on.
  public func path(_ nexus: String) -> Path {
    unit.withLock { $0.reservations.attentions[nexus, default: []].append(.powerOnOrReset) }
    return Path(target: self, nexus: nexus)
  }

  public func adjust(_ change: (inout Behaviour) -> Void) { unit.withLock { change(&$0.behaviour) } }
  public func fault(_ fault: Fault) { adjust { $0.faults.append(fault) } }
  public func losePower() { unit.withLock { $0.reservations.losePower() } }
  public func push(_ attention: SCSISense.AdditionalCode, to nexus: String) {
    unit.withLock { $0.reservations.attentions[nexus, default: []].append(attention) }
  }
  public var reservations: FakeReservations { unit.withLock { $0.reservations } }
  /// All commands that came, from all paths.
  public var received: [[UInt8]] { unit.withLock { $0.received } }

  public struct Path: SCSITransport {
    let target: FakeSCSITarget
    public let nexus: String
    public var name: String { "/dev/\(nexus)" }

    public func execute(
      _ command: [UInt8], _ data: CommandData, timeout: Duration
    ) throws(SCSIFailure) -> SCSIAnswer {
      try target.receive(command, data, from: nexus)
    }

    public func write(_ byte: UInt8, block: UInt8) throws(SCSIError) {
      _ = try send(WholeBlocks(write: true, block: block, fill: byte))
    }

    public func read(block: UInt8) throws(SCSIError) -> UInt8? {
      try send(WholeBlocks(write: false, block: block, fill: 0)).first
    }
  }

  // MARK: Commands

  private func receive(_ command: [UInt8], _ data: CommandData, from nexus: String) throws(SCSIFailure) -> SCSIAnswer {
    let fault = unit.withLock { $0.behaviour.take(command, nexus) }
    switch fault {
    case .fails(let failure)?: throw failure
    case .comesAfter(let event)?: event()
    case .losesAnswer?, nil: break
    }
    let result = unit.withLock { unit in
      unit.received.append(command)
      return Result { () throws(SCSIFailure) in try Self.answer(command, data, from: nexus, &unit) }
    }
    if case .losesAnswer? = fault { throw .path(host: 0x03, driver: 0) }
    return SCSIAnswer(data: try result.get())
  }

  private static func answer(
    _ command: [UInt8], _ data: CommandData, from nexus: String, _ unit: inout Unit
  ) throws(SCSIFailure) -> [UInt8] {
    let operation = command.first ?? 0
    // INQUIRY, REPORT LUNS and REQUEST SENSE are answered whatever there is to tell.
    if ![0x12, 0xa0, 0x03].contains(operation), unit.reservations.attentions[nexus]?.isEmpty == false,
      let code = unit.reservations.attentions[nexus]?.removeFirst()
    {
      throw .checkCondition(SCSISense(key: .unitAttention, code: code))
    }
    let bytes: [UInt8]
    switch (operation, data) {
    case (0x00, _):
      if unit.erasingLeft == 0, unit.behaviour.erasing?.fails == true {
        throw .checkCondition(SCSISense(key: .mediumError, code: .sanitizeFailed))
      }
      bytes = []
    case (0x5e, _) where unit.behaviour.knowsReservations: bytes = try unit.reserveIn(command)
    case (0x5f, .send(let parameters)) where unit.behaviour.knowsReservations:
      try unit.reserveOut(command, parameters, nexus)
      bytes = []
    case (0x03, _): bytes = unit.sense(for: nexus)
    case (0xa3, _) where command[1] == 0x0c && unit.behaviour.erasing != nil: bytes = unit.support(command)
    case (0x48, _):
      try unit.erase(command, data)
      bytes = []
    case (0x88, _), (0x8a, _): bytes = try unit.move(command, data, nexus)
    default:
      guard let answer = unit.behaviour.answers.first(where: { command.starts(with: $0.key) })?.value else {
        throw .checkCondition(SCSISense(key: .illegalRequest, code: .invalidOperationCode))
      }
      bytes = answer
    }
    if case .receive(let most) = data { return Array(bytes.prefix(most)) }
    return []
  }
}

/// A disk's way to erase itself.
public struct FakeErasing: Sendable {
  /// SANITIZE's service actions.
  public var actions: Set<UInt8>
  /// How often it is asked until it has.
  public var questions: Int
  public var fails: Bool

  public init(actions: Set<UInt8>, questions: Int = 3, fails: Bool = false) {
    self.actions = actions
    self.questions = questions
    self.fails = fails
  }
}

extension FakeSCSITarget.Behaviour {
  fileprivate mutating func take(_ command: [UInt8], _ nexus: String) -> FakeSCSITarget.Fault.Kind? {
    guard
      let index = faults.firstIndex(where: {
        $0.operation == command.first && ($0.action ?? command[1] & 0x1f) == command[1] & 0x1f
          && ($0.nexus ?? nexus) == nexus
      })
    else { return nil }
    let kind = faults[index].kind
    faults[index].times -= 1
    if faults[index].times <= 0 { faults.remove(at: index) }
    return kind
  }
}

extension FakeSCSITarget.Unit {
  fileprivate func reserveIn(_ command: [UInt8]) throws(SCSIFailure) -> [UInt8] {
    let keys = reservations.registrations
    switch command[1] & 0x1f {
    case 0: return list(keys.flatMap { bytes($0.key) })
    case 1:
      guard let type = reservations.type else { return list([]) }
      let key = type.isHeldByAllRegistrants ? 0 : reservations.holder.flatMap { reservations.key(of: $0) } ?? 0
      return list(bytes(key) + [0, 0, 0, 0, 0, type.scsiCode, 0, 0])
    case 2:
      let mask = behaviour.types.reduce(into: UInt16(0)) { $0 |= $1.scsiCode == 8 ? 1 : 1 << UInt16($1.scsiCode + 8) }
      return [0, 8, behaviour.canPersist ? 1 : 0, 0x80 | (reservations.persists ? 1 : 0)] + bytes(mask) + [0, 0]
    case 3 where behaviour.tellsFullStatus:
      return list(keys.flatMap { fullStatus($0.nexus, $0.key) })
    default: throw .checkCondition(SCSISense(key: .illegalRequest, code: .invalidFieldInCommand))
    }
  }

  /// What is to tell, else what it does by itself; in fixed format, as disks tell it.
  fileprivate mutating func sense(for nexus: String) -> [UInt8] {
    if reservations.attentions[nexus]?.isEmpty == false, let code = reservations.attentions[nexus]?.removeFirst() {
      return SCSISense(key: .unitAttention, code: code).bytes
    }
    var sense = [UInt8](repeating: 0, count: 18)
    (sense[0], sense[7]) = (0x70, 10)
    guard erasingLeft > 0 else { return sense }
    erasingLeft -= 1
    (sense[2], sense[12], sense[13], sense[15]) = (0x02, 0x04, 0x1b, 0x80)
    sense[16] = UInt8(clamping: 256 / (erasingLeft + 2))
    return sense
  }

  fileprivate func support(_ command: [UInt8]) -> [UInt8] {
    let isKnown = command[3] == 0x48 && behaviour.erasing?.actions.contains(command[5]) == true
    return [0, isKnown ? 3 : 1, 0, isKnown ? 10 : 0] + (isKnown ? [0x48, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0] : [])
  }

  fileprivate mutating func erase(_ command: [UInt8], _ data: CommandData) throws(SCSIFailure) {
    guard let erasing = behaviour.erasing, erasing.actions.contains(command[1] & 0x1f) else {
      throw .checkCondition(SCSISense(key: .illegalRequest, code: .invalidOperationCode))
    }
    if command[1] & 0x1f == 1 {
      guard case .send([1, 0, 0, 4, 0, 0, 0, 0]) = data, command[8] == 8 else {
        throw .checkCondition(SCSISense(key: .illegalRequest, code: .invalidFieldInParameters))
      }
    }
    erasingLeft = erasing.questions
    if !erasing.fails { memory = [UInt8](repeating: command[1] & 0x1f == 3 ? 0x5a : 0, count: memory.count) }
  }

  private func fullStatus(_ nexus: String, _ key: UInt64) -> [UInt8] {
    let name = Array("iqn.2001-04.example:\(nexus),i,0x0001".utf8) + [0, 0, 0, 0]
    let padded = Array(name.prefix(name.count / 4 * 4))
    let isHolder = reservations.isHolder(nexus)
    var status: [UInt8] = bytes(key)
    status += [0, 0, 0, 0, isHolder ? 1 : 0, isHolder ? reservations.type?.scsiCode ?? 0 : 0, 0, 0, 0, 0, 0, 1]
    status += bytes(UInt32(padded.count + 4))
    status += [0x45, 0] + bytes(UInt16(padded.count))
    return status + padded
  }

  private func list(_ elements: [UInt8]) -> [UInt8] {
    bytes(reservations.generation) + bytes(UInt32(elements.count)) + elements
  }

  fileprivate mutating func reserveOut(
    _ command: [UInt8], _ parameters: [UInt8], _ nexus: String
  ) throws(SCSIFailure) {
    guard parameters.count == 24 else {
      throw .checkCondition(SCSISense(key: .illegalRequest, code: .invalidFieldInParameters))
    }
    let (key, other) = (number(parameters[0..<8]), number(parameters[8..<16]))
    let persists = parameters[20] & 1 != 0
    let type = ReservationType(scsiCode: command[2] & 0xf)
    if [1, 2, 4, 5].contains(command[1] & 0x1f), type.map({ !behaviour.types.contains($0) }) ?? true {
      throw .checkCondition(SCSISense(key: .illegalRequest, code: .invalidFieldInCommand))
    }
    do throws(FakeReservations.Refusal) {
      switch (command[1] & 0x1f, type) {
      case (0, _):
        try reservations.register(
          nexus, existing: key, new: other, persists: persists, room: behaviour.registrationRoom)
      case (6, _):
        try reservations.register(
          nexus, existing: nil, new: other, persists: persists, room: behaviour.registrationRoom)
      case (1, let type?): try reservations.reserve(nexus, key, type)
      case (2, let type?): try reservations.release(nexus, key, type)
      case (3, _): try reservations.clear(nexus, key)
      case (4, let type?), (5, let type?):
        if !behaviour.forgetsPreemptions { try reservations.preempt(nexus, key, victim: other, type) }
      default: throw .invalidParameter
      }
    } catch {
      throw SCSIFailure(error)
    }
  }

  fileprivate mutating func move(
    _ command: [UInt8], _ data: CommandData, _ nexus: String
  ) throws(SCSIFailure) -> [UInt8] {
    let isWrite = command[0] == 0x8a
    guard reservations.admits(nexus, writing: isWrite) else { throw .reservationConflict }
    let start = Int(number(command[2..<10])) * FakeSCSITarget.blockBytes
    let end = start + Int(number(command[10..<14])) * FakeSCSITarget.blockBytes
    guard end <= memory.count else {
      throw .checkCondition(SCSISense(key: .illegalRequest, code: SCSISense.AdditionalCode(0x21, 0)))
    }
    if case .send(let bytes) = data { memory.replaceSubrange(start..<end, with: bytes) }
    return Array(memory[start..<end])
  }
}

extension SCSIFailure {
  fileprivate init(_ refusal: FakeReservations.Refusal) {
    switch refusal {
    case .conflict: self = .reservationConflict
    case .invalidRelease: self = .checkCondition(SCSISense(key: .illegalRequest, code: .invalidRelease))
    case .invalidParameter: self = .checkCondition(SCSISense(key: .illegalRequest, code: .invalidFieldInParameters))
    case .noRoom: self = .checkCondition(SCSISense(key: .illegalRequest, code: .insufficientRegistrationResources))
    }
  }
}

/// READ(16) and WRITE(16) of one block.
private struct WholeBlocks: SCSICommand {
  var write: Bool
  var block: [UInt8]
  var data: CommandData
  var name: String { write ? "WRITE(16)" : "READ(16)" }

  init(write: Bool, block: UInt8, fill: UInt8) {
    self.write = write
    self.block = [write ? 0x8a : 0x88, 0, 0, 0, 0, 0, 0, 0, 0, block, 0, 0, 0, 1, 0, 0]
    let size = FakeSCSITarget.blockBytes
    data = write ? .send([UInt8](repeating: fill, count: size)) : .receive(atMost: size)
  }

  func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> [UInt8] { answer.data }
}

private func bytes<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value) -> [UInt8] {
  withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

private func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
