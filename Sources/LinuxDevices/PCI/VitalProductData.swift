/// What a maker wrote into a card about it (PCI Local Bus 3.0, appendix I). Cards carry it malformed often enough that
/// whatever does not read cleanly counts as absent.
public struct VitalProductData: Sendable, Hashable {
  /// The product's name, for people.
  public var name: String?
  public var partNumber: String?
  public var serialNumber: String?

  /// Nil when there is no read-only part, when it is cut short, or when its checksum is wrong.
  public init?(_ bytes: some RandomAccessCollection<UInt8>) {
    var rest = Array(bytes)[...]
    var isComplete = false
    while let (tag, value) = Self.nextResource(&rest) {
      switch tag {
      case Self.identifierString: name = Self.text(value)
      case Self.readOnlyPart:
        // The checksum covers everything from the first byte of all to the RV field's own.
        guard let fields = Self.fields(value), Self.checks(Array(bytes), through: value, fields) else { return nil }
        partNumber = fields["PN"].flatMap(Self.text)
        serialNumber = fields["SN"].flatMap(Self.text)
        isComplete = true
      case Self.end:
        if !isComplete { return nil }
        return
      default: break
      }
    }
    // Some cards have no end tag; what was read whole and adds up is good.
    guard isComplete else { return nil }
  }

  private static let identifierString: UInt8 = 0x82
  private static let readOnlyPart: UInt8 = 0x90
  private static let end: UInt8 = 0x78

  /// A large resource has a tag above 0x7f and a length of two bytes; a small one has its length in the tag.
  private static func nextResource(_ rest: inout ArraySlice<UInt8>) -> (tag: UInt8, value: ArraySlice<UInt8>)? {
    guard let first = rest.first else { return nil }
    let isLarge = first & 0x80 != 0
    let header = isLarge ? 3 : 1
    let length = isLarge ? rest.integer(at: 1, as: UInt16.self).map { Int(UInt16(littleEndian: $0)) } : Int(first & 7)
    guard let length, rest.count >= header + length else { return nil }
    let value = rest.dropFirst(header).prefix(length)
    rest = rest.dropFirst(header + length)
    return (isLarge ? first : first & 0x78, value)
  }

  /// Keyword of two letters, length, value; nil when one reaches beyond the end.
  private static func fields(_ part: ArraySlice<UInt8>) -> [String: ArraySlice<UInt8>]? {
    var rest = part
    var fields: [String: ArraySlice<UInt8>] = [:]
    while !rest.isEmpty {
      guard rest.count >= 3, let length = rest.integer(at: 2, as: UInt8.self), rest.count >= 3 + Int(length) else {
        return nil
      }
      let keyword = String(decoding: rest.prefix(2), as: UTF8.self)
      fields[keyword] = rest.dropFirst(3).prefix(Int(length))
      rest = rest.dropFirst(3 + Int(length))
    }
    return fields
  }

  /// All bytes up to and with the first of RV add up to zero. Without the field there is nothing to check.
  private static func checks(_ all: [UInt8], through part: ArraySlice<UInt8>, _ fields: [String: ArraySlice<UInt8>])
    -> Bool
  {
    guard let checksum = fields["RV"] else { return true }
    guard !checksum.isEmpty else { return false }
    return all[...checksum.startIndex].reduce(0, &+) == 0
  }

  /// Printable text without blanks at its ends; makers fill fields with blanks and zeros.
  private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
    var text = bytes
    while let last = text.last, last == 0 || last == 0x20 { text.removeLast() }
    while text.first == 0x20 { text.removeFirst() }
    guard !text.isEmpty, text.allSatisfy({ (0x20...0x7e).contains($0) }) else { return nil }
    return String(decoding: text, as: UTF8.self)
  }
}
