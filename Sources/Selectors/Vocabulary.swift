/// What a field holds, or a constant is taken for.
public enum FieldType: Hashable, Sendable {
  case text
  /// One of these.
  case word([String])
  case number
  case bytes
  case bitRate
  case byteRate
  case bool
  /// Several texts.
  case list
  /// Several of these.
  case words([String])

  /// As errors and tables name it.
  public var words: String {
    switch self {
    case .text: "text"
    case .word(let known): "one of \(known.joined(separator: ", "))"
    case .number: "number"
    case .bytes: "size"
    case .bitRate: "rate in bits"
    case .byteRate: "rate in bytes"
    case .bool: "true or false"
    case .list: "list of texts"
    case .words(let known): "list of \(known.joined(separator: ", "))"
    }
  }

  var isText: Bool {
    switch self {
    case .text, .word: true
    default: false
    }
  }

  var isList: Bool {
    switch self {
    case .list, .words: true
    default: false
    }
  }

  var isQuantity: Bool {
    switch self {
    case .number, .bytes, .bitRate, .byteRate: true
    default: false
    }
  }
}

/// What a field of one thing holds.
public enum FieldValue: Hashable, Sendable {
  /// It is not there, or not known.
  case none
  case text(String)
  case number(UInt64)
  case bool(Bool)
  case list([String])
}

/// The fields that conditions on one kind of things can name.
public struct Vocabulary<Subject>: Sendable {
  public struct Field: Sendable {
    public let name: String
    public let type: FieldType
    /// For people.
    public let meaning: String
    /// Whether it is another one when functions come and go.
    let changesWithUse: Bool
    let value: @Sendable (Subject) -> FieldValue
  }

  /// What the things are called in errors: "end nodes".
  public let subjects: String
  /// In the order in which they are told.
  public let fields: [Field]
  let labels: @Sendable (Subject) -> [String: String]
  private let byName: [String: Field]

  init(subjects: String, labels: @escaping @Sendable (Subject) -> [String: String], _ fields: [Field]) {
    self.subjects = subjects
    self.labels = labels
    self.fields = fields
    byName = Dictionary(fields.map { ($0.name, $0) }) { first, _ in first }
  }

  func field(named name: String) -> Field? { byName[name] }
}

extension Vocabulary.Field {
  static func text(_ name: String, _ meaning: String, _ value: @escaping @Sendable (Subject) -> String) -> Self {
    Self(name: name, type: .text, meaning: meaning, changesWithUse: false) { .text(ifAny: value($0)) }
  }

  static func word(
    _ name: String, _ known: [String], _ meaning: String, changesWithUse: Bool = false,
    _ value: @escaping @Sendable (Subject) -> String
  ) -> Self {
    Self(name: name, type: .word(known), meaning: meaning, changesWithUse: changesWithUse) { .text(ifAny: value($0)) }
  }

  /// Zero is not there.
  static func quantity(
    _ name: String, _ meaning: String, as type: FieldType = .number, _ value: @escaping @Sendable (Subject) -> UInt64
  ) -> Self {
    Self(name: name, type: type, meaning: meaning, changesWithUse: false) { subject in
      let value = value(subject)
      return value == 0 ? .none : .number(value)
    }
  }

  static func used(
    _ name: String, _ meaning: String, as type: FieldType = .number, _ value: @escaping @Sendable (Subject) -> UInt64?
  ) -> Self {
    Self(name: name, type: type, meaning: meaning, changesWithUse: true) { value($0).map { .number($0) } ?? .none }
  }

  static func bool(_ name: String, _ meaning: String, _ value: @escaping @Sendable (Subject) -> Bool) -> Self {
    Self(name: name, type: .bool, meaning: meaning, changesWithUse: false) { .bool(value($0)) }
  }

  static func list(
    _ name: String, _ meaning: String, of known: [String] = [], _ value: @escaping @Sendable (Subject) -> [String]
  ) -> Self {
    Self(name: name, type: known.isEmpty ? .list : .words(known), meaning: meaning, changesWithUse: false) {
      .list(value($0))
    }
  }
}

extension FieldValue {
  /// An empty text is none.
  fileprivate static func text(ifAny text: String) -> Self { text.isEmpty ? .none : .text(text) }
}
