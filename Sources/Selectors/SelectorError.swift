/// What is wrong with a condition, and where.
public struct SelectorError: Error, Hashable, Sendable {
  /// What was found and what to do about it, in one sentence.
  public let problem: String
  /// Counted in characters from 1.
  public let column: Int
  /// The line of the condition, or the part of it round the place.
  let excerpt: String
  /// How many columns of the excerpt stand before what is marked, and how many are.
  let marked: (before: Int, count: Int)

  /// The column, the problem, and below it the condition with the place marked.
  public var message: String {
    "column \(column): \(problem)\n  \(excerpt)\n  "
      + String(repeating: " ", count: marked.before) + String(repeating: "^", count: marked.count)
  }

  public static func == (one: SelectorError, other: SelectorError) -> Bool { one.message == other.message }

  public func hash(into hasher: inout Hasher) { hasher.combine(message) }
}

extension SelectorError {
  /// - Parameter place: offsets in the text's UTF-8.
  init(_ problem: String, at place: Range<Int>, in text: String) {
    self.problem = problem
    let characters = Array(text)
    let first = Self.character(at: place.lowerBound, in: text)
    let end = max(first + 1, Self.character(at: place.upperBound, in: text))
    column = first + 1
    // A caret stands below its character wherever that is one column wide, so what is not shown as itself becomes a space.
    let shown = characters.map { $0.isNewline || ($0.unicodeScalars.first?.value ?? 0) < 0x20 ? " " : $0 }
    let start = first > Self.width * 2 / 3 ? first - Self.width / 2 : 0
    let stop = min(shown.count, start + Self.width)
    let (opening, closing) = (start > 0 ? "…" : "", stop < shown.count ? "…" : "")
    excerpt = opening + String(shown[min(start, stop)..<stop]) + closing
    let before = first - start + opening.count
    marked = (before, max(1, min(end - first, excerpt.count - before)))
  }

  private static var width: Int { 90 }

  private static func character(at offset: Int, in text: String) -> Int {
    let index = text.utf8.index(text.startIndex, offsetBy: offset, limitedBy: text.endIndex) ?? text.endIndex
    return text[..<index].count
  }
}
