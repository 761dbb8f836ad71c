import NearNames

extension Expression {
  /// What a peer sends is read with so much memory and stack, and no more.
  public static let longest = 4096
  public static let deepest = 32

  /// Reads a condition; what its names mean is checked when it is compiled.
  public init(parsing text: String) throws(SelectorError) {
    guard text.utf8.count <= Self.longest else {
      throw SelectorError(
        "a condition has at most \(Self.longest) bytes, this one has \(text.utf8.count)", at: 0..<0,
        in: String(text.prefix(80)))
    }
    var parser = try Parser(text)
    self = try parser.whole()
  }

  /// The condition in one spelling; as it is if it cannot be read, or does not fit in another spelling.
  public static func normalized(_ text: String) -> String {
    guard !text.isEmpty, let expression = try? Expression(parsing: text) else { return text }
    return expression.normalized(from: text)
  }

  func normalized(from text: String) -> String {
    let spelt = description
    return spelt.utf8.count <= Self.longest ? spelt : text
  }
}

/// By descent, one method for each rule:
///
///     any        = all { ("or" | "||") all }
///     all        = one { ("and" | "&&") one }
///     one        = ("not" | "!") one | "(" any ")" | "has" "(" operand ")" | relation
///     relation   = operand [ comparison operand | ["not"] "in" ( "[" operand { "," operand } "]" | operand ) ]
///     operand    = text | number | "true" | "false" | ("label" | "labels") ( "." word | "[" text "]" ) | "labels" | field
///     field      = word { "." word }
private struct Parser {
  private let text: String
  private var tokens: ArraySlice<Token>
  private var depth = 0

  init(_ text: String) throws(SelectorError) {
    self.text = text
    tokens = try Lexer.tokens(of: text)[...]
  }

  /// The end is never taken off.
  private var token: Token { tokens.first ?? Token(kind: .end, place: text.utf8.count..<text.utf8.count) }

  private mutating func take() -> Token {
    let taken = token
    if taken.kind != .end { tokens.removeFirst() }
    return taken
  }

  private mutating func take(_ symbol: Token.Symbol) -> Bool { takes(.symbol(symbol)) }
  private mutating func take(_ word: String) -> Bool { takes(.word(word)) }

  private mutating func takes(_ kind: Token.Kind) -> Bool {
    guard token.kind == kind else { return false }
    _ = take()
    return true
  }

  private func error(_ problem: String, at place: Range<Int>? = nil) -> SelectorError {
    SelectorError(problem, at: place ?? token.place, in: text)
  }

  // MARK: Conditions

  mutating func whole() throws(SelectorError) -> Expression {
    guard token.kind != .end else { throw error("the condition is empty; one is, say, class == \"ethernet\"") }
    let expression = try any()
    guard token.kind == .end else { throw error(whatCannotFollow()) }
    return expression
  }

  private mutating func any() throws(SelectorError) -> Expression {
    var parts = [try all()]
    while take("or") || take(.either) { parts.append(try all()) }
    return parts.count == 1 ? parts[0] : .any(parts)
  }

  private mutating func all() throws(SelectorError) -> Expression {
    var parts = [try one()]
    while take("and") || take(.both) { parts.append(try one()) }
    return parts.count == 1 ? parts[0] : .all(parts)
  }

  private mutating func one() throws(SelectorError) -> Expression {
    let start = token.place
    depth += 1
    defer { depth -= 1 }
    guard depth <= Expression.deepest else {
      throw error("the condition is nested deeper than \(Expression.deepest) times", at: start)
    }
    if take("not") || take(.no) { return .not(try one()) }
    if take(.open) {
      let inner = try any()
      guard take(.close) else {
        throw error("'(' in column \(column(of: start)) is not closed: ')' is missing before \(token.words)")
      }
      return inner
    }
    return try relation()
  }

