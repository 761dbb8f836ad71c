/// The names that somebody may have meant who typed another one.
public enum NearNames {
  /// Those of `known` that are a slip of the fingers away from `name`, the nearest first, `limit` of them at the most.
  /// Whether letters are capital does not count.
  public static func near(_ name: String, among known: some Sequence<String>, limit: Int = 3) -> [String] {
    let typed = letters(of: name)
    let farthest = max(2, typed.count / 3)
    // Bounded, for names and lists may come from a peer, and comparing costs the product of the lengths.
    let comparable = known.lazy.filter { abs($0.utf8.count - name.utf8.count) <= 4 * farthest }.prefix(1000)
    return comparable.map { (distance: distance(typed, letters(of: $0)), name: $0) }
      .filter { $0.distance <= farthest }
      .sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }
      .prefix(limit).map(\.name)
  }

  /// Whether names are the same but for two letters at most that stand together. Quickly told, for where there are very many names.
  public static func differsInOnePlace(_ one: String, from other: String) -> Bool {
    let (mine, theirs) = (one.utf8, other.utf8)
    let longest = max(mine.count, theirs.count)
    guard longest - min(mine.count, theirs.count) <= 2 else { return false }
    let begin = zip(mine, theirs).prefix { $0 == $1 }.count
    let end = zip(mine.reversed(), theirs.reversed()).prefix { $0 == $1 }.count
    return begin + end >= longest - 2
  }

  private static func letters(of name: String) -> [Unicode.Scalar] {
    Array(name.unicodeScalars.prefix(128)).map { scalar in
      ("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) | 0x20) : scalar
    }
  }

  /// How many letters must be changed, put in or taken out (Levenshtein).
  private static func distance(_ one: [Unicode.Scalar], _ other: [Unicode.Scalar]) -> Int {
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
}
