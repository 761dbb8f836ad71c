/// What a device says beside a status: SPC-4, 4.5.
public struct SCSISense: Sendable, Hashable {
  public var key: Key
  /// Additional sense code and its qualifier (SPC-4, annex F).
  public var code: AdditionalCode
  /// All of it, for what stands in descriptors.
  public var bytes: [UInt8]

  public enum Key: UInt8, Sendable, Hashable {
    case none, recoveredError, notReady, mediumError, hardwareError, illegalRequest, unitAttention, dataProtect,
      blankCheck,
      vendorSpecific, copyAborted, abortedCommand, reserved, volumeOverflow, miscompare, completed
  }

  public struct AdditionalCode: Sendable, Hashable, CustomStringConvertible {
    public var code: UInt8
    public var qualifier: UInt8

    public init(_ code: UInt8, _ qualifier: UInt8) {
      self.code = code
      self.qualifier = qualifier
    }

    public static let invalidOperationCode = Self(0x20, 0x00)
    public static let invalidFieldInCommand = Self(0x24, 0x00)
    public static let logicalUnitNotSupported = Self(0x25, 0x00)
    public static let invalidFieldInParameters = Self(0x26, 0x00)
    public static let invalidRelease = Self(0x26, 0x04)
    public static let powerOnOrReset = Self(0x29, 0x00)
    public static let capacityChanged = Self(0x2a, 0x09)
    public static let reservationsPreempted = Self(0x2a, 0x03)
    public static let reservationsReleased = Self(0x2a, 0x04)
    public static let registrationsPreempted = Self(0x2a, 0x05)
    public static let insufficientRegistrationResources = Self(0x55, 0x04)
    public static let ataInformationAvailable = Self(0x00, 0x1d)
    public static let sanitizeInProgress = Self(0x04, 0x1b)
    public static let sanitizeFailed = Self(0x31, 0x03)

    public var description: String { "\(hexadecimal(code, digits: 2))/\(hexadecimal(qualifier, digits: 2))" }
  }

  /// Nil: these are no sense data, as when a device sent none.
  public init?(_ bytes: [UInt8]) {
    guard let response = bytes.first else { return nil }
    let answer = AnswerBytes(bytes)
    do {
      switch response & 0x7f {
      case 0x70, 0x71:
        key = Key(try answer.byte(2))
        // Devices may send the first eight bytes only, which say nothing more.
        let isLong = bytes.count > 13 && bytes[7] >= 6
        code = isLong ? AdditionalCode(bytes[12], bytes[13]) : AdditionalCode(0, 0)
      case 0x72, 0x73:
        key = Key(try answer.byte(1))
        code = AdditionalCode(try answer.byte(2), try answer.byte(3))
      default: return nil
      }
    } catch {
      return nil
    }
    self.bytes = bytes
  }

  public init(key: Key, code: AdditionalCode) {
    self.key = key
    self.code = code
    var bytes = [UInt8](repeating: 0, count: 18)
    (bytes[0], bytes[2], bytes[7], bytes[12], bytes[13]) = (0x70, key.rawValue, 10, code.code, code.qualifier)
    self.bytes = bytes
  }

  /// The contents of the first descriptor of a type, in descriptor format.
  func descriptor(_ type: UInt8) -> AnswerBytes? {
    guard let response = bytes.first, response & 0x7f >= 0x72 else { return nil }
    let answer = AnswerBytes(bytes)
    var offset = 8
    while let found = try? answer.byte(offset), let length = try? answer.byte(offset + 1) {
      if found == type { return try? answer.part(offset + 2, Int(length)) }
      offset += 2 + Int(length)
    }
    return nil
  }

  /// How much of what the device does by itself is done, from 0 to 1; nil: it does not say (SPC-4, 4.5.2.4.4).
  public var progress: Double? {
    let isFixed = bytes.first.map { $0 & 0x7f < 0x72 } ?? false
    let specific = isFixed ? AnswerBytes(bytes).available(15, 3) : descriptor(2)?.available(2, 3)
    guard let flags = try? specific?.byte(0), flags & 0x80 != 0,
      let done = try? specific?.bigEndian(1, as: UInt16.self)
    else { return nil }
    return Double(done) / 65536
  }

  /// Whether the command was carried out all the same.
  public var isSuccess: Bool { key == .none || key == .recoveredError || key == .completed }

  /// Whether the device does not know the command, or not with these fields.
  public var isUnsupported: Bool {
    key == .illegalRequest && (code == .invalidOperationCode || code == .invalidFieldInCommand)
  }
}

extension SCSISense.Key {
  fileprivate init(_ byte: UInt8) { self = Self(rawValue: byte & 0xf) ?? .reserved }
}

extension SCSISense: CustomStringConvertible {
  /// "unit attention, 2a/05: registrations preempted"
  public var description: String {
    let meaning = Self.meanings[code].map { ": \($0)" } ?? ""
    return "\(key.text), \(code)\(meaning)"
  }

  private static let meanings: [AdditionalCode: String] = [
    .invalidOperationCode: "the device does not know the command",
    .invalidFieldInCommand: "invalid field in the command",
    .logicalUnitNotSupported: "logical unit not supported",
    .invalidFieldInParameters: "invalid field in the parameters",
    .invalidRelease: "a reservation is released by its own type only",
    .powerOnOrReset: "power on or reset",
    .capacityChanged: "the capacity has changed",
    .reservationsPreempted: "reservations preempted",
    .reservationsReleased: "reservations released",
    .registrationsPreempted: "registrations preempted",
    .insufficientRegistrationResources: "no room for another registration",
    AdditionalCode(0x04, 0x01): "becoming ready",
    AdditionalCode(0x04, 0x02): "the unit waits for a start command",
    .sanitizeInProgress: "a sanitize is in progress",
    .sanitizeFailed: "the last sanitize failed; sanitize again",
    AdditionalCode(0x11, 0x00): "unrecovered read error",
    AdditionalCode(0x27, 0x00): "write protected",
    AdditionalCode(0x3a, 0x00): "no medium",
    AdditionalCode(0x3f, 0x0e): "the list of logical units has changed",
  ]
}

extension SCSISense.Key {
  fileprivate var text: String {
    switch self {
    case .none: "no sense"
    case .recoveredError: "recovered error"
    case .notReady: "not ready"
    case .mediumError: "medium error"
    case .hardwareError: "hardware error"
    case .illegalRequest: "illegal request"
    case .unitAttention: "unit attention"
    case .dataProtect: "data protect"
    case .blankCheck: "blank check"
    case .vendorSpecific: "vendor specific"
    case .copyAborted: "copy aborted"
    case .abortedCommand: "aborted command"
    case .reserved: "reserved sense key"
    case .volumeOverflow: "volume overflow"
    case .miscompare: "miscompare"
    case .completed: "completed"
    }
  }
}
