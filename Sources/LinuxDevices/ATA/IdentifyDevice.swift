/// IDENTIFY DEVICE (ACS-4, 7.13): what a SATA drive is.
public struct IdentifyDevice: SCSICommand {
  public init() {}

  public var name: String { "IDENTIFY DEVICE" }
  private var registers: ATARegisters { ATARegisters(command: 0xec, transfer: .receive(sectors: 1)) }
  public var block: [UInt8] { registers.passThrough }
  public var data: CommandData { registers.data }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> ATAIdentity {
    try ATAIdentity(AnswerBytes(answer.data))
  }
}

/// A drive's own words, 256 of 16 bits.
public struct ATAIdentity: Sendable, Hashable {
  public var serialNumber: String
  public var firmware: String
  public var model: String
  /// Nil: it has none.
  public var worldWideName: UInt64?
  public var sectors: UInt64
  public var logicalSectorBytes: UInt32
  public var physicalSectorBytes: UInt32
  /// Which logical sector begins a physical one, from 0.
  public var alignmentOffsetSectors: UInt16
  public var rotation: MediumKind
  public var hasTrim: Bool
  /// What trimmed sectors read as.
  public var afterTrim: AfterTrim
  public var hasSMART: Bool
  public var isSMARTEnabled: Bool
  public var cachesWrites: Bool
  public var security: Security
  public var sanitize: Sanitize

  public enum AfterTrim: Sendable, Hashable {
    /// Whatever the drive likes, each time anew.
    case undefined
    /// The same each time (DRAT).
    case deterministic
    /// Zeros (RZAT).
    case zeros
  }

  public struct Security: OptionSet, Sendable, Hashable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let supported = Self(rawValue: 1 << 0)
    /// There is a password.
    public static let enabled = Self(rawValue: 1 << 1)
    public static let locked = Self(rawValue: 1 << 2)
    /// No change is taken until the next power cycle: firmware freezes drives when it starts.
    public static let frozen = Self(rawValue: 1 << 3)
    public static let enhancedErase = Self(rawValue: 1 << 5)
  }

  public struct Sanitize: OptionSet, Sendable, Hashable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let supported = Self(rawValue: 1 << 12)
    public static let cryptographicScramble = Self(rawValue: 1 << 13)
    public static let overwrite = Self(rawValue: 1 << 14)
    public static let blockErase = Self(rawValue: 1 << 15)
  }

  public var sizeBytes: UInt64 { sectors * UInt64(logicalSectorBytes) }

  /// "naa.5000c500…", else of model and serial number, as on any other SCSI disk.
  public var name: DiskName? {
    if let worldWideName {
      return DiskName(rank: .naaRegistered, text: "naa." + hexadecimal(worldWideName, digits: 16))
    }
    return serialNumber.isEmpty ? nil : DiskName(vendor: "ATA", product: model, serialNumber: serialNumber)
  }

  public init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    guard bytes.count >= 512 else { throw MalformedAnswer("it has \(bytes.count) bytes of 512") }
    let words = ATAWords(bytes)
    // A drive that signs its words has made their sum zero.
    let signature = try words[255] & 0xff
    if signature == 0xa5, bytes.bytes.prefix(512).reduce(0, &+) != 0 {
      throw MalformedAnswer("its checksum is wrong")
    }
    serialNumber = try words.text(10...19)
    firmware = try words.text(23...26)
    model = try words.text(27...46)
    worldWideName = try words.holds(87, bit: 8) ? ATAWords.given(try words.number(from: 108)) : nil
    let (short, long) = (try words.count28, try words.count48)
    let hasLong = try words.holds(83, bit: 10)
    sectors = hasLong && long > 0 ? long : short
    let size = try words.isValid(106) ? try words[106] : 0
    let longBytes = UInt32(try words[117]) | UInt32(try words[118]) << 16
    let isLong = size & 1 << 12 != 0 && (256...32768).contains(longBytes)
    logicalSectorBytes = isLong ? longBytes * 2 : 512
    physicalSectorBytes = size & 1 << 13 != 0 ? logicalSectorBytes << UInt32(size & 0xf) : logicalSectorBytes
    guard sectors > 0, sectors < 1 << 48, physicalSectorBytes > 0 else {
      throw MalformedAnswer("\(sectors) sectors of \(logicalSectorBytes) bytes are no size")
    }
    alignmentOffsetSectors = try words.isValid(209) ? try words[209] & 0x3fff : 0
    rotation =
      switch try words[217] {
      case 1: .solidState
      case let rate where (0x401...0xfffe).contains(rate): .rotating(perMinute: rate)
      default: .unknown
      }
    hasTrim = try words[169] & 1 != 0
    let support = try words[69]
    afterTrim = support & 1 << 14 == 0 ? .undefined : support & 1 << 5 == 0 ? .deterministic : .zeros
    hasSMART = try words[82] & 1 != 0
    isSMARTEnabled = try words[85] & 1 != 0
    cachesWrites = try words[85] & 1 << 5 != 0
    security = Security(rawValue: try words[128] & 0x3f)
    sanitize = Sanitize(rawValue: try words[59] & 0xf000)
  }

  /// From libata's attribute `id`: 256 words in hexadecimal, as the kernel read them when it found the drive.
  public init(sysfs text: String) throws(MalformedAnswer) {
    var bytes: [UInt8] = []
    for word in text.split(whereSeparator: \.isWhitespace) {
      guard word.utf8.count == 4, let value = UInt16(word, radix: 16) else {
        throw MalformedAnswer("'\(word)' is no word")
      }
      bytes += [UInt8(value & 0xff), UInt8(value >> 8)]
    }
    try self.init(AnswerBytes(bytes))
  }
}

private struct ATAWords {
  let bytes: AnswerBytes

  init(_ bytes: AnswerBytes) { self.bytes = bytes }

  subscript(index: Int) -> UInt16 {
    get throws(MalformedAnswer) { try bytes.littleEndian(2 * index) }
  }

  /// Two characters a word, the first in its upper half.
  func text(_ range: ClosedRange<Int>) throws(MalformedAnswer) -> String {
    var characters: [UInt8] = []
    for index in range {
      let word = try self[index]
      characters += [UInt8(word >> 8), UInt8(word & 0xff)]
    }
    return AnswerBytes.text(characters)
  }

  /// Words that begin with the bits 01 say something; others do not.
  func isValid(_ index: Int) throws(MalformedAnswer) -> Bool { try self[index] >> 14 == 1 }

  func holds(_ index: Int, bit: UInt16) throws(MalformedAnswer) -> Bool {
    guard try isValid(index) else { return false }
    return try self[index] & 1 << bit != 0
  }

  /// Four words, the first one uppermost.
  func number(from index: Int) throws(MalformedAnswer) -> UInt64 {
    var number: UInt64 = 0
    for offset in 0..<4 { number = number << 16 | UInt64(try self[index + offset]) }
    return number
  }

  var count28: UInt64 {
    get throws(MalformedAnswer) { UInt64(try bytes.littleEndian(120, as: UInt32.self)) }
  }

  var count48: UInt64 {
    get throws(MalformedAnswer) { try bytes.littleEndian(200) }
  }

  static func given(_ number: UInt64) -> UInt64? { number == 0 ? nil : number }
}