  private mutating func relation() throws(SelectorError) -> Expression {
    if token.kind == .word("has"), tokens.dropFirst().first?.kind == .symbol(.open) {
      _ = take()
      _ = take()
      let operand = try operand()
      guard !operand.isConstant, operand.kind != .labels else {
        throw error("has() asks whether a field or label is there, and \(operand) is none", at: operand.place)
      }
      guard take(.close) else { throw error("')' is missing after has(\(operand)") }
      return .presence(operand)
    }
    let left = try operand()
    if let comparison = takeComparison() {
      let right = try operand()
      if case .symbol(let symbol) = token.kind, Comparison(rawValue: symbol.rawValue) != nil {
        throw error("comparisons do not chain: join two of them with and")
      }
      return .comparison(left, comparison, right)
    }
    if take("in") { return .membership(left, try collection()) }
    if token.kind == .word("not"), tokens.dropFirst().first?.kind == .word("in") {
      _ = take()
      _ = take()
      return .not(.membership(left, try collection()))
    }
    return .truth(left)
  }

  private mutating func takeComparison() -> Comparison? {
    guard case .symbol(let symbol) = token.kind, let comparison = Comparison(rawValue: symbol.rawValue) else {
      return nil
    }
    _ = take()
    return comparison
  }

  private mutating func collection() throws(SelectorError) -> Expression.Collection {
    guard take(.openList) else { return .operand(try operand()) }
    var operands: [Operand] = []
    repeat {
      let operand = try operand()
      guard operand.isConstant else { throw error("a list holds values, and \(operand) is a field", at: operand.place) }
      operands.append(operand)
    } while take(.comma)
    guard take(.closeList) else { throw error("',' or ']' is missing in the list before \(token.words)") }
    return .list(operands)
  }

  // MARK: Operands

  private mutating func operand() throws(SelectorError) -> Operand {
    let start = token.place
    switch token.kind {
    case .text(let content):
      _ = take()
      return Operand(kind: .text(content), place: start)
    case .number(let number):
      _ = take()
      return Operand(kind: .number(number), place: start)
    case .word(let word) where ["and", "or", "not", "in"].contains(word):
      throw error("a field or a value is missing before \(token.words)")
    case .word(let word):
      _ = take()
      return try named(word, at: start)
    case .symbol(.open):
      throw error("parentheses group conditions; here stands a field or a value")
    case .symbol(.openList):
      throw error("a list stands after in only")
    case .symbol, .end:
      throw error("a field or a value is missing before \(token.words)")
    }
  }

  private mutating func named(_ word: String, at start: Range<Int>) throws(SelectorError) -> Operand {
    if word == "true" || word == "false" { return Operand(kind: .bool(word == "true"), place: start) }
    if word == "label" || word == "labels" { return try label(word, at: start) }
    var (name, end) = (word, start.upperBound)
    while take(.dot) {
      guard case .word(let part) = token.kind else { throw error("a name is missing after '\(name).'") }
      name += "." + part
      end = take().place.upperBound
    }
    return Operand(kind: .field(name), place: start.lowerBound..<end)
  }

  private mutating func label(_ word: String, at start: Range<Int>) throws(SelectorError) -> Operand {
    let advice = "a label is \(word).rack, or with any characters \(word)[\"example.com/rack\"]"
    if take(.dot) {
      guard case .word(let key) = token.kind else { throw error(advice) }
      let end = take().place.upperBound
      guard token.kind != .symbol(.dot) else { throw error("'.' cannot be in a name that is not quoted: \(advice)") }
      return Operand(kind: .label(key), place: start.lowerBound..<end)
    }
    if take(.openList) {
      guard case .text(let key) = token.kind else { throw error(advice) }
      _ = take()
      let end = token.place.upperBound
      guard take(.closeList) else { throw error("']' is missing after the label's name") }
      return Operand(kind: .label(key), place: start.lowerBound..<end)
    }
    guard word == "labels" else { throw error(advice, at: start) }
    return Operand(kind: .labels, place: start)
  }

  // MARK: Errors

  private func column(of place: Range<Int>) -> Int { SelectorError("", at: place, in: text).column }

  private func whatCannotFollow() -> String {
    let found = "\(token.words) cannot follow what stands before it"
    switch token.kind {
    case .word(let word):
      let near = NearNames.near(word, among: ["and", "or", "in", "not"], limit: 1)
      return found + (near.first.map { "; did you mean '\($0)'?" } ?? "; conditions are joined with and, or")
    case .symbol(.close): return "there is no '(' that this ')' would close"
    case .symbol(let symbol) where Comparison(rawValue: symbol.rawValue) != nil:
      return "\(found): a comparison is between fields and values, and parentheses group conditions"
    default: return "\(found); conditions are joined with and, or"
    }
  }
}
