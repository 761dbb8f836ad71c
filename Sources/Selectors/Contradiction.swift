/// A condition that nothing can ever meet, whatever there will be. It is found where parts that all have to hold ask one
/// field for what excludes one another; what compares two fields, asks what is in a list or puts texts in order is taken
/// to be possible.
struct Contradiction {
  let problem: String
  /// Offsets in the text's UTF-8.
  let place: Range<Int>

  /// - Parameter test: the same condition, checked.
  init?<Subject>(_ expression: Expression, _ test: Test<Subject>) {
    switch (expression, test) {
    case (.any(let expressions), .any(let tests)):
      var first: Contradiction?
      for (expression, test) in zip(expressions, tests) {
        guard let contradiction = Contradiction(expression, test) else { return nil }
        first = first ?? contradiction
      }
      guard let first else { return nil }
      self = first
    case (.all(let expressions), .all(let tests)):
      let parts = Array(zip(expressions, tests))
      for (expression, test) in parts {
        guard let contradiction = Contradiction(expression, test) else { continue }
        self = contradiction
        return
      }
      guard let contradiction = Contradiction(of: parts) else { return nil }
      self = contradiction
    default:
      guard let contradiction = Contradiction(of: [(expression, test)]) else { return nil }
      self = contradiction
    }
  }

  /// Whether each compares another field with constants, as nearly all conditions do: then one excludes no other.
  private static func areOfDifferentFields(_ parts: some Collection<Expression>) -> Bool {
    var fields: [Operand.Kind] = []
    for part in parts {
      guard let field = part.comparedField, !fields.contains(field) else { return false }
      fields.append(field)
    }
    return true
  }

  /// A peer's condition is looked at for so long, and no longer.
  private static let mostConstants = 32

  /// Between parts that all have to hold.
  private init?<Subject>(of parts: [(expression: Expression, test: Test<Subject>)]) {
    guard !Self.areOfDifferentFields(parts.lazy.map(\.expression)) else { return nil }
    // Those that ask nothing (`false`), and those that ask one field.
    let alike = Dictionary(grouping: parts.filter { ($0.expression.fields?.count ?? 2) < 2 }) { $0.expression.fields }
    for parts in alike.values.sorted(by: { $0[0].expression.place.lowerBound < $1[0].expression.place.lowerBound }) {
      let constants = parts.flatMap(\.test.constants)
      guard constants.count <= Self.mostConstants else { continue }
      var values = FieldValue.samples(around: constants)
      for (index, part) in parts.enumerated() {
        values.removeAll { !part.test.holds(where: $0) }
        guard values.isEmpty else { continue }
        let others = parts[..<index].map(\.expression.description).joined(separator: " and ")
        problem =
          others.isEmpty
          ? "\(part.expression) is never so"
          : "\(part.expression) is never so where \(others) is: to take what meets either, join them with or"
        place = part.expression.place
        return
      }
    }
    return nil
  }
}

extension Expression {
  /// The field that it compares with constants, or asks for; nil if it is no such condition.
  fileprivate var comparedField: Operand.Kind? {
    switch self {
    case .comparison(let one, _, let other) where one.isConstant != other.isConstant:
      return one.isConstant ? other.kind : one.kind
    case .membership(let operand, .list), .presence(let operand), .truth(let operand):
      return operand.isConstant ? nil : operand.kind
    case .any, .all, .not, .comparison, .membership: return nil
    }
  }

  /// What it asks; nil if it asks for more than whether values are equal or, as quantities, in order.
  fileprivate var fields: Set<Operand.Kind>? {
    switch self {
    case .any(let parts), .all(let parts):
      var all: Set<Operand.Kind> = []
      for part in parts {
        guard let fields = part.fields else { return nil }
        all.formUnion(fields)
      }
      return all
    case .not(let part): return part.fields
    case .comparison(_, let comparison, _) where comparison.isOrder && operands.contains(where: \.isText): return nil
    case .membership(_, .operand): return nil
    case .comparison, .membership, .presence, .truth: return Set(operands.filter { !$0.isConstant }.map(\.kind))
    }
  }

  fileprivate var place: Range<Int> {
    let places = operands.map(\.place)
    return (places.first?.lowerBound ?? 0)..<(places.last?.upperBound ?? 0)
  }

  /// In the order in which they are written.
  private var operands: [Operand] {
    switch self {
    case .any(let parts), .all(let parts): parts.flatMap(\.operands)
    case .not(let part): part.operands
    case .comparison(let one, _, let other): [one, other]
    case .membership(let operand, .list(let constants)): [operand] + constants
    case .membership(let operand, .operand(let list)): [operand, list]
    case .presence(let operand), .truth(let operand): [operand]
    }
  }
}

extension Operand {
  fileprivate var isText: Bool { if case .text = kind { true } else { false } }
}

extension FieldValue {
  /// Enough of all values that a condition on one field with these constants holds for one of them if it holds for any.
  fileprivate static func samples(around constants: [FieldValue]) -> [FieldValue] {
    var samples: [FieldValue] = [.none, .bool(true), .bool(false)]
    var unlikeAll = "?"
    for constant in constants {
      samples.append(constant)
      switch constant {
      case .number(let number):
        if number > 0 { samples.append(.number(number - 1)) }
        if number < .max { samples.append(.number(number + 1)) }
      case .text(let text): unlikeAll += text
      case .none, .bool, .list: continue
      }
    }
    return samples + [.text(unlikeAll)]
  }
}

extension Term {
  fileprivate var constant: FieldValue? { if case .constant(let value) = self { value } else { nil } }
}

extension Test {
  fileprivate var constants: [FieldValue] {
    switch self {
    case .any(let parts), .all(let parts): parts.flatMap(\.constants)
    case .not(let part): part.constants
    case .comparison(let one, _, let other): [one, other].compactMap(\.constant)
    case .isOneOf(_, let values): Array(values)
    case .isIn, .isLabel, .isThere, .truth: []
    }
  }

  /// Whether it holds where the one field that it asks has this value.
  fileprivate func holds(where field: FieldValue) -> Bool {
    let value = { (term: Term<Subject>) in term.constant ?? field }
    return switch self {
    case .any(let parts): parts.contains { $0.holds(where: field) }
    case .all(let parts): parts.allSatisfy { $0.holds(where: field) }
    case .not(let part): !part.holds(where: field)
    case .comparison(let one, let comparison, let other): comparison.holds(between: value(one), and: value(other))
    case .isOneOf(let term, let values): values.contains(value(term))
    case .isThere(let term): value(term) != .none
    case .truth(let term): value(term) == .bool(true)
    case .isIn, .isLabel: true
    }
  }
}
