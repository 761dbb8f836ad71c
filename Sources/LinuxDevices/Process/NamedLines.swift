/// A small file that people can read: a name and what it has, a line each.
public struct NamedLines: Sendable, Hashable {
  private let values: [Substring: String]

  public init(_ text: String) {
    var values: [Substring: String] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1)
      if let name = parts.first { values[name] = parts.count == 2 ? String(parts[1]) : "" }
    }
    self.values = values
  }

  public subscript(name: String) -> String? { values[name[...]] }

  public func number<Number: FixedWidthInteger>(_ name: String) -> Number? { self[name].flatMap { Number($0) } }
  public func flag(_ name: String) -> Bool? { self[name].flatMap { Bool($0) } }
  /// Words that are no numbers are left out.
  public func numbers<Number: FixedWidthInteger>(_ name: String) -> [Number] {
    (self[name] ?? "").split(separator: " ").compactMap { Number($0) }
  }
}
