import NearNames

/// `; did you mean 'mtu'?` if a known name is near, else the known names.
func suggestion(for name: String, among known: [String]) -> String {
  if let nearest = NearNames.near(name, among: known, limit: 1).first { return "; did you mean '\(nearest)'?" }
  return known.isEmpty ? "; it has no fields" : "; known are \(known.joined(separator: ", "))"
}
