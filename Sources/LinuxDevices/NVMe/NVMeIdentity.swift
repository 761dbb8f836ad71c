/// What a controller is and can do (base specification 2.0, figure 275).
public struct NVMeControllerData: Sendable, Hashable {
  public var serialNumber: String
  public var model: String
  public var firmware: String
  public var subsystemName: String
  /// Among those of its subsystem.
  public var identifier: UInt16
  public var vendor: UInt16
  /// Of the subsystem: several ports, several controllers. And of this controller: it is an SR-IOV virtual function.
  public var subsystemHasSeveralPorts: Bool
  public var subsystemHasSeveralControllers: Bool
  public var isVirtualFunction: Bool
  /// 0x00010400 is 1.4.
  public var version: UInt32
  public var hasFormat: Bool
  public var hasNamespaceManagement: Bool
  public var hasVirtualizationManagement: Bool
  public var hasDeallocate: Bool
  public var hasWriteZeroes: Bool
  public var hasReservations: Bool
  public var sanitize: SanitizeCapabilities
  /// A format of one namespace is one of all; so is an erasure.
  public var formatsAllNamespaces: Bool
  public var erasesAllNamespaces: Bool
  public var hasCryptographicErase: Bool
  public var hasVolatileWriteCache: Bool
  public var namespaces: UInt32
  public var warningTemperatureKelvin: UInt16?
  public var criticalTemperatureKelvin: UInt16?

  public struct SanitizeCapabilities: Sendable, Hashable {
    public var cryptographicErase: Bool
    public var blockErase: Bool
    public var overwrite: Bool

    public var isAny: Bool { cryptographicErase || blockErase || overwrite }
  }

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    guard !bytes.isZero else { throw MalformedAnswer("it is nothing but zeros") }
    vendor = try bytes.littleEndian(0)
    serialNumber = try bytes.text(4, 20)
    model = try bytes.text(24, 40)
    firmware = try bytes.text(64, 8)
    let sharing = try bytes.byte(76)
    subsystemHasSeveralPorts = sharing & 1 != 0
    subsystemHasSeveralControllers = sharing & 2 != 0
    isVirtualFunction = sharing & 4 != 0
    identifier = try bytes.littleEndian(78)
    version = try bytes.littleEndian(80)
    let administration: UInt16 = try bytes.littleEndian(256)
    hasFormat = administration & 1 << 1 != 0
    hasNamespaceManagement = administration & 1 << 3 != 0
    hasVirtualizationManagement = administration & 1 << 7 != 0
    let warning: UInt16 = try bytes.littleEndian(266)
    let critical: UInt16 = try bytes.littleEndian(268)
    warningTemperatureKelvin = warning == 0 ? nil : warning
    criticalTemperatureKelvin = critical == 0 ? nil : critical
    let sanitizing: UInt32 = try bytes.littleEndian(328)
    sanitize = SanitizeCapabilities(
      cryptographicErase: sanitizing & 1 != 0, blockErase: sanitizing & 2 != 0, overwrite: sanitizing & 4 != 0)
    namespaces = try bytes.littleEndian(516)
    let commands: UInt16 = try bytes.littleEndian(520)
    hasDeallocate = commands & 1 << 2 != 0
    hasWriteZeroes = commands & 1 << 3 != 0
    hasReservations = commands & 1 << 5 != 0
    let format = try bytes.byte(524)
    formatsAllNamespaces = format & 1 != 0
    erasesAllNamespaces = format & 2 != 0
    hasCryptographicErase = format & 4 != 0
    hasVolatileWriteCache = try bytes.bit(0, ofByte: 525)
    subsystemName = try bytes.text(768, 256)
  }
}

/// What a namespace is (NVM command set specification 1.0, figure 97).
public struct NVMeNamespaceData: Sendable, Hashable {
  public var logicalBlocks: UInt64
  public var capacityBlocks: UInt64
  public var usedBlocks: UInt64
  public var logicalBlockBytes: UInt32
  public var metadataBytes: UInt16
  public var isThin: Bool
  /// Whether it may be attached to several controllers at once.
  public var isShared: Bool
  /// Nil: it knows no reservations. Persistence through a loss of power is set on registering.
  public var reservationTypes: Set<ReservationType>
  public var canPersistReservations: Bool
  /// Whether deallocated blocks read as zeros.
  public var deallocatedReadsZero: Bool
  public var isWriteProtected: Bool
  public var names: NVMeNamespaceNames
  /// What a Format has to say again so that only the data goes: the number of the format, whether its metadata stands in
  /// one buffer with the data, and its protection (FLBAS, DPS).
  public var formatNumber: UInt8
  public var hasExtendedMetadata: Bool
  public var protection: UInt8

