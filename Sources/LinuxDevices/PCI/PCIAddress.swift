/// Where a function is on the PCI buses of a host: "0000:03:10.2". An attribute and never a key: another card in the
/// machine moves it at the next boot.
public struct PCIAddress: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// 16 bits on most machines; more behind a controller that makes domains of its own (Intel's VMD counts from 0x10000).
  public var domain: UInt32
  public var bus: UInt8
  /// 0 to 31.
  public var device: UInt8
  /// 0 to 7.
  public var function: UInt8

  public init(domain: UInt32 = 0, bus: UInt8, device: UInt8, function: UInt8) {
    self.domain = domain
    self.bus = bus
    self.device = device & 0x1f
    self.function = function & 0x7
  }

  /// "0000:03:10.2" as the kernel writes it; nil when it is something else.
  public init?(_ text: some StringProtocol) {
    // By hand: this runs once for every virtual function of a rack's worth of cards.
    var fields: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    var value: UInt32 = 0
    var digits = 0
    var field = 0
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: ":") where field == 0 && digits >= 4 || field == 1 && digits == 2:
        if field == 0 { fields.0 = value } else { fields.1 = value }
      case UInt8(ascii: ".") where field == 2 && digits == 2: fields.2 = value
      default:
        guard digits < 8, let digit = Self.digit(byte) else { return nil }
        value = value << 4 | digit
        digits += 1
        continue
      }
      field += 1
      value = 0
      digits = 0
    }
    fields.3 = value
    guard field == 3, digits == 1, fields.1 <= 0xff, fields.2 <= 0x1f, fields.3 <= 7 else { return nil }
    self.init(domain: fields.0, bus: UInt8(fields.1), device: UInt8(fields.2), function: UInt8(fields.3))
  }

  private static func digit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  /// "0000:03:10", without the function: what a slot is said to hold.
  public var slot: String {
    "\(hexadecimal(domain, digits: 4)):\(hexadecimal(bus, digits: 2)):\(hexadecimal(device, digits: 2))"
  }

  public var description: String { "\(slot).\(function)" }

  public static func < (left: Self, right: Self) -> Bool {
    (left.domain, left.bus, left.device, left.function) < (right.domain, right.bus, right.device, right.function)
  }
}

/// Lower case, with leading zeros.
func hexadecimal(_ value: some UnsignedInteger, digits: Int) -> String {
  let text = String(value, radix: 16)
  return String(repeating: "0", count: max(0, digits - text.count)) + text
}
