/// An Ethernet address. The text is six pairs of hexadecimal digits with colons between, in lower case.
package struct MACAddress: Hashable, CustomStringConvertible {
  /// The address in the low 48 bits.
  let value: UInt64

  /// Nil if `text` is not six pairs of hexadecimal digits with colons between.
  init?(_ text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var value: UInt64 = 0
    for part in parts {
      // `UInt8(_:radix:)` would take "+1" for a number.
      guard part.count == 2, part.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
        let byte = UInt8(String(decoding: part, as: UTF8.self), radix: 16)
      else { return nil }
      value = value << 8 | UInt64(byte)
    }
    self.value = value
  }

  /// The address of a claim that asked for none: locally administered, unicast, and the same whenever it is computed.
  /// `attempt` gives another one when an address is taken.
  init(derivedFrom uid: String, attempt: Int = 0) {
    let text = attempt == 0 ? uid : "\(uid)#\(attempt)"
    value = 0x02 << 40 | (Self.fnv1a64(text) & 0xFF_FFFF_FFFF)
  }

  /// Sent to a group: the lowest bit of the first byte (IEEE 802, group bit).
  var isMulticast: Bool { value >> 40 & 1 == 1 }

  package var description: String {
    stride(from: 40, through: 0, by: -8)
      .map { shift in
        let byte = UInt8(truncatingIfNeeded: value >> UInt64(shift))
        return (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
      .joined(separator: ":")
  }

  /// http://www.isthe.com/chongo/tech/comp/fnv/: short, without a seed, the same everywhere.
  static func fnv1a64(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}
