/// READ CAPACITY(16) (SBC-3, 5.16).
public struct ReadCapacity: SCSICommand {
  public init() {}

  public var name: String { "READ CAPACITY(16)" }
  public var block: [UInt8] { [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0] }
  public var data: CommandData { .receive(atMost: 32) }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> Capacity {
    try Capacity(AnswerBytes(answer.data))
  }
}

public struct Capacity: Sendable, Hashable {
  public var logicalBlocks: UInt64
  public var logicalBlockBytes: UInt32
  public var physicalBlockBytes: UInt32
  /// The first logical block that begins a physical one.
  public var lowestAlignedBlock: UInt16
  /// Whether blocks can be given back, and read as zeros then.
  public var isThin: Bool
  public var unmappedReadsZero: Bool

  public var sizeBytes: UInt64 { logicalBlocks * UInt64(logicalBlockBytes) }

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    let last: UInt64 = try bytes.bigEndian(0)
    logicalBlockBytes = try bytes.bigEndian(8)
    guard logicalBlockBytes > 0, last < .max,
      !(last + 1).multipliedReportingOverflow(by: UInt64(logicalBlockBytes)).overflow
    else { throw MalformedAnswer("a last block \(last) of \(logicalBlockBytes) bytes is no capacity") }
    logicalBlocks = last + 1
    let (physical, isTooMuch) = logicalBlockBytes.multipliedReportingOverflow(by: 1 << UInt32(try bytes.byte(13) & 0xf))
    guard !isTooMuch else { throw MalformedAnswer("a physical block is said to have more than 4 GiB") }
    physicalBlockBytes = physical
    let alignment: UInt16 = try bytes.bigEndian(14)
    isThin = alignment & 0x8000 != 0
    unmappedReadsZero = alignment & 0x4000 != 0
    lowestAlignedBlock = alignment & 0x3fff
  }
}

/// REPORT LUNS (SPC-4, 6.33).
public struct ReportLogicalUnits: SCSICommand {
  private let most: UInt32

  /// - Parameter most: of the units that there are, so many are told.
  public init(atMost most: UInt16 = 1024) { self.most = 8 + 8 * UInt32(most) }

  public var name: String { "REPORT LUNS" }
  public var block: [UInt8] {
    var block: [UInt8] = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    block.put(bigEndian: most, at: 6)
    return block
  }
  public var data: CommandData { .receive(atMost: Int(most)) }

  /// The numbers as the eight bytes of SAM-5, 4.7, read as one; sorted as the device has them.
  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> [UInt64] {
    let bytes = AnswerBytes(answer.data)
    let list = bytes.available(8, Int(try bytes.bigEndian(0, as: UInt32.self)))
    var units: [UInt64] = []
    for offset in stride(from: 0, to: list.count / 8 * 8, by: 8) { units.append(try list.bigEndian(offset)) }
    return units
  }
}
