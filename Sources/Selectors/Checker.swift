import NearNames
import Quantities

/// Turns a condition into one on known things, and says what does not fit together.
struct Checker<Subject> {
  private let text: String
  private let vocabulary: Vocabulary<Subject>
  private(set) var changesWithUse = false

  init(text: String, vocabulary: Vocabulary<Subject>) {
    self.text = text
    self.vocabulary = vocabulary
  }

  private func error(_ problem: String, at operand: Operand) -> SelectorError {
    SelectorError(problem, at: operand.place, in: text)
  }

  mutating func test(_ expression: Expression) throws(SelectorError) -> Test<Subject> {
    switch expression {
    case .any(let parts): return .any(try tests(parts))
    case .all(let parts): return .all(try tests(parts))
    case .not(let part): return .not(try test(part))
    case .comparison(let one, let comparison, let other): return try comparing(one, comparison, other)
    case .membership(let operand, .list(let constants)): return try choosing(operand, among: constants)
    case .membership(let operand, .operand(let list)): return try finding(operand, in: list)
    case .presence(let operand): return .isThere(try named(operand).term)
    case .truth(let operand): return try truth(of: operand)
    }
  }

  private mutating func tests(_ parts: [Expression]) throws(SelectorError) -> [Test<Subject>] {
    var tests: [Test<Subject>] = []
    for part in parts { tests.append(try test(part)) }
    return tests
  }

  // MARK: Conditions

  private mutating func comparing(
    _ one: Operand, _ comparison: Comparison, _ other: Operand
  ) throws(SelectorError) -> Test<Subject> {
    let (left, right): (Typed, Typed)
    switch (one.isConstant, other.isConstant) {
    case (true, true): throw error("\(one) and \(other) are both constants: one of them has to be a field", at: one)
    case (false, true):
      left = try named(one)
      right = Typed(try constant(other, as: left, named: one), left.type)
    case (true, false):
      right = try named(other)
      left = Typed(try constant(one, as: right, named: other), right.type)
    case (false, false):
      left = try named(one)
      right = try named(other, comparedWith: left)
      if left.type.isList { throw isList(one) }
      if right.type.isList { throw isList(other) }
      guard left.type.isAlike(right.type) else {
        throw error(
          "\(one) (\(left.type.words)) cannot be compared with \(other) (\(right.type.words))", at: other)
      }
    }
    if comparison.isOrder, !left.type.isQuantity, left.type != .text {
      throw error(
        "\(one) has no order, so that \(comparison.rawValue) means nothing: compare it with == or !=", at: one)
    }
    return .comparison(left.term, comparison, right.term)
  }

  private mutating func choosing(_ operand: Operand, among constants: [Operand]) throws(SelectorError) -> Test<Subject>
  {
    guard !operand.isConstant else {
      throw error("\(operand) is a constant: before a list stands a field", at: operand)
    }
    let field = try named(operand)
    guard !field.type.isList else { throw isList(operand) }
    var values: Set<FieldValue> = []
    for constant in constants { values.insert(try value(constant, as: field, named: operand)) }
    return .isOneOf(field.term, values)
  }

  private mutating func finding(_ operand: Operand, in list: Operand) throws(SelectorError) -> Test<Subject> {
    if list.kind == .labels {
      guard case .text = operand.kind else {
        throw error("a label's name is a text, as in \"rack\" in labels", at: operand)
      }
      return .isLabel(.constant(.text(try text(of: operand))), vocabulary.labels)
    }
    guard !list.isConstant else { throw error("after in stands a list, as in [\(list)]", at: list) }
    let right = try named(list)
    guard right.type.isList else {
      throw error(
        "\(list) (\(right.type.words)) is no list: to compare it, write ==, or in with a list in [ ]", at: list)
    }
    if operand.isConstant {
      return .isIn(.constant(try value(operand, as: Typed(right.term, right.type.element), named: list)), right.term)
    }
    let left = try named(operand)
    guard left.type.isText else {
      throw error("\(operand) (\(left.type.words)) cannot be in \(list), which holds texts", at: operand)
    }
    return .isIn(left.term, right.term)
  }

  private mutating func truth(of operand: Operand) throws(SelectorError) -> Test<Subject> {
    if case .bool(let value) = operand.kind { return .truth(.constant(.bool(value))) }
    guard !operand.isConstant else {
      throw error("\(operand) is no condition: a field is missing that it is compared with", at: operand)
    }
    let field = try named(operand)
    guard field.type == .bool else {
      throw error(
        "\(operand) (\(field.type.words)) is no condition: compare it, or ask whether it is there with has(\(operand))",
        at: operand)
    }
    return .truth(field.term)
  }

  // MARK: Fields

  private struct Typed {
    var term: Term<Subject>
    var type: FieldType

    init(_ term: Term<Subject>, _ type: FieldType) {
      self.term = term
      self.type = type
    }
  }

