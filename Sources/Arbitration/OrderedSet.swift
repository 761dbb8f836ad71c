/// Elements in their order, of which there may be tens of thousands: one that comes or goes moves a few dozen others at most.
package struct OrderedSet<Element: Comparable & Sendable>: Sendable {
  /// Each in order, none empty, and all of one before all of the next.
  private var pieces: [[Element]] = []
  package private(set) var count = 0

  /// At this size a piece is cut in two. What is moved in one when an element comes or goes costs more than to find it among more pieces.
  private static var limit: Int { 64 }

  package init() {}

  package init(_ elements: some Sequence<Element>) {
    for element in elements.sorted() where element != pieces.last?.last {
      // Half full, as after a cut.
      if count % (Self.limit / 2) == 0 { pieces.append([]) }
      pieces[pieces.count - 1].append(element)
      count += 1
    }
  }

  var isEmpty: Bool { pieces.isEmpty }

  package mutating func insert(_ element: Element) {
    guard let piece = piece(for: element) else {
      pieces = [[element]]
      count = 1
      return
    }
    let place = Self.place(of: element, in: pieces[piece])
    guard place == pieces[piece].count || pieces[piece][place] != element else { return }
    pieces[piece].insert(element, at: place)
    count += 1
    guard pieces[piece].count >= Self.limit else { return }
    let middle = Self.limit / 2
    pieces.insert(Array(pieces[piece][middle...]), at: piece + 1)
    pieces[piece].removeSubrange(middle...)
  }

  /// Answers whether it was there.
  @discardableResult
  package mutating func remove(_ element: Element) -> Bool {
    guard let piece = piece(for: element) else { return false }
    let place = Self.place(of: element, in: pieces[piece])
    guard place < pieces[piece].count, pieces[piece][place] == element else { return false }
    pieces[piece].remove(at: place)
    count -= 1
    if pieces[piece].isEmpty { pieces.remove(at: piece) }
    return true
  }

  func contains(_ element: Element) -> Bool {
    guard let piece = piece(for: element) else { return false }
    let place = Self.place(of: element, in: pieces[piece])
    return place < pieces[piece].count && pieces[piece][place] == element
  }

  /// Those that are not lower than an element, in order.
  package func elements(from element: Element) -> some Sequence<Element> {
    let first = piece(for: element) ?? 0
    let place = pieces.isEmpty ? 0 : Self.place(of: element, in: pieces[first])
    return pieces.indices.dropFirst(first).lazy.flatMap { [pieces] in pieces[$0].dropFirst($0 == first ? place : 0) }
  }

  /// The first one behind another one, which need not be there; of all of them if there is no other.
  func first(after element: Element?) -> Element? {
    guard let element else { return pieces.first?.first }
    guard let piece = piece(for: element) else { return nil }
    var place = Self.place(of: element, in: pieces[piece])
    if place < pieces[piece].count, pieces[piece][place] == element { place += 1 }
    if place < pieces[piece].count { return pieces[piece][place] }
    return piece + 1 < pieces.count ? pieces[piece + 1][0] : nil
  }

  /// The last piece that begins at or before the element, or the first one; nil if there is none.
  private func piece(for element: Element) -> Int? {
    guard !pieces.isEmpty else { return nil }
    var (low, high) = (0, pieces.count)
    while low + 1 < high {
      let middle = (low + high) / 2
      if pieces[middle][0] <= element { low = middle } else { high = middle }
    }
    return low
  }

  /// The first place at which an element that is not lower stands.
  private static func place(of element: Element, in piece: [Element]) -> Int {
    var (low, high) = (0, piece.count)
    while low < high {
      let middle = (low + high) / 2
      if piece[middle] < element { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

extension OrderedSet: Sequence {
  package func makeIterator() -> FlattenSequence<[[Element]]>.Iterator { pieces.joined().makeIterator() }
  package var underestimatedCount: Int { count }
}
