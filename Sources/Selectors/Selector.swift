/// A condition on one kind of things, checked against what they have. Cheap to ask, again and again.
public struct Selector<Subject>: Sendable {
  /// All of them have to hold.
  private let parts: [(words: String, test: Test<Subject>)]
  /// Whether the answer may be another one when functions come and go.
  public let changesWithUse: Bool
  /// Why nothing can ever meet the condition; nil if something may.
  public let contradiction: SelectorError?

  /// - Throws: what is wrong with the condition: it cannot be read, names what there is not, or compares what is not alike.
  public init(_ text: String, _ vocabulary: Vocabulary<Subject>) throws(SelectorError) {
    try self.init(try Expression(parsing: text), text, vocabulary)
  }

  private init(
    _ expression: Expression, _ text: String, _ vocabulary: Vocabulary<Subject>
  ) throws(SelectorError) {
    var checker = Checker(text: text, vocabulary: vocabulary)
    let conjuncts = expression.conjuncts
    var tests: [Test<Subject>] = []
    for part in conjuncts { tests.append(try checker.test(part)) }
    parts = zip(conjuncts, tests).map { ($0.description, $1) }
    changesWithUse = checker.changesWithUse
    contradiction = Contradiction(.all(conjuncts), .all(tests)).map {
      SelectorError($0.problem, at: $0.place, in: text)
    }
  }

  /// The condition in one spelling; as it is if it means nothing, so that an error points into what was written.
  public static func normalized(_ text: String, _ vocabulary: @autoclosure () -> Vocabulary<Subject>) -> String {
    guard let expression = try? Expression(parsing: text) else { return text }
    let spelt = expression.normalized(from: text)
    guard spelt != text,
      let selector = try? Self(expression, text, vocabulary()), selector.contradiction == nil
    else { return text }
    return spelt
  }

  public func matches(_ subject: Subject) -> Bool { parts.allSatisfy { $0.test.holds(for: subject) } }

  /// The first part, in words, of those joined with `and` that is not so; nil if the whole condition holds.
  public func failing(for subject: Subject) -> String? { parts.first { !$0.test.holds(for: subject) }?.words }
}

/// A value of a thing, or a constant.
enum Term<Subject>: Sendable {
  case field(@Sendable (Subject) -> FieldValue)
  case label(String, @Sendable (Subject) -> [String: String])
  case constant(FieldValue)

  func value(of subject: Subject) -> FieldValue {
    switch self {
    case .field(let value): value(subject)
    case .label(let key, let labels): labels(subject)[key].map { .text($0) } ?? .none
    case .constant(let value): value
    }
  }
}

/// A condition that has been checked. What is not there is equal to nothing: comparing it is false, and so `!=` is true.
indirect enum Test<Subject>: Sendable {
  case any([Test])
  case all([Test])
  case not(Test)
  case comparison(Term<Subject>, Comparison, Term<Subject>)
  case isOneOf(Term<Subject>, Set<FieldValue>)
  case isIn(Term<Subject>, Term<Subject>)
  case isLabel(Term<Subject>, @Sendable (Subject) -> [String: String])
  case isThere(Term<Subject>)
  case truth(Term<Subject>)

  func holds(for subject: Subject) -> Bool {
    switch self {
    case .any(let parts): parts.contains { $0.holds(for: subject) }
    case .all(let parts): parts.allSatisfy { $0.holds(for: subject) }
    case .not(let part): !part.holds(for: subject)
    case .comparison(let one, let comparison, let other):
      comparison.holds(between: one.value(of: subject), and: other.value(of: subject))
    case .isOneOf(let term, let values): values.contains(term.value(of: subject))
    case .isIn(let term, let list):
      if case (.text(let text), .list(let texts)) = (term.value(of: subject), list.value(of: subject)) {
        texts.contains(text)
      } else {
        false
      }
    case .isLabel(let term, let labels):
      if case .text(let key) = term.value(of: subject) { labels(subject)[key] != nil } else { false }
    case .isThere(let term): term.value(of: subject) != .none
    case .truth(let term): term.value(of: subject) == .bool(true)
    }
  }
}

extension Comparison {
  func holds(between one: FieldValue, and other: FieldValue) -> Bool {
    if one == .none || other == .none { return self == .notEqual }
    switch self {
    case .equal: return one == other
    case .notEqual: return one != other
    case .less: return Self.isLess(one, other)
    case .lessOrEqual: return !Self.isLess(other, one)
    case .greater: return Self.isLess(other, one)
    case .greaterOrEqual: return !Self.isLess(one, other)
    }
  }

  private static func isLess(_ one: FieldValue, _ other: FieldValue) -> Bool {
    switch (one, other) {
    case (.number(let one), .number(let other)): one < other
    case (.text(let one), .text(let other)): isLess(one, other)
    default: false
    }
  }

  /// As people order versions and numbered things: where both have a number, the lower one is first, however many digits it
  /// has. So "r2" is before "r10", and firmware 9.1 before 22.31.
  static func isLess(_ one: String, _ other: String) -> Bool {
    var (one, other) = (one.utf8[...], other.utf8[...])
    while let left = one.first, let right = other.first {
      guard Lexer.isDigit(left), Lexer.isDigit(right) else {
        guard left == right else { return left < right }
        one.removeFirst()
        other.removeFirst()
        continue
      }
      let (first, second) = (takeNumber(&one), takeNumber(&other))
      guard first.count == second.count else { return first.count < second.count }
      guard first.elementsEqual(second) else { return first.lexicographicallyPrecedes(second) }
    }
    return one.isEmpty && !other.isEmpty
  }

  private static func takeNumber(_ text: inout Substring.UTF8View) -> Substring.UTF8View {
    let digits = text.prefix(while: Lexer.isDigit)
    text = text.dropFirst(digits.count)
    return digits.drop { $0 == UInt8(ascii: "0") }
  }
}
