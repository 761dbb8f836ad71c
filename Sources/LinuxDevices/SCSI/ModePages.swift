/// MODE SENSE(10) for the caching page (SPC-4, 6.14; SBC-3, 6.5.5).
public struct ModeSenseCaching: SCSICommand {
  public init() {}

  public var name: String { "MODE SENSE for caching" }
  // Without block descriptors, which nothing here reads.
  public var block: [UInt8] { [0x5a, 0x08, 0x08, 0, 0, 0, 0, 0, 64, 0] }
  public var data: CommandData { .receive(atMost: 64) }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> CachingMode {
    let bytes = AnswerBytes(answer.data)
    // A device may put descriptors there all the same.
    let page = 8 + Int(try bytes.bigEndian(6, as: UInt16.self))
    guard try bytes.byte(page) & 0x3f == 0x08 else {
      throw MalformedAnswer("it has another page than that for caching")
    }
    return CachingMode(
      isWriteProtected: try bytes.bit(7, ofByte: 3), cachesWrites: try bytes.bit(2, ofByte: page + 2))
  }
}

public struct CachingMode: Sendable, Hashable {
  public var isWriteProtected: Bool
  /// Whether an acknowledged write may be lost with the power until it is flushed.
  public var cachesWrites: Bool
}
