import NearNames

/// `; did you mean 'host-a'?` if there are names near to what was typed or that hold it, else what there is.
func suggestion(for typed: String, among known: [String], of kind: String) -> String {
  guard !known.isEmpty else { return "; there is no \(kind) yet" }
  let near = NearNames.near(typed, among: known)
  let meant = near.isEmpty && typed.count > 1 ? known.filter { $0.contains(typed) }.sorted() : near
  guard meant.isEmpty else {
    return "; did you mean \(meant.prefix(3).map { "'\($0)'" }.joined(separator: " or "))?"
  }
  return "; there is \(shortList(known.sorted()))"
}

/// The first of them, and how many more there are.
func shortList(_ names: [String]) -> String {
  names.prefix(8).joined(separator: ", ") + (names.count > 8 ? " and \(names.count - 8) more" : "")
}
