/// What is known of one object, for people: facts in two columns, then tables under headings.
struct Description {
  private(set) var lines: [String] = []

  /// Facts with nothing to tell are left out.
  mutating func facts(_ rows: [(String, String?)]) {
    lines += table(rows.compactMap { label, text in text.flatMap { $0.isEmpty ? nil : [label + ":", $0] } })
  }

  /// A table without rows is left out.
  mutating func section(_ title: String, _ heading: [String], _ rows: [[String]]) {
    guard !rows.isEmpty else { return }
    lines += ["", title + ":"] + table((heading.isEmpty ? [] : [heading]) + rows).map { "  " + $0 }
  }

  mutating func section(_ title: String, _ rows: [[String]]) { section(title, [], rows) }

  mutating func note(_ text: String) { lines += ["", text] }

  func printed() { for line in lines { print(line) } }
}

extension Dictionary where Key == String, Value == String {
  /// `a=1,b=2`
  var labelText: String { sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",") }
}
