/// A short name for a long one: FNV-1a, 64 bits. The same on every host and in every run, against collisions by chance and
/// not by malice. It names files, interfaces and devices that outlive the process: it must never change.
public enum StableDigest {
  /// Sixteen hexadecimal digits.
  public static func hexadecimal(_ text: String) -> String {
    let value = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
