/// Whose turn it is, where not all claims are looked at in each moment.
struct Turns: Sendable {
  private var last: [Maintained: String] = [:]

  private static var count: Int { 64 }

  mutating func begin(at target: Maintained) { last[target] = nil }

  /// The next ones to look at, so that everybody's turn comes.
  mutating func next(of names: [String], at target: Maintained) -> [String] {
    guard names.count > Self.count else { return names }
    let start = last[target].flatMap { last in names.firstIndex { $0 > last } } ?? 0
    let turn = (0..<Self.count).map { names[(start + $0) % names.count] }
    last[target] = turn.last
    return turn
  }
}
