/// Whose turn it is, where not all claims are looked at in each moment.
struct Turns: Sendable {
  private var last: [Maintained: String] = [:]

  private static var count: Int { 64 }

  mutating func begin(at target: Maintained) { last[target] = nil }

  /// The next ones to look at, so that everybody's turn comes.
  mutating func next(of names: [String], at target: Maintained) -> [String] {
    let start = last[target].flatMap { last in names.firstIndex { $0 > last } } ?? 0
    let turn = (0..<min(Self.count, names.count)).map { names[(start + $0) % names.count] }
    last[target] = names.count > Self.count ? turn.last : nil
    return turn
  }

  /// Who was the last one.
  func last(at target: Maintained) -> String? { last[target] }

  /// A turn ends early: the next one begins behind a name.
  mutating func end(behind name: String?, at target: Maintained) { last[target] = name }
}
