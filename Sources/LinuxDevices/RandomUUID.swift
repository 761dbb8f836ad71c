/// A UUID that nobody else has: of version 4 (RFC 9562 §5.4), with lowercase digits. Foundation's opens /dev/urandom for each.
public func randomUUID() -> String {
  var generator = SystemRandomNumberGenerator()
  let (high, low) = (generator.next(), generator.next())
  let version = high & ~0xF000 | 0x4000
  let variant = low & (.max >> 2) | 1 << 63
  let digits = Array("0123456789abcdef".utf8)
  return String(unsafeUninitializedCapacity: 36) { text in
    var place = 0
    for (number, half) in [version, variant].enumerated() {
      for digit in 0..<16 {
        // Groups of 8, 4, 4, 4 and 12 digits.
        if [8, 12, 16, 20].contains(number * 16 + digit) {
          text[place] = UInt8(ascii: "-")
          place += 1
        }
        text[place] = digits[Int(half >> (60 - 4 * UInt64(digit)) & 0xF)]
        place += 1
      }
    }
    return place
  }
}
