/// PERSISTENT RESERVE IN (SPC-4, 6.15): what is registered and reserved.
public struct PersistentReserveIn<Answer>: SCSICommand {
  public let name: String
  private let action: UInt8
  /// The answer is cut off there.
  private let most: UInt16
  private let decode: @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer

  public var block: [UInt8] {
    var block: [UInt8] = [0x5e, action, 0, 0, 0, 0, 0, 0, 0, 0]
    block.put(bigEndian: most, at: 7)
    return block
  }

  public var data: CommandData { .receive(atMost: Int(most)) }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> Answer { try decode(AnswerBytes(answer.data)) }

  fileprivate init(
    _ name: String, action: UInt8, atMost most: UInt16,
    _ decode: @escaping @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer
  ) {
    self.name = name
    self.action = action
    self.most = most
    self.decode = decode
  }
}

/// A list of which a device may have more than there was room for.
public struct ReservationList<Element: Sendable & Hashable>: Sendable, Hashable {
  public var generation: UInt32
  public var elements: [Element]
  /// How many bytes the whole answer takes.
  public var wholeLength: Int
  public var isWhole: Bool

  fileprivate init(
    _ answer: AnswerBytes, _ read: (AnswerBytes) throws(MalformedAnswer) -> [Element]
  ) throws(MalformedAnswer) {
    generation = try answer.bigEndian(0)
    let length = Int(try answer.bigEndian(4, as: UInt32.self))
    wholeLength = length + 8
    let list = answer.available(8, length)
    isWhole = list.count == length
    elements = try read(list)
  }
}

extension PersistentReserveIn where Answer == ReservationList<ReservationKey> {
  public static func readKeys(atMost most: UInt16 = 4096) -> Self {
    Self("READ KEYS", action: 0, atMost: most) { answer throws(MalformedAnswer) in
      try ReservationList(answer) { list throws(MalformedAnswer) in
        var keys: [ReservationKey] = []
        for offset in stride(from: 0, to: list.count / 8 * 8, by: 8) {
          // A device that answers zeros lists keys that nobody can have registered.
          guard let key = ReservationKey(try list.bigEndian(offset)) else {
            throw MalformedAnswer("it lists a key of zero")
          }
          keys.append(key)
        }
        return keys
      }
    }
  }
}

extension PersistentReserveIn where Answer == ReservationList<ReservationState.Reservation> {
  public static var readReservation: Self {
    Self("READ RESERVATION", action: 1, atMost: 24) { answer throws(MalformedAnswer) in
      try ReservationList(answer) { list throws(MalformedAnswer) in
        guard list.count > 0 else { return [] }
        let key = ReservationKey(try list.bigEndian(0))
        return [try ReservationState.Reservation(holder: key, scopeAndType: list.byte(13))]
      }
    }
  }
}

extension PersistentReserveIn where Answer == ReservationCapabilities {
  public static var reportCapabilities: Self {
    Self("REPORT CAPABILITIES", action: 2, atMost: 8) { answer throws(MalformedAnswer) in
      let mask: UInt16 = try answer.bigEndian(4)
      let types = ReservationType.allCases.filter { mask & $0.capabilityBit != 0 }
      return ReservationCapabilities(
        types: try answer.bit(7, ofByte: 3) ? Set(types) : nil, canPersist: try answer.bit(0, ofByte: 2),
        persists: try answer.bit(0, ofByte: 3))
    }
  }
}

extension PersistentReserveIn where Answer == ReservationList<FullReservationStatus> {
  public static func readFullStatus(atMost most: UInt16 = 8192) -> Self {
    Self("READ FULL STATUS", action: 3, atMost: most) { answer throws(MalformedAnswer) in
      try ReservationList(answer) { list throws(MalformedAnswer) in
        var all: [FullReservationStatus] = []
        var offset = 0
        // One that is cut off is left out; the list is then not whole.
        while offset + 24 <= list.count {
          let length = Int(try list.bigEndian(offset + 20, as: UInt32.self))
          guard length <= list.count - offset - 24 else { break }
          all.append(try FullReservationStatus(list.part(offset, 24 + length)))
          offset += 24 + length
        }
        return all
      }
    }
  }
}

