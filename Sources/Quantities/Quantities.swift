/// A rate in bits per second as people write it: `1gbit`, `250Mbit`, `10G`, `100000`. Decimal, as networks count.
public struct BitRate: Sendable, Equatable {
  public let bitsPerSecond: UInt64

  public init?(_ text: String) {
    let prefixed = Array(zip(letters, powers(of: 1000)))
    let units = prefixed.map { ($0 + "bit", $1) } + [("bit", 1)] + prefixed.map { ($0, $1) } + [("", 1)]
    guard let value = parse(text, units: units) else { return nil }
    bitsPerSecond = value
  }
}

/// A size in bytes as people write it: `64MiB`, `1.5GiB`, `10GB`, `4096`. `K`, `M`, `G` and `T` alone are binary.
public struct ByteCount: Sendable, Equatable {
  public let bytes: UInt64

  public init?(_ text: String) {
    var units: [(String, UInt64)] = []
    for (letter, (binary, decimal)) in zip(letters, zip(powers(of: 1024), powers(of: 1000))) {
      units += [(letter + "ib", binary), (letter + "b", decimal), (letter, binary)]
    }
    guard let value = parse(text, units: units + [("b", 1), ("", 1)]) else { return nil }
    bytes = value
  }
}

/// A rate in bytes per second as people write it: a size, with or without `/s`.
public struct ByteRate: Sendable, Equatable {
  public let bytesPerSecond: UInt64

  public init?(_ text: String) {
    let size = text.hasSuffix("/s") ? String(text.dropLast(2)) : text
    guard let count = ByteCount(size) else { return nil }
    bytesPerSecond = count.bytes
  }
}

private let letters = ["k", "m", "g", "t"]

private func powers(of base: UInt64) -> [UInt64] { [base, base * base, base * base * base, base * base * base * base] }

/// The number before the first unit that fits, times the unit; nil if it is no number, negative or not a whole result.
private func parse(_ text: String, units: [(suffix: String, factor: UInt64)]) -> UInt64? {
  let lowered = text.lowercased()
  guard let unit = units.first(where: { lowered.hasSuffix($0.suffix) }) else { return nil }
  let digits = lowered.dropLast(unit.suffix.count)
  guard digits.utf8.allSatisfy({ isDigit($0) || $0 == UInt8(ascii: ".") }) else { return nil }
  if let whole = UInt64(digits) {
    let (value, overflow) = whole.multipliedReportingOverflow(by: unit.factor)
    return overflow ? nil : value
  }
  guard let fraction = Double(digits) else { return nil }
  return UInt64(exactly: (fraction * Double(unit.factor)).rounded())
}

private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

/// Written so that `BitRate` reads it back exactly.
public func formatBitRate(_ bitsPerSecond: UInt64) -> String {
  format(
    bitsPerSecond, steps: [("Tbit", 1_000_000_000_000), ("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000)])
    ?? "\(bitsPerSecond)bit"
}

/// Written so that `ByteCount` reads it back exactly.
public func formatByteCount(_ bytes: UInt64) -> String {
  format(bytes, steps: [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]) ?? "\(bytes)B"
}

/// For people: three digits at most, `1.5GiB`.
public func roundedByteCount(_ bytes: UInt64) -> String {
  let steps: [(unit: String, factor: UInt64)] = [
    ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
  ]
  guard let step = steps.first(where: { bytes >= $0.factor }) else { return "\(bytes)B" }
  let tenths = bytes / (step.factor / 10)
  return tenths < 100 && tenths % 10 != 0 ? "\(tenths / 10).\(tenths % 10)\(step.unit)" : "\(tenths / 10)\(step.unit)"
}

private func format(_ value: UInt64, steps: [(unit: String, factor: UInt64)]) -> String? {
  guard value > 0, let step = steps.first(where: { value % $0.factor == 0 }) else { return nil }
  return "\(value / step.factor)\(step.unit)"
}
