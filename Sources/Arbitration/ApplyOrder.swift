import Messages

/// The order in which the claims of one request are made: sources before what is to be a part of them, and as they stand in the request
/// otherwise. The members of a group that is yet to be made have one turn, after the sources of all of them.
struct ApplyOrder {
  /// One claim of the request.
  struct Item {
    var name: String
    /// Why it is not made whatever becomes of the others; nil if it may be.
    var problem: String?
    /// Empty, too, if the group is there already.
    var group: String
    /// Empty, too, if the claim is there already and has that source.
    var source: String
  }

  /// Places in the request.
  private(set) var places: [Int] = []
  /// Why some of them are not made, by place.
  private(set) var refusals: [Int: String] = [:]

  private let items: [Item]
  /// The places of what has one turn, by the first of them.
  private var turns: [[Int]] = []
  private var turnOfName: [String: Int] = [:]
  private var turnOfGroup: [String: Int] = [:]

  /// - Parameter items: no two of one name.
  init(_ items: [Item]) {
    self.items = items
    for (place, item) in items.enumerated() {
      let turn = turnOfGroup[item.group] ?? turns.count
      if turn == turns.count { turns.append([]) }
      if !item.group.isEmpty { turnOfGroup[item.group] = turn }
      turns[turn].append(place)
      turnOfName[item.name] = turn
    }
    let sources = turns.indices.map { turn in Set(turns[turn].compactMap { turnOfSource(of: $0) }) }
    var parts = [[Int]](repeating: [], count: turns.count)
    for (turn, sources) in sources.enumerated() { for source in sources { parts[source].append(turn) } }
    var missing = sources.map(\.count)
    var ready = turns.indices.filter { missing[$0] == 0 }
    while !ready.isEmpty {
      places += ready.flatMap { turns[$0] }
      var next: [Int] = []
      for part in ready.flatMap({ parts[$0] }) {
        missing[part] -= 1
        if missing[part] == 0 { next.append(part) }
      }
      ready = next.sorted()
    }
    let left = turns.indices.filter { missing[$0] > 0 }
    places += left.flatMap { turns[$0] }
    refuseCircles(among: left, missing)
    refuseProblems()
  }

  /// With one member none of its group is made.
  private mutating func refuseProblems() {
    for turn in turns {
      guard let first = turn.first(where: { items[$0].problem != nil }) else { continue }
      let item = items[first]
      let words = "its group '\(Names.shown(item.group))' is not made, because of '\(Names.shown(item.name))'"
      for place in turn { refusals[place] = items[place].problem ?? words }
    }
  }

  /// The turn that comes before that of a place; nil if none needs to. What is wrong inside of one turn is found when it has come.
  private func turnOfSource(of place: Int) -> Int? {
    guard let source = turnOfName[items[place].source], source != turnOfName[items[place].name] else { return nil }
    return source
  }

  // MARK: Circles

  /// Whatever waits for itself. What only waits for those is refused for want of its source.
  private mutating func refuseCircles(among left: [Int], _ missing: [Int]) {
    var seen: Set<Int> = []
    for first in left {
      // One place of each turn, of which the source is in the next one.
      var way: [(turn: Int, place: Int)] = []
      var turn = first
      while seen.insert(turn).inserted,
        let place = turns[turn].first(where: { turnOfSource(of: $0).map { missing[$0] > 0 } ?? false }),
        let next = turnOfSource(of: place)
      {
        way.append((turn, place))
        turn = next
      }
      guard let begin = way.firstIndex(where: { $0.turn == turn }) else { continue }
      let circle = way[begin...]
      let words =
        "their sources go in a circle: \(Self.words(of: circle.map { items[$0.place] })); name another source for one of them, or "
        + "none"
      for place in circle.flatMap({ turns[$0.turn] }) { refusals[place] = words }
    }
  }

  /// So many claims of a circle are named.
  private static var mostShown: Int { 8 }

  /// "a -> b -> a".
  private static func words(of circle: [Item]) -> String {
    let first = circle[0]
    var words = Names.shown(first.name)
    for (item, next) in zip(circle, circle.dropFirst() + [first]).prefix(mostShown) {
      words += " -> \(Names.shown(item.source))"
      if item.source != next.name { words += " (made together with \(Names.shown(next.name)), of its group)" }
    }
    return circle.count > mostShown ? words + " -> ... -> \(Names.shown(first.name))" : words
  }
}

extension Arbiter {
  private static var mostClaimsApplied: Int { 1000 }

  func order(of request: ApplyClaimsRequest) throws(Refusal) -> ApplyOrder {
    guard request.claims.count <= Self.mostClaimsApplied else {
      throw Refusal(
        .invalidArgument,
        "\(request.claims.count) claims are to be applied at once; \(Self.mostClaimsApplied) are the most: split the file, and apply "
          + "its parts one after the other, sources first and each group in one")
    }
    var names: Set<String> = []
    for claim in request.claims where !names.insert(claim.name).inserted {
      throw Refusal(.invalidArgument, "claim '\(Names.shown(claim.name))' stands twice in what is to be applied")
    }
    return ApplyOrder(
      request.claims.map { claim in
        let (group, source) = (claim.specification?.group ?? "", claim.specification?.source ?? "")
        return ApplyOrder.Item(
          name: claim.name, problem: claim.specification?.problemOfLength,
          group: claimsOfGroup[group] == nil ? group : "",
          source: claims[claim.name]?.specification.source == source ? "" : source)
      })
  }
}
