/// SMART RETURN STATUS (ACS-4, 7.48.8): whether a drive expects to fail.
public struct SMARTReturnStatus: SCSICommand {
  public init() {}

  public var name: String { "SMART RETURN STATUS" }
  public var block: [UInt8] {
    ATARegisters(command: 0xb0, features: 0xda, block: Self.healthy << 8, wantsRegisters: true).passThrough
  }
  public var data: CommandData { .none }

  /// What every SMART command has in its upper registers, and a drive that is well leaves there.
  fileprivate static var healthy: UInt32 { 0xc24f }
  private static var failing: UInt32 { 0x2cf4 }

  /// True: it says that it will fail, or has been worked beyond what it is made for.
  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> Bool {
    guard let registers = answer.sense.flatMap({ ATAAnswerRegisters($0) }) else {
      throw MalformedAnswer("the drive's registers did not come with it; the adapter does not pass them")
    }
    switch registers.block >> 8 {
    case Self.healthy: return false
    case Self.failing: return true
    default: throw MalformedAnswer("the registers hold 0x\(hexadecimal(registers.block, digits: 6))")
    }
  }
}

/// SMART READ DATA: attributes whose meaning makers agree on more or less (ATA-5 had it; drives still have).
public struct SMARTReadData: SCSICommand {
  public init() {}

  public var name: String { "SMART READ DATA" }
  private var registers: ATARegisters {
    ATARegisters(
      command: 0xb0, features: 0xd0, block: SMARTReturnStatus.healthy << 8, transfer: .receive(sectors: 1))
  }
  public var block: [UInt8] { registers.passThrough }
  public var data: CommandData { registers.data }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> SMARTData {
    try SMARTData(AnswerBytes(answer.data))
  }
}

public struct SMARTData: Sendable, Hashable {
  public struct Attribute: Sendable, Hashable {
    /// 100, 200 or 253 for a new drive, less as it wears.
    public var value: UInt8
    public var worst: UInt8
    /// 48 bits.
    public var raw: UInt64
  }

  public var attributes: [UInt8: Attribute]

  /// Sectors replaced by spare ones. Some makers count something else in the upper bits.
  public var reallocatedSectors: UInt64? { attributes[5].map { $0.raw & 0xffff } }
  public var powerOnHours: UInt64? { attributes[9].map { $0.raw & 0xff_ffff } }
  /// Errors that the drive could not correct and told the host.
  public var reportedUncorrectable: UInt64? { attributes[187].map { $0.raw & 0xffff_ffff } }
  /// Sectors that could not be read and are replaced when they are written.
  public var pendingSectors: UInt64? { attributes[197].map { $0.raw & 0xffff_ffff } }
  public var offlineUncorrectable: UInt64? { attributes[198].map { $0.raw & 0xffff_ffff } }
  /// Of the cable, not of the drive.
  public var interfaceErrors: UInt64? { attributes[199].map { $0.raw & 0xffff_ffff } }
  public var celsius: UInt8? { (attributes[194] ?? attributes[190]).map { UInt8($0.raw & 0xff) } }

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    guard bytes.count >= 512 else { throw MalformedAnswer("it has \(bytes.count) bytes of 512") }
    guard bytes.bytes.prefix(512).reduce(0, &+) == 0 else { throw MalformedAnswer("its checksum is wrong") }
    attributes = [:]
    for index in 0..<30 {
      let entry = try bytes.part(2 + 12 * index, 12)
      let identifier = try entry.byte(0)
      guard identifier != 0 else { continue }
      attributes[identifier] = Attribute(
        value: try entry.byte(3), worst: try entry.byte(4),
        raw: UInt64(try entry.littleEndian(5, as: UInt32.self)) | UInt64(try entry.littleEndian(9, as: UInt16.self))
          << 32)
    }
  }
}
