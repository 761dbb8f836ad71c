/// Goes through one level of DER (X.690 §8, §10), element by element.
struct DERReader {
  struct Tag: Hashable {
    let byte: UInt8

    static let octets = Tag(byte: 0x04)
    static let utcTime = Tag(byte: 0x17)
    static let generalizedTime = Tag(byte: 0x18)
    static let sequence = Tag(byte: 0x30)
    static let set = Tag(byte: 0x31)
    static func context(_ number: UInt8) -> Tag { Tag(byte: 0x80 | number) }
    static func explicit(_ number: UInt8) -> Tag { Tag(byte: 0xa0 | number) }

    /// UTF8String, NumericString, PrintableString, IA5String: those of which ASCII is ASCII.
    var isText: Bool { [0x0c, 0x12, 0x13, 0x16].contains(byte) }
  }

  struct Element {
    var tag: Tag
    var content: ArraySlice<UInt8>
  }

  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  var isAtEnd: Bool { rest.isEmpty }
  var tag: Tag? { rest.first.map(Tag.init) }

  /// Nil: there is no other, or what follows is none.
  mutating func next() -> Element? {
    var bytes = rest
    guard let tag = bytes.popFirst(), tag & 0x1f != 0x1f, let first = bytes.popFirst() else { return nil }
    var length = Int(first)
    if first >= 0x80 {
      // A certificate's parts are shorter than 16 MiB.
      let count = Int(first & 0x7f)
      guard (1...3).contains(count), bytes.count >= count else { return nil }
      length = bytes.prefix(count).reduce(0) { $0 << 8 | Int($1) }
      bytes = bytes.dropFirst(count)
    }
    guard length <= bytes.count else { return nil }
    rest = bytes.dropFirst(length)
    return Element(tag: Tag(byte: tag), content: bytes.prefix(length))
  }

  /// The next one's inside, if it is of this kind.
  mutating func open(_ tag: Tag) -> DERReader? {
    guard self.tag == tag, let element = next() else { return nil }
    return DERReader(element.content)
  }

  mutating func last() -> Element? {
    var found: Element?
    while let element = next() { found = element }
    return found
  }
}
