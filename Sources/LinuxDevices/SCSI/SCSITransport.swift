/// A way by which SCSI commands reach one logical unit: one path of a disk. Calls block.
public protocol SCSITransport: Sendable {
  /// What errors call the path: "/dev/sdb".
  var name: String { get }

  /// Sends one command and waits for its end, once: repeating is the caller's to decide.
  ///
  /// - Throws: `SCSIFailure` for every end but one with the data of the answer, which may be fewer than asked for.
  func execute(
    _ command: [UInt8], _ data: CommandData, timeout: Duration
  ) throws(SCSIFailure) -> SCSIAnswer
}

public struct SCSIAnswer: Sendable, Hashable {
  public var data: [UInt8]
  /// What the device says although it did what was asked.
  public var sense: SCSISense?

  public init(data: [UInt8] = [], sense: SCSISense? = nil) {
    self.data = data
    self.sense = sense
  }
}

/// How a command ended that did not do what was asked.
public enum SCSIFailure: Error, Hashable, CustomStringConvertible {
  /// Status 18h. Somebody else's reservation keeps this path from the logical unit, or this path is not registered.
  case reservationConflict
  /// Status 02h: why stands in the sense.
  case checkCondition(SCSISense)
  /// Any other status: 08h busy, 28h task set full, 40h task aborted …
  case status(UInt8)
  /// The command, or its answer, did not get through: it may have been carried out or not. The kernel's DID_* and DRIVER_*.
  case path(host: UInt16, driver: UInt16)
  /// The kernel did not take it.
  case system(SystemCallError)
  case malformed(MalformedAnswer)

  /// From what SG_IO gives back; nil for success. The status comes first: a kernel adds a host status of its own to a
  /// reservation conflict.
  public init?(status: UInt8, host: UInt16, driver: UInt16, sense: SCSISense?) {
    // Bit 0 and the upper two of a status are reserved. Bit 3 of the driver's says that there is a sense.
    switch status & 0x3e | (status & 0x40) {
    case 0x18: self = .reservationConflict
    case 0x02:
      guard let sense else {
        self = .status(status)
        return
      }
      if sense.isSuccess { return nil }
      self = .checkCondition(sense)
    case 0, 0x04:
      guard host != 0 || driver & 0x07 != 0 else { return nil }
      self = .path(host: host, driver: driver)
    default: self = .status(status)
    }
  }

  public var sense: SCSISense? { if case .checkCondition(let sense) = self { sense } else { nil } }

  /// The device does not know the command, or not with these fields.
  public var isUnsupported: Bool { sense?.isUnsupported == true }

  /// The device did not carry the command out, and says so once to each path: the command may be sent again.
  public var isUnitAttention: Bool { sense?.key == .unitAttention }

  public var description: String {
    switch self {
    case .reservationConflict: "reservation conflict: somebody else's persistent reservation keeps this path out"
    case .checkCondition(let sense): "\(sense)"
    case .status(0x08): "the device is busy"
    case .status(0x28): "the device's queue is full"
    case .status(0x40): "the command was aborted by another path"
    case .status(let status): "status 0x\(hexadecimal(status, digits: 2))"
    case .path(let host, let driver): Self.path(host, driver)
    case .system(let error): "\(error)"
    case .malformed(let error): "the answer makes no sense: \(error)"
    }
  }

  private static func path(_ host: UInt16, _ driver: UInt16) -> String {
    let names: [UInt16: String] = [
      0x01: "no connection", 0x02: "the bus is busy", 0x03: "timed out", 0x04: "bad target", 0x05: "aborted",
      0x07: "adapter error", 0x08: "the bus was reset", 0x0e: "the transport was disrupted",
      0x0f: "the transport failed",
    ]
    let what =
      names[host] ?? "host status 0x\(hexadecimal(host, digits: 2)), driver status 0x\(hexadecimal(driver, digits: 2))"
    return "the path failed (\(what)); whether the command was carried out is unknown"
  }
}

/// A command that failed, and on what.
public struct SCSIError: Error, Hashable, CustomStringConvertible {
  /// "READ KEYS"
  public var command: String
  public var device: String
  public var failure: SCSIFailure

  public init(_ command: String, device: String, _ failure: SCSIFailure) {
    self.command = command
    self.device = device
    self.failure = failure
  }

  public var description: String { "\(command) on \(device): \(failure)" }
}
