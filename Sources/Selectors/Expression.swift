/// A condition as it was written: what is true of some end nodes or hosts, and of others not. What its names mean is not
/// known here.
public indirect enum Expression: Hashable, Sendable {
  case any([Expression])
  case all([Expression])
  case not(Expression)
  case comparison(Operand, Comparison, Operand)
  case membership(Operand, Collection)
  case presence(Operand)
  /// An operand that is a condition by itself.
  case truth(Operand)

  public enum Collection: Hashable, Sendable {
    case list([Operand])
    case operand(Operand)
  }
}

public enum Comparison: String, Hashable, Sendable, CaseIterable {
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="

  var isOrder: Bool { self != .equal && self != .notEqual }
}

/// Two that are the same are equal wherever they stand.
public struct Operand: Hashable, Sendable {
  public enum Kind: Hashable, Sendable {
    case field(String)
    case label(String)
    /// All labels.
    case labels
    case text(String)
    /// With its unit, which only what it is compared with gives a meaning.
    case number(String)
    case bool(Bool)
  }

  public var kind: Kind
  /// Offsets in the text's UTF-8.
  var place: Range<Int>

  public static func == (one: Operand, other: Operand) -> Bool { one.kind == other.kind }
  public func hash(into hasher: inout Hasher) { hasher.combine(kind) }

  var isConstant: Bool {
    switch kind {
    case .text, .number, .bool: true
    case .field, .label, .labels: false
    }
  }
}

extension Expression {
  /// What all has to hold.
  var conjuncts: [Expression] { if case .all(let parts) = self { parts } else { [self] } }
}

// MARK: In one spelling

extension Expression: CustomStringConvertible {
  /// In one spelling. It is nowhere nested deeper than what it was read from.
  public var description: String {
    switch self {
    case .any(let parts): parts.map { $0.isAny ? "(\($0))" : "\($0)" }.joined(separator: " or ")
    case .all(let parts): parts.map { $0.isAny || $0.isAll ? "(\($0))" : "\($0)" }.joined(separator: " and ")
    case .not(.membership(let operand, let collection)): "\(operand) not in \(collection)"
    case .not(let part): part.isAny || part.isAll ? "not (\(part))" : "not \(part)"
    case .comparison(let one, let comparison, let other): "\(one) \(comparison.rawValue) \(other)"
    case .membership(let operand, let collection): "\(operand) in \(collection)"
    case .presence(let operand): "has(\(operand))"
    case .truth(let operand): "\(operand)"
    }
  }

  private var isAny: Bool { if case .any = self { true } else { false } }
  private var isAll: Bool { if case .all = self { true } else { false } }
}

extension Expression.Collection: CustomStringConvertible {
  public var description: String {
    switch self {
    case .list(let operands): "[\(operands.map(\.description).joined(separator: ", "))]"
    case .operand(let operand): operand.description
    }
  }
}

extension Operand: CustomStringConvertible {
  public var description: String {
    switch kind {
    case .field(let name): name
    case .label(let key): Self.isWord(key) ? "label.\(key)" : "label[\(Self.quoted(key))]"
    case .labels: "labels"
    case .text(let text): Self.quoted(text)
    case .number(let number): number
    case .bool(let value): "\(value)"
    }
  }

  private static func quoted(_ text: String) -> String {
    // By scalars, for a quote with an accent on it is another character and ends a text all the same.
    "\"" + text.unicodeScalars.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
  }

  private static func isWord(_ text: String) -> Bool {
    guard let first = text.utf8.first, Lexer.isLetter(first) else { return false }
    return text.utf8.allSatisfy { Lexer.isLetter($0) || Lexer.isDigit($0) || $0 == UInt8(ascii: "-") }
  }
}
