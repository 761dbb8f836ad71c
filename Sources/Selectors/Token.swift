/// A piece of a condition with its place, which are offsets in the text's UTF-8.
struct Token {
  enum Kind: Hashable {
    /// A name or a word such as `and`.
    case word(String)
    /// What stood in quotes.
    case text(String)
    /// A number with its unit, as it was written.
    case number(String)
    case symbol(Symbol)
    case end
  }

  enum Symbol: String, CaseIterable {
    case equal = "=="
    case notEqual = "!="
    case lessOrEqual = "<="
    case greaterOrEqual = ">="
    case both = "&&"
    case either = "||"
    case less = "<"
    case greater = ">"
    case no = "!"
    case open = "("
    case close = ")"
    case openList = "["
    case closeList = "]"
    case comma = ","
    case dot = "."
  }

  var kind: Kind
  var place: Range<Int>

  /// As an error names it.
  var words: String {
    switch kind {
    case .word(let word): "'\(word)'"
    case .text: "a text"
    case .number(let number): "the number \(number)"
    case .symbol(let symbol): "'\(symbol.rawValue)'"
    case .end: "the end"
    }
  }
}

/// Cuts a condition into tokens.
struct Lexer {
  private let text: String
  private let bytes: [UInt8]
  private var position = 0

  init(_ text: String) {
    self.text = text
    bytes = Array(text.utf8)
  }

  /// The last one is the end.
  static func tokens(of text: String) throws(SelectorError) -> [Token] {
    var lexer = Lexer(text)
    var tokens: [Token] = []
    while true {
      let token = try lexer.next()
      tokens.append(token)
      if token.kind == .end { return tokens }
    }
  }

  private mutating func next() throws(SelectorError) -> Token {
    while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
    let start = position
    guard start < bytes.count else { return Token(kind: .end, place: start..<start) }
    let byte = bytes[start]
    if Self.isLetter(byte) {
      let word = run { Self.isLetter($0) || Self.isDigit($0) || $0 == UInt8(ascii: "-") }
      return Token(kind: .word(word), place: start..<position)
    }
    if Self.isDigit(byte) { return Token(kind: .number(number()), place: start..<position) }
    if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
      return Token(kind: .text(try quoted(by: byte)), place: start..<position)
    }
    // The longer ones stand first.
    if let symbol = Token.Symbol.allCases.first(where: { bytes[start...].starts(with: $0.rawValue.utf8) }) {
      position += symbol.rawValue.utf8.count
      return Token(kind: .symbol(symbol), place: start..<position)
    }
    throw SelectorError(foreign(byte), at: start..<start + 1, in: text)
  }

  private mutating func run(while isPart: (UInt8) -> Bool) -> String {
    let start = position
    while position < bytes.count, isPart(bytes[position]) { position += 1 }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  /// With its unit, of which it is not known yet what it counts: `512MiB`, `1.5G`, `100MB/s`.
  private mutating func number() -> String {
    var number = run { Self.isDigit($0) || Self.isLetter($0) || $0 == UInt8(ascii: ".") }
    if bytes[position...].starts(with: "/s".utf8) {
      number += "/s"
      position += 2
    }
    return number
  }

  private mutating func quoted(by quote: UInt8) throws(SelectorError) -> String {
    let start = position
    var content: [UInt8] = []
    position += 1
    while position < bytes.count, bytes[position] != quote {
      if bytes[position] == UInt8(ascii: "\\") {
        position += 1
        guard position < bytes.count,
          [UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\")].contains(bytes[position])
        else {
          throw SelectorError(
            "in a text, \\ stands before a quote or before another \\ only", at: position - 1..<position, in: text)
        }
      }
      guard bytes[position] >= 0x20, bytes[position] != 0x7F else {
        throw SelectorError(
          "a text cannot hold control characters or line breaks", at: position..<position + 1, in: text)
      }
      content.append(bytes[position])
      position += 1
    }
    guard position < bytes.count else {
      throw SelectorError(
        "the text that begins here has no end: close it with \(quote == UInt8(ascii: "'") ? "'" : "\"")",
        at: start..<bytes.count, in: text)
    }
    position += 1
    return String(decoding: content, as: UTF8.self)
  }

  private func foreign(_ byte: UInt8) -> String {
    switch byte {
    case UInt8(ascii: "="): "'=' alone is nothing: to compare, write =="
    case UInt8(ascii: "&"): "'&' alone is nothing: write and, or &&"
    case UInt8(ascii: "|"): "'|' alone is nothing: write or, or ||"
    case UInt8(ascii: "-"): "there are no negative numbers and no subtraction"
    case UInt8(ascii: "*"), UInt8(ascii: "/"), UInt8(ascii: "+"), UInt8(ascii: "%"): "there is no arithmetic"
    default: "this character means nothing here; a text is written in quotes"
    }
  }

  private static func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0D].contains(byte) }
  static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
  static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_")
  }
}
