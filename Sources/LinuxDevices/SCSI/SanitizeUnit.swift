/// SANITIZE (SBC-4): the logical unit erases all that it holds, also what no address leads to any more, and goes on with that
/// after a loss of power. It answers when it has begun; `RequestSense` tells how far it is.
public struct SanitizeUnit: SCSICommand {
  public typealias Answer = Void
  /// By service actions.
  public enum Action: UInt8, Sendable, Hashable, CaseIterable {
    case overwrite = 1
    case blockErase = 2
    case cryptographicErase = 3
  }

  static let operation: UInt8 = 0x48
  private static let immediately: UInt8 = 0x80
  /// One pass of four zeros, over and over.
  private static let zeros: [UInt8] = [1, 0, 0, 4, 0, 0, 0, 0]

  public let action: Action

  public init(_ action: Action) { self.action = action }

  public var name: String { "SANITIZE" }
  /// Not so that a unit whose erasing failed may be used again without (AUSE): it holds what it held.
  public var block: [UInt8] {
    let length = action == .overwrite ? UInt8(Self.zeros.count) : 0
    return [Self.operation, Self.immediately | action.rawValue, 0, 0, 0, 0, 0, 0, length, 0]
  }
  public var data: CommandData { action == .overwrite ? .send(Self.zeros) : .none }
}

/// REQUEST SENSE (SPC-4, 6.39): what the logical unit does by itself, if it does.
public struct RequestSense: SCSICommand {
  public init() {}

  public var name: String { "REQUEST SENSE" }
  public var block: [UInt8] { [0x03, 0, 0, 0, 252, 0] }
  public var data: CommandData { .receive(atMost: 252) }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> SCSISense {
    guard let sense = SCSISense(answer.data) else { throw MalformedAnswer("these are no sense data") }
    return sense
  }
}

/// TEST UNIT READY (SPC-4, 6.47).
public struct TestUnitReady: SCSICommand {
  public typealias Answer = Void

  public init() {}

  public var name: String { "TEST UNIT READY" }
  public var block: [UInt8] { [0, 0, 0, 0, 0, 0] }
  public var data: CommandData { .none }
}

/// REPORT SUPPORTED OPERATION CODES for one command with one service action (SPC-4, 6.35).
public struct ReportSupportedOperation: SCSICommand {
  public let operation: UInt8
  public let action: UInt16

  public init(_ action: SanitizeUnit.Action) {
    operation = SanitizeUnit.operation
    self.action = UInt16(action.rawValue)
  }

  public var name: String { "REPORT SUPPORTED OPERATION CODES" }
  public var block: [UInt8] {
    var block: [UInt8] = [0xa3, 0x0c, 0x02, operation, 0, 0, 0, 0, 0, 0, 0, 0]
    block.put(bigEndian: action, at: 4)
    block.put(bigEndian: Self.most, at: 6)
    return block
  }
  public var data: CommandData { .receive(atMost: Int(Self.most)) }
  /// A command's longest usage data and what stands before it.
  private static var most: UInt32 { 20 }

  /// Whether the device carries it out, by the standard or in a way of its maker's own.
  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> Bool {
    let support = try AnswerBytes(answer.data).byte(1) & 0x7
    return support == 3 || support == 5
  }
}
