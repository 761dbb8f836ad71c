import ArgumentParser

/// A rate in bits per second as people write it: `1gbit`, `250Mbit`, `100000`. Decimal, as networks count.
struct BitRate: ExpressibleByArgument, Equatable {
  let bitsPerSecond: UInt64

  init?(argument: String) {
    let units: [(String, UInt64)] = [
      ("tbit", 1_000_000_000_000), ("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1000), ("bit", 1), ("", 1),
    ]
    guard let value = parse(argument, units: units) else { return nil }
    bitsPerSecond = value
  }
}

/// A size in bytes as people write it: `64MiB`, `1.5GiB`, `10GB`, `4096`. `K`, `M`, `G` and `T` alone are binary.
struct ByteCount: ExpressibleByArgument, Equatable {
  let bytes: UInt64

  init?(argument: String) {
    var units: [(String, UInt64)] = []
    for (index, letter) in ["k", "m", "g", "t"].enumerated() {
      let binary = UInt64(1) << UInt64(10 * (index + 1))
      var decimal: UInt64 = 1
      for _ in 0...index { decimal *= 1000 }
      units += [(letter + "ib", binary), (letter + "b", decimal), (letter, binary)]
    }
    guard let value = parse(argument, units: units + [("b", 1), ("", 1)]) else { return nil }
    bytes = value
  }
}

/// The number before the first unit that fits, times the unit; nil if it is no number, negative or not a whole result.
private func parse(_ text: String, units: [(suffix: String, factor: UInt64)]) -> UInt64? {
  let lowered = text.lowercased()
  guard let unit = units.first(where: { lowered.hasSuffix($0.suffix) }) else { return nil }
  let digits = lowered.dropLast(unit.suffix.count)
  if let whole = UInt64(digits) {
    let (value, overflow) = whole.multipliedReportingOverflow(by: unit.factor)
    return overflow ? nil : value
  }
  guard digits.allSatisfy({ $0.isNumber || $0 == "." }), let fraction = Double(digits) else { return nil }
  return UInt64(exactly: (fraction * Double(unit.factor)).rounded())
}

/// Written so that `BitRate` reads it back exactly.
func formatBitRate(_ bitsPerSecond: UInt64) -> String {
  format(
    bitsPerSecond, steps: [("Tbit", 1_000_000_000_000), ("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000)])
    ?? "\(bitsPerSecond)bit"
}

/// Written so that `ByteCount` reads it back exactly.
func formatByteCount(_ bytes: UInt64) -> String {
  format(bytes, steps: [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]) ?? "\(bytes)B"
}

/// For people: three digits at most, `1.5GiB`.
func roundedByteCount(_ bytes: UInt64) -> String {
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

/// `key=value`.
struct Label: ExpressibleByArgument {
  let key: String
  let value: String

  init?(argument: String) {
    guard let separator = argument.firstIndex(of: "="), separator != argument.startIndex else { return nil }
    key = String(argument[..<separator])
    value = String(argument[argument.index(after: separator)...])
  }
}