/// A registration with the path that made it.
public struct FullReservationStatus: Sendable, Hashable {
  public var key: ReservationKey
  public var isHolder: Bool
  /// Only of the holder.
  public var type: ReservationType?
  /// Nil: all of the device's ports.
  public var relativeTargetPort: UInt16?
  public var initiator: TransportIdentifier?

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    guard let key = ReservationKey(try bytes.bigEndian(0)) else { throw MalformedAnswer("it lists a key of zero") }
    self.key = key
    isHolder = try bytes.bit(0, ofByte: 12)
    type = isHolder ? try ReservationState.Reservation(holder: key, scopeAndType: bytes.byte(13)).type : nil
    relativeTargetPort = try bytes.bit(1, ofByte: 12) ? nil : try bytes.bigEndian(18)
    initiator = TransportIdentifier(bytes.available(24, bytes.count - 24))
  }
}

/// Who the initiator at the other end of a path is (SPC-4, 7.6.4).
public enum TransportIdentifier: Sendable, Hashable, CustomStringConvertible {
  case sas(UInt64)
  case fibreChannel(UInt64)
  /// The session's identifier, in hexadecimal, where it is given.
  case iSCSI(name: String, session: String?)
  case other(protocolIdentifier: UInt8, String)

  /// Nil: it is not there, or cut off.
  init?(_ bytes: AnswerBytes) {
    do throws(MalformedAnswer) {
      let head = try bytes.byte(0)
      switch (head & 0xf, head >> 6) {
      case (0x0, 0): self = .fibreChannel(try bytes.bigEndian(8))
      case (0x6, 0): self = .sas(try bytes.bigEndian(4))
      case (0x5, let format):
        let text = try bytes.text(4, Int(try bytes.bigEndian(2, as: UInt16.self)))
        // Format 1 has ",i,0x" and the session behind the name.
        let parts = text.split(separator: ",i,0x", maxSplits: 1).map(String.init)
        self = .iSCSI(name: parts.first ?? "", session: format == 1 && parts.count == 2 ? parts[1] : nil)
      case (let other, _): self = .other(protocolIdentifier: other, bytes.hexadecimalText)
      }
    } catch {
      return nil
    }
  }

  public var description: String {
    switch self {
    case .sas(let address): "sas \(hexadecimal(address, digits: 16))"
    case .fibreChannel(let name): "fc \(hexadecimal(name, digits: 16))"
    case .iSCSI(let name, let session): session.map { "\(name) session \($0)" } ?? name
    case .other(let identifier, let text): "protocol \(identifier) \(text)"
    }
  }
}

extension ReservationState.Reservation {
  fileprivate init(holder: ReservationKey?, scopeAndType: UInt8) throws(MalformedAnswer) {
    guard scopeAndType >> 4 == 0, let type = ReservationType(scsiCode: scopeAndType & 0xf) else {
      throw MalformedAnswer(
        "a reservation of scope and type 0x\(hexadecimal(scopeAndType, digits: 2)) is of none that exist")
    }
    guard type.isHeldByAllRegistrants || holder != nil else { throw MalformedAnswer("the holder's key is zero") }
    // The standard wants zero where all hold it; devices put a registrant's key there.
    self.init(type: type, holder: type.isHeldByAllRegistrants ? nil : holder)
  }
}

extension ReservationType {
  /// In the type mask of REPORT CAPABILITIES: types 0 to 7 in the first byte, 8 and up in the second.
  fileprivate var capabilityBit: UInt16 { scsiCode < 8 ? 1 << UInt16(scsiCode + 8) : 1 << UInt16(scsiCode - 8) }
}
