// RFC 3339, the form of a time in protobuf's JSON: `2026-11-23T10:25:00.500Z`.

extension Timestamp: JSONMapped, LosslessStringConvertible, Codable {
  /// 0001-01-01T00:00:00Z and the second after 9999-12-31T23:59:59Z: what RFC 3339 can write.
  private static let writable: Range<Int64> = -62_135_596_800..<253_402_300_800

  /// With as many digits of the fraction as are needed: none, three, six or nine. A time that RFC 3339 cannot write is
  /// shown at the nearest end of what it can.
  public var description: String {
    let seconds = min(max(seconds, Self.writable.lowerBound), Self.writable.upperBound - 1)
    let (day, secondOfDay) = floorDivide(seconds, 86_400)
    let (year, month, dayOfMonth) = date(ofDay: day)
    let clock = [secondOfDay / 3600, secondOfDay / 60 % 60, secondOfDay % 60].map { padded($0, 2) }
    let calendar = [padded(year, 4), padded(month, 2), padded(dayOfMonth, 2)]
    return calendar.joined(separator: "-") + "T" + clock.joined(separator: ":") + fraction + "Z"
  }

  private var fraction: String {
    guard (1..<1_000_000_000).contains(nanoseconds) else { return "" }
    if nanoseconds % 1_000_000 == 0 { return "." + padded(Int64(nanoseconds) / 1_000_000, 3) }
    if nanoseconds % 1_000 == 0 { return "." + padded(Int64(nanoseconds) / 1_000, 6) }
    return "." + padded(Int64(nanoseconds), 9)
  }

  /// Reads RFC 3339 with `Z` or an offset; nil for everything else.
  public init?(_ text: String) {
    var parser = DigitParser(text)
    guard let year = parser.number(4), parser.take("-"), let month = parser.number(2), parser.take("-"),
      let day = parser.number(2), parser.take("T") || parser.take("t"),
      let hour = parser.number(2), parser.take(":"), let minute = parser.number(2), parser.take(":"),
      let second = parser.number(2), let nanoseconds = parser.fraction(), let offset = parser.offset(),
      parser.isAtEnd, (1...12).contains(month), (1...daysInMonth(month, of: year)).contains(day),
      hour < 24, minute < 60, second < 60
    else { return nil }
    seconds = dayNumber(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
    self.nanoseconds = Int32(nanoseconds)
    guard Self.writable.contains(seconds) else { return nil }
  }

  public init(json decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let time = Timestamp(text) else {
      let problem = "'\(text)' is no time of RFC 3339, like 2026-01-31T12:00:00Z"
      throw DecodingError.dataCorruptedError(in: container, debugDescription: problem)
    }
    self = time
  }

  public func encodeJSON(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  public init(from decoder: any Decoder) throws { try self.init(json: decoder) }
  public func encode(to encoder: any Encoder) throws { try encodeJSON(to: encoder) }

  /// A time that is there is written, even if it is 1970.
  public var isProtobufDefault: Bool { false }
}

private func padded(_ number: Int64, _ width: Int) -> String {
  let digits = String(number)
  return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

private func floorDivide(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
  let remainder = (value % divisor + divisor) % divisor
  return ((value - remainder) / divisor, remainder)
}

// The civil calendar by eras of 400 years, which begin on a 1 March so that the leap day is the last of its year:
// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

/// Days from 1970-01-01.
private func dayNumber(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
  let (era, yearOfEra) = floorDivide(month <= 2 ? year - 1 : year, 400)
  let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
  return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

private func date(ofDay day: Int64) -> (year: Int64, month: Int64, day: Int64) {
  let (era, dayOfEra) = floorDivide(day + 719_468, 146_097)
  let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let shiftedMonth = (5 * dayOfYear + 2) / 153
  let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
}

private func daysInMonth(_ month: Int64, of year: Int64) -> Int64 {
  switch month {
  case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
  case 4, 6, 9, 11: 30
  default: 31
  }
}

private struct DigitParser {
  private var rest: Substring.UTF8View

  init(_ text: String) { rest = text[...].utf8 }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard rest.first == UInt8(ascii: character) else { return false }
    rest = rest.dropFirst()
    return true
  }

  mutating func number(_ width: Int) -> Int64? {
    let digits = rest.prefix(width)
    guard digits.count == width, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    rest = rest.dropFirst(width)
    return digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
  }

  /// Nanoseconds; digits beyond the ninth are refused.
  mutating func fraction() -> Int64? {
    guard take(".") else { return 0 }
    let width = rest.prefix { (0x30...0x39).contains($0) }.count
    guard (1...9).contains(width), let digits = number(width) else { return nil }
    return (width..<9).reduce(digits) { value, _ in value * 10 }
  }

  /// Seconds east of UTC.
  mutating func offset() -> Int64? {
    if take("Z") || take("z") { return 0 }
    let sign: Int64
    if take("+") { sign = 1 } else if take("-") { sign = -1 } else { return nil }
    guard let hours = number(2), take(":"), let minutes = number(2), hours < 24, minutes < 60 else { return nil }
    return sign * (hours * 3600 + minutes * 60)
  }
}
