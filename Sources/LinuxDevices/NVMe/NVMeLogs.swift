/// Get Log Page (base specification 2.0, 5.16).
public struct GetLogPage<Answer>: NVMeCommand {
  public let name: String
  private let page: UInt8
  private let length: Int
  private let decode: @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer

  fileprivate init(
    _ what: String, page: UInt8, length: Int,
    _ decode: @escaping @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer
  ) {
    name = "Get Log Page, \(what)"
    self.page = page
    self.length = length
    self.decode = decode
  }

  /// Of the whole controller. The number of dwords is counted from zero.
  public var request: NVMeRequest {
    NVMeRequest(opcode: 0x02, namespace: .max, words: [UInt32(page) | UInt32(length / 4 - 1) << 16])
  }
  public var data: CommandData { .receive(atMost: length) }

  public func answer(to answer: NVMeAnswer) throws(MalformedAnswer) -> Answer { try decode(AnswerBytes(answer.data)) }
}

extension GetLogPage where Answer == NVMeHealth {
  public static var health: Self {
    Self("SMART / Health Information", page: 0x02, length: 512) { bytes throws(MalformedAnswer) in try NVMeHealth(bytes)
    }
  }
}

extension GetLogPage where Answer == SanitizeStatus {
  public static var sanitizeStatus: Self {
    Self("Sanitize Status", page: 0x81, length: 512) { bytes throws(MalformedAnswer) in try SanitizeStatus(bytes) }
  }
}

/// How a drive is, as it says itself.
public struct NVMeHealth: Sendable, Hashable {
  /// Each bit is something to warn of.
  public struct Warnings: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let spareLow = Self(rawValue: 1 << 0)
    public static let temperature = Self(rawValue: 1 << 1)
    public static let unreliable = Self(rawValue: 1 << 2)
    public static let readOnly = Self(rawValue: 1 << 3)
    public static let memoryBackupFailed = Self(rawValue: 1 << 4)
    public static let persistentMemoryUnreliable = Self(rawValue: 1 << 5)
  }

  public var warnings: Warnings
  public var temperatureKelvin: UInt16
  public var availableSparePercent: UInt8
  public var spareThresholdPercent: UInt8
  /// Of the life that the maker expects; more than 100 is possible, and 255 means more than 254.
  public var usedPercent: UInt8
  /// In units of 512,000 bytes; counters of 16 bytes are cut off at the largest number of eight.
  public var dataUnitsRead: UInt64
  public var dataUnitsWritten: UInt64
  public var powerOnHours: UInt64
  public var unsafeShutdowns: UInt64
  public var mediaErrors: UInt64

  public var celsius: Int { Int(temperatureKelvin) - 273 }

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    func counter(_ offset: Int) throws(MalformedAnswer) -> UInt64 {
      try bytes.littleEndian(offset + 8, as: UInt64.self) == 0 ? try bytes.littleEndian(offset) : .max
    }
    warnings = Warnings(rawValue: try bytes.byte(0))
    temperatureKelvin = try bytes.littleEndian(1)
    availableSparePercent = try bytes.byte(3)
    spareThresholdPercent = try bytes.byte(4)
    usedPercent = try bytes.byte(5)
    dataUnitsRead = try counter(32)
    dataUnitsWritten = try counter(48)
    powerOnHours = try counter(128)
    unsafeShutdowns = try counter(144)
    mediaErrors = try counter(160)
  }
}

/// How far erasing a whole drive is.
public struct SanitizeStatus: Sendable, Hashable {
  public enum State: Sendable, Hashable {
    case never
    case completed
    case inProgress(perMille: UInt16)
    case failed
    case other(UInt8)
  }

  public var state: State
  /// Nothing was written since.
  public var isErased: Bool

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    let (progress, status): (UInt16, UInt16) = (try bytes.littleEndian(0), try bytes.littleEndian(2))
    isErased = status & 0x100 != 0
    state =
      switch UInt8(status & 0x7) {
      case 0: .never
      // 4: and without deallocating what was erased.
      case 1, 4: .completed
      case 2: .inProgress(perMille: UInt16(UInt32(progress) * 1000 / 65536))
      case 3: .failed
      case let other: .other(other)
      }
  }
}

/// Format NVM (base specification 2.0, 5.14) with the namespace's present format: an erasure, spare blocks included. What it
/// reads as after that is the drive's to choose.
public struct FormatNamespace: NVMeCommand {
  public typealias Answer = Void
  public enum Erasure: UInt32, Sendable, Hashable {
    case userData = 1
    case cryptographic = 2
  }

  public let namespace: UInt32
  public let erasure: Erasure
  /// Of those that the namespace offers: the one that it has, or its data is laid out anew.
  public let format: UInt8
  /// How metadata and protection are laid out, as the command has them (bits 4 to 8).
  private let layout: UInt32

  /// All that the namespace is stays as it was found.
  public init(_ namespace: UInt32, _ erasure: Erasure, of data: NVMeNamespaceData) {
    self.init(
      namespace, erasure, format: data.formatNumber,
      layout: (data.hasExtendedMetadata ? 1 << 4 : 0) | UInt32(data.protection & 0x7) << 5
        | UInt32(data.protection >> 3 & 1) << 8)
  }

  public init(_ namespace: UInt32, _ erasure: Erasure, format: UInt8, layout: UInt32 = 0) {
    self.layout = layout
    self.namespace = namespace
    self.erasure = erasure
    self.format = format
  }

  public var name: String { "Format NVM" }
  /// A drive may write all of itself.
  public var timeout: Duration { .seconds(3600) }
  public var request: NVMeRequest {
    NVMeRequest(
      opcode: 0x80, namespace: namespace,
      words: [UInt32(format & 0xf) | layout | erasure.rawValue << 9 | UInt32(format >> 4 & 0x3) << 12])
  }
}

/// Sanitize (base specification 2.0, 5.24): starts erasing all of the drive, every namespace; `SanitizeStatus` tells how far it is.
public struct Sanitize: NVMeCommand {
  public typealias Answer = Void
  public enum Action: UInt32, Sendable, Hashable {
    case blockErase = 2
    case overwrite = 3
    case cryptographicErase = 4
  }

  public let action: Action

  public init(_ action: Action) { self.action = action }

  public var name: String { "Sanitize" }
  /// An overwrite is one pass, of zeros.
  public var request: NVMeRequest {
    NVMeRequest(opcode: 0x84, words: [action.rawValue | (action == .overwrite ? 1 << 4 : 0)])
  }
}
