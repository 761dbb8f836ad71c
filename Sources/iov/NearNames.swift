import Services

/// `; did you mean 'host-a'?` if there are names near to what was typed, else what there is.
func suggestion(for typed: String, among known: [String], of kind: String) -> String {
  guard !known.isEmpty else { return "; there is no \(kind) yet" }
  let limit = max(2, typed.count / 3)
  let near = known.map { (name: $0, distance: editDistance(typed, $0)) }
    .filter { $0.distance <= limit || (typed.count > 1 && $0.name.contains(typed)) }
    .sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }
    .prefix(3).map { "'\($0.name)'" }
  guard near.isEmpty else { return "; did you mean \(near.joined(separator: " or "))?" }
  let shown = known.sorted().prefix(8).joined(separator: ", ")
  return "; there is \(shown)" + (known.count > 8 ? " and \(known.count - 8) more" : "")
}

/// How many letters must be changed, put in or taken out (Levenshtein).
private func editDistance(_ one: String, _ other: String) -> Int {
  let (one, other) = (Array(one.prefix(128)), Array(other.prefix(128)))
  var row = Array(0...other.count)
  for (line, letter) in one.enumerated() {
    var diagonal = row[0]
    row[0] = line + 1
    for (column, counterpart) in other.enumerated() {
      let changed = diagonal + (letter == counterpart ? 0 : 1)
      diagonal = row[column + 1]
      row[column + 1] = min(changed, row[column] + 1, diagonal + 1)
    }
  }
  return row[other.count]
}
