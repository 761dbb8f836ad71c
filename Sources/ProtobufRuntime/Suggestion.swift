/// `; did you mean 'mtu'?` if a known name is near, else the known names.
func suggestion(for name: String, among known: [String]) -> String {
  let nearest = known.map { ($0, editDistance(name.lowercased(), $0.lowercased())) }.min { $0.1 < $1.1 }
  if let (candidate, distance) = nearest, distance <= max(2, candidate.count / 3) {
    return "; did you mean '\(candidate)'?"
  }
  return known.isEmpty ? "; it has no fields" : "; known are \(known.joined(separator: ", "))"
}

/// Levenshtein: how many letters to insert, delete or replace. Of a long name only the beginning counts: it may come
/// from a peer.
private func editDistance(_ first: String, _ second: String) -> Int {
  let (first, second) = (Array(first.unicodeScalars.prefix(64)), Array(second.unicodeScalars.prefix(64)))
  var row = Array(0...second.count)
  for (line, letter) in first.enumerated() {
    var diagonal = row[0]
    row[0] = line + 1
    for (column, other) in second.enumerated() {
      let replaced = diagonal + (letter == other ? 0 : 1)
      diagonal = row[column + 1]
      row[column + 1] = min(replaced, row[column] + 1, diagonal + 1)
    }
  }
  return row[second.count]
}
