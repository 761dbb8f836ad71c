/// An Ethernet address. The text is six pairs of hexadecimal digits with colons between, in lower case.
package struct MACAddress: TableKey, CustomStringConvertible {
  package typealias Kept = NoHash

  /// The address in the low 48 bits.
  let value: UInt64

  /// Nil if `text` is not six pairs of hexadecimal digits with colons between.
  init?(_ text: String) {
    var text = text
    guard let value = text.withUTF8(Self.value) else { return nil }
    self.value = value
  }

  private static func value(of text: UnsafeBufferPointer<UInt8>) -> UInt64? {
    guard text.count == 17 else { return nil }
    var value: UInt64 = 0
    for place in 0..<17 {
      guard place % 3 != 2 else {
        guard text[place] == UInt8(ascii: ":") else { return nil }
        continue
      }
      guard let digit = digit(text[place]) else { return nil }
      value = value << 4 | digit
    }
    return value
  }

  private static func digit(_ byte: UInt8) -> UInt64? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  /// The address of a claim that asked for none: locally administered, unicast, and the same whenever it is computed.
  /// `attempt` gives another one when an address is taken.
  init(derivedFrom uid: String, attempt: Int = 0) {
    let hash = attempt == 0 ? Self.fnv1a64(uid) : Self.fnv1a64(uid, "#\(attempt)")
    value = 0x02 << 40 | (hash & 0xFF_FFFF_FFFF)
  }

  /// Sent to a group: the lowest bit of the first byte (IEEE 802, group bit).
  var isMulticast: Bool { value >> 40 & 1 == 1 }

  package var scattered: UInt64 { Scattering.secret ^ value }

  package var description: String {
    String(unsafeUninitializedCapacity: 17) { text in
      var rest = value << 16
      for place in stride(from: 0, to: 18, by: 3) {
        text[place] = Self.letter(rest >> 60)
        text[place + 1] = Self.letter(rest >> 56 & 0xF)
        if place < 15 { text[place + 2] = UInt8(ascii: ":") }
        rest <<= 8
      }
      return 17
    }
  }

  private static func letter(_ digit: UInt64) -> UInt8 {
    UInt8(truncatingIfNeeded: digit) + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
  }

  /// Of texts as if they were one. http://www.isthe.com/chongo/tech/comp/fnv/: short, without a seed, the same everywhere.
  static func fnv1a64(_ texts: String...) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for var text in texts {
      text.withUTF8 { for byte in $0 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 } }
    }
    return hash
  }
}
