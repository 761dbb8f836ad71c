/// Names and values beside a call's messages. Names are lower case; one that ends in `-bin` has bytes for a value.
public struct Metadata: Sendable, Hashable, ExpressibleByDictionaryLiteral, CustomStringConvertible {
  public enum Content: Sendable, Hashable {
    /// Printable ASCII.
    case text(String)
    case bytes([UInt8])
  }

  /// In the order in which they are sent; a name may stand more than once.
  public private(set) var entries: [(name: String, value: Content)] = []

  public init() {}

  public init(dictionaryLiteral elements: (String, String)...) {
    for (name, value) in elements { add(name, .text(value)) }
  }

  public var isEmpty: Bool { entries.isEmpty }

  public mutating func add(_ name: String, _ value: Content) {
    entries.append((name.lowercased(), value))
  }

  /// The first text under a name.
  public subscript(name: String) -> String? {
    for entry in entries where entry.name == name {
      if case .text(let text) = entry.value { return text }
    }
    return nil
  }

  /// The first bytes under a name that ends in `-bin`.
  public func bytes(_ name: String) -> [UInt8]? {
    for entry in entries where entry.name == name {
      if case .bytes(let bytes) = entry.value { return bytes }
    }
    return nil
  }

  public static func == (left: Self, right: Self) -> Bool {
    left.entries.elementsEqual(right.entries) { $0.name == $1.name && $0.value == $1.value }
  }

  public func hash(into hasher: inout Hasher) {
    for entry in entries {
      hasher.combine(entry.name)
      hasher.combine(entry.value)
    }
  }

  public var description: String { entries.map { "\($0.name): \($0.value)" }.joined(separator: ", ") }
}
