/// INQUIRY, the standard data (SPC-4, 6.6).
public struct Inquiry: SCSICommand {
  public init() {}

  public var name: String { "INQUIRY" }
  // More than 36 bytes confuse old devices; all that is read here stands in them.
  public var block: [UInt8] { [0x12, 0, 0, 0, 36, 0] }
  public var data: CommandData { .receive(atMost: 36) }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> InquiryData {
    try InquiryData(AnswerBytes(answer.data))
  }
}

/// What a logical unit is.
public struct InquiryData: Sendable, Hashable {
  /// 0: a disk; 0x0d: an enclosure; 0x14: a disk with zones that the host manages.
  public var deviceType: UInt8
  /// False: there may be one, but not now, or not at all.
  public var isConnected: Bool
  public var isRemovable: Bool
  /// Whether paths differ: asymmetric access by target port groups.
  public var hasAsymmetricAccess: Bool
  /// Whether the device has several ports.
  public var hasSeveralPorts: Bool
  /// Whether there is a way to enclosure services by this unit.
  public var hasEnclosureServices: Bool
  public var vendor: String
  public var product: String
  public var revision: String

  public var isDisk: Bool { deviceType == 0 || deviceType == 0x14 }

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    let first = try bytes.byte(0)
    deviceType = first & 0x1f
    isConnected = first >> 5 == 0
    isRemovable = try bytes.bit(7, ofByte: 1)
    hasAsymmetricAccess = try bytes.byte(5) & 0x30 != 0
    hasSeveralPorts = try bytes.bit(4, ofByte: 6)
    hasEnclosureServices = try bytes.bit(6, ofByte: 6)
    vendor = try bytes.text(8, 8)
    product = try bytes.text(16, 16)
    revision = try bytes.text(32, 4)
  }
}

/// INQUIRY for a page of vital product data (SPC-4, 7.8; SBC-3, 6.6).
public struct VitalProductPage<Answer>: SCSICommand {
  public let page: UInt8
  private let decode: @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer

  init(page: UInt8, _ decode: @escaping @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer) {
    self.page = page
    self.decode = decode
  }

  public var name: String { "INQUIRY for page 0x\(hexadecimal(page, digits: 2))" }
  // The length's upper byte was reserved once: devices take it for zero, and with 0x0ff that is still 255 bytes.
  public var block: [UInt8] {
    var block: [UInt8] = [0x12, 1, page, 0, 0, 0]
    block.put(bigEndian: Self.most, at: 3)
    return block
  }
  public var data: CommandData { .receive(atMost: Int(Self.most)) }
  private static var most: UInt16 { 0x2ff }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> Answer {
    let bytes = AnswerBytes(answer.data)
    // Devices that know no such pages answer the standard data.
    guard try bytes.byte(1) == page else {
      throw MalformedAnswer("it is of page 0x\(hexadecimal(try bytes.byte(1), digits: 2))")
    }
    let length: UInt16 = try bytes.bigEndian(2)
    return try decode(bytes.available(0, Int(length) + 4))
  }
}

extension VitalProductPage where Answer == Set<UInt8> {
  public static var supportedPages: Self {
    Self(page: 0x00) { bytes throws(MalformedAnswer) in Set(bytes.available(4, bytes.count).bytes) }
  }
}

extension VitalProductPage where Answer == String {
  public static var unitSerialNumber: Self {
    Self(page: 0x80) { bytes throws(MalformedAnswer) in try bytes.text(4, bytes.count - 4) }
  }
}

extension VitalProductPage where Answer == DeviceIdentification {
  public static var deviceIdentification: Self {
    Self(page: 0x83) { bytes throws(MalformedAnswer) in try DeviceIdentification(bytes) }
  }
}

extension VitalProductPage where Answer == BlockLimits {
  public static var blockLimits: Self {
    Self(page: 0xb0) { bytes throws(MalformedAnswer) in try BlockLimits(bytes) }
  }
}

extension VitalProductPage where Answer == MediumKind {
  public static var blockDeviceCharacteristics: Self {
    Self(page: 0xb1) { bytes throws(MalformedAnswer) in
      switch try bytes.bigEndian(4, as: UInt16.self) {
      case 1: .solidState
      case let rate where (0x401...0xfffe).contains(rate): .rotating(perMinute: rate)
      default: .unknown
      }
    }
  }
}

extension VitalProductPage where Answer == Provisioning {
  public static var logicalBlockProvisioning: Self {
    Self(page: 0xb2) { bytes throws(MalformedAnswer) in try Provisioning(bytes) }
  }
}

public enum MediumKind: Sendable, Hashable {
  case unknown
  case solidState
  case rotating(perMinute: UInt16)
}

/// How much a command may move, in logical blocks; nil: the device does not say.
public struct BlockLimits: Sendable, Hashable {
  public var maximumTransferBlocks: UInt32?
  public var optimalTransferBlocks: UInt32?
  public var maximumUnmapBlocks: UInt32?
  public var maximumUnmapDescriptors: UInt32?
  public var optimalUnmapGranularityBlocks: UInt32?
  public var unmapAlignmentBlocks: UInt32?
  public var maximumWriteSameBlocks: UInt64?

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    func number(_ offset: Int) throws(MalformedAnswer) -> UInt32? {
      let number: UInt32 = try bytes.bigEndian(offset)
      return number == 0 ? nil : number
    }
    maximumTransferBlocks = try number(8)
    optimalTransferBlocks = try number(12)
    // SBC-2's page ends here.
    guard bytes.count >= 36 else { return }
    maximumUnmapBlocks = try number(20)
    maximumUnmapDescriptors = try number(24)
    optimalUnmapGranularityBlocks = try number(28)
    unmapAlignmentBlocks = try bytes.bit(7, ofByte: 32) ? try bytes.bigEndian(32, as: UInt32.self) & 0x7fff_ffff : nil
    guard bytes.count >= 44 else { return }
    let same: UInt64 = try bytes.bigEndian(36)
    maximumWriteSameBlocks = same == 0 ? nil : same
  }
}

/// What giving blocks back does.
public struct Provisioning: Sendable, Hashable {
  public enum Kind: Sendable, Hashable { case unknown, resource, thin }

  public var kind: Kind
  public var hasUnmap: Bool
  /// WRITE SAME (16) and (10) with the UNMAP bit.
  public var hasWriteSame16: Bool
  public var hasWriteSame10: Bool
  /// Whether blocks that were given back read as zeros.
  public var unmappedReadsZero: Bool

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    let flags = try bytes.byte(5)
    hasUnmap = flags & 0x80 != 0
    hasWriteSame16 = flags & 0x40 != 0
    hasWriteSame10 = flags & 0x20 != 0
    unmappedReadsZero = flags >> 2 & 0b1 != 0
    kind =
      switch try bytes.byte(6) & 0x7 {
      case 1: .resource
      case 2: .thin
      default: .unknown
      }
  }
}