  public var sizeBytes: UInt64 { logicalBlocks * UInt64(logicalBlockBytes) }

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    logicalBlocks = try bytes.littleEndian(0)
    guard logicalBlocks > 0 else {
      throw MalformedAnswer("it has no blocks; the namespace is not attached, or not there")
    }
    capacityBlocks = try bytes.littleEndian(8)
    usedBlocks = try bytes.littleEndian(16)
    isThin = try bytes.bit(0, ofByte: 24)
    isShared = try bytes.bit(0, ofByte: 30)
    let reservations = try bytes.byte(31)
    canPersistReservations = reservations & 1 != 0
    reservationTypes = Set(ReservationType.allCases.filter { reservations & 1 << $0.nvmeCode != 0 })
    deallocatedReadsZero = try bytes.byte(33) & 0x7 == 1
    isWriteProtected = try bytes.bit(0, ofByte: 99)
    names = NVMeNamespaceNames(
      nguid: Array(try bytes.part(104, 16).bytes), eui64: Array(try bytes.part(120, 8).bytes))
    let selected = try bytes.byte(26)
    // 64 formats at most, of whose number bits 5 and 6 are the upper ones.
    formatNumber = selected & 0xf | selected >> 1 & 0x30
    hasExtendedMetadata = selected & 1 << 4 != 0
    protection = try bytes.byte(29) & 0xf
    let format: UInt32 = try bytes.littleEndian(128 + 4 * Int(formatNumber))
    metadataBytes = UInt16(format & 0xffff)
    let exponent = format >> 16 & 0xff
    guard (9...31).contains(exponent), !logicalBlocks.multipliedReportingOverflow(by: 1 << UInt64(exponent)).overflow
    else {
      throw MalformedAnswer("\(logicalBlocks) blocks of 2^\(exponent) bytes are no size")
    }
    logicalBlockBytes = 1 << exponent
  }
}

/// What names a namespace for good.
public struct NVMeNamespaceNames: Sendable, Hashable {
  public var nguid: [UInt8]?
  public var eui64: [UInt8]?
  public var uuid: [UInt8]?

  public init(nguid: [UInt8]? = nil, eui64: [UInt8]? = nil, uuid: [UInt8]? = nil) {
    self.nguid = Self.given(nguid)
    self.eui64 = Self.given(eui64)
    self.uuid = Self.given(uuid)
  }

  init(descriptors bytes: AnswerBytes) throws(MalformedAnswer) {
    self.init()
    var offset = 0
    while offset + 4 <= bytes.count {
      let (type, length) = (try bytes.byte(offset), Int(try bytes.byte(offset + 1)))
      guard length > 0 else { return }
      let value = Self.given(Array(try bytes.part(offset + 4, length).bytes))
      switch (type, length) {
      case (1, 8): eui64 = value
      case (2, 16): nguid = value
      case (3, 16): uuid = value
      default: break
      }
      offset += 4 + length
    }
  }

  /// Names registered with IEEE first. Emulated drives, and some real ones, make a new UUID whenever they start.
  public var best: DiskName? {
    if let nguid { return DiskName(.eui64(nguid)) }
    if let eui64 { return DiskName(.eui64(eui64)) }
    return uuid.flatMap { DiskName(.uuid($0)) }
  }

  private static func given(_ bytes: [UInt8]?) -> [UInt8]? { bytes?.contains { $0 != 0 } == true ? bytes : nil }
}

extension ReservationType {
  /// In the NVMe specification, where it also is the bit of the capability.
  public var nvmeCode: UInt8 {
    switch self {
    case .writeExclusive: 1
    case .exclusiveAccess: 2
    case .writeExclusiveRegistrantsOnly: 3
    case .exclusiveAccessRegistrantsOnly: 4
    case .writeExclusiveAllRegistrants: 5
    case .exclusiveAccessAllRegistrants: 6
    }
  }

  public init?(nvmeCode: UInt8) {
    guard let type = Self.allCases.first(where: { $0.nvmeCode == nvmeCode }) else { return nil }
    self = type
  }
}