  /// - Parameter other: what it is compared with, if that is known.
  private mutating func named(_ operand: Operand, comparedWith other: Typed? = nil) throws(SelectorError) -> Typed {
    switch operand.kind {
    case .label(let key): return Typed(.label(key, vocabulary.labels), .text)
    case .field(let name):
      guard let field = vocabulary.field(named: name) else { throw unknown(name, operand, comparedWith: other) }
      changesWithUse = changesWithUse || field.changesWithUse
      return Typed(.field(field.value), field.type)
    case .labels:
      throw error(
        "labels are many: name one, as in label.rack, or ask whether there is one with \"rack\" in labels", at: operand)
    case .text, .number, .bool:
      throw error("\(operand) is a constant; here stands a field", at: operand)
    }
  }

  private func unknown(_ name: String, _ operand: Operand, comparedWith other: Typed?) -> SelectorError {
    let names = vocabulary.fields.map(\.name)
    let near = NearNames.near(name, among: names)
    let inner = names.filter { $0.hasSuffix("." + name) || $0.hasPrefix(name + ".") }
    let meant = (near + inner.filter { !near.contains($0) }).prefix(3)
    let found = "\(vocabulary.subjects) have no field '\(name)'"
    if let other, other.type.isText {
      return error("\(found); if it is a text, put it in quotes: \"\(name)\"", at: operand)
    }
    guard meant.isEmpty else {
      return error("\(found); did you mean \(meant.joined(separator: " or "))?", at: operand)
    }
    return error("\(found); they have label.NAME, \(names.joined(separator: ", "))", at: operand)
  }

  // MARK: Constants

  private func constant(_ operand: Operand, as field: Typed, named name: Operand) throws(SelectorError) -> Term<Subject>
  {
    .constant(try value(operand, as: field, named: name))
  }

  private func text(of operand: Operand) throws(SelectorError) -> String {
    guard case .text(let content) = operand.kind else {
      throw error("a text is in quotes: \"\(operand)\"", at: operand)
    }
    return content
  }

  /// A constant as a value of the type of the field that it is compared with.
  private func value(_ operand: Operand, as field: Typed, named name: Operand) throws(SelectorError) -> FieldValue {
    func refuse(_ advice: String) -> SelectorError {
      error("\(name) is a \(field.type.short), and \(operand) is none: \(advice)", at: operand)
    }
    switch (field.type, operand.kind) {
    case (.text, .text(let content)): return .text(content)
    case (.text, _): throw refuse("a text is in quotes, as in \"\(operand)\"")
    case (.word(let known), .text(let content)):
      guard known.contains(content) else { throw noneOf(known, content, operand, of: name) }
      return .text(content)
    case (.word(let known), _): throw refuse("it is \(known.map { "\"\($0)\"" }.joined(separator: " or "))")
    case (.bool, .bool(let value)): return .bool(value)
    case (.bool, _): throw refuse("write true or false")
    case (.number, .number(let digits)):
      guard let value = UInt64(digits) else { throw refuse("write a whole number without a unit, as in 4") }
      return .number(value)
    case (.number, _): throw refuse("write a whole number, as in 4")
    case (.bytes, .number(let size)):
      guard let count = ByteCount(size) else { throw refuse("write a size such as 512MiB, 10GB or 4096") }
      return .number(count.bytes)
    case (.bytes, _): throw refuse("write a size such as 512MiB, 10GB or 4096")
    case (.bitRate, .number(let rate)):
      guard let rate = BitRate(rate) else { throw refuse("write a rate such as 10Gbit or 250Mbit") }
      return .number(rate.bitsPerSecond)
    case (.bitRate, _): throw refuse("write a rate such as 10Gbit or 250Mbit")
    case (.byteRate, .number(let rate)):
      guard let rate = ByteRate(rate) else { throw refuse("write a rate such as 100MB/s") }
      return .number(rate.bytesPerSecond)
    case (.byteRate, _): throw refuse("write a rate such as 100MB/s")
    case (.list, _), (.words, _): throw isList(name)
    }
  }

  private func isList(_ operand: Operand) -> SelectorError {
    error("\(operand) is a list: ask for what is in it, as in \"…\" in \(operand)", at: operand)
  }

  private func noneOf(_ known: [String], _ content: String, _ operand: Operand, of name: Operand) -> SelectorError {
    let near = NearNames.near(content, among: known).map { "\"\($0)\"" }
    return error(
      "\(name) is never \(operand); "
        + (near.isEmpty
          ? "it is one of \(known.joined(separator: ", "))" : "did you mean \(near.joined(separator: " or "))?"),
      at: operand)
  }
}

extension FieldType {
  fileprivate func isAlike(_ other: FieldType) -> Bool { self == other || (isText && other.isText) }

  /// Of what is in a list.
  fileprivate var element: FieldType {
    if case .words(let known) = self { .word(known) } else { .text }
  }

  fileprivate var short: String {
    switch self {
    case .word: "word"
    case .bool: "truth value"
    default: words
    }
  }
}
