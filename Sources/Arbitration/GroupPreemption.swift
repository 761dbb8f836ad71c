import Messages

/// Who lets go for a group, and what its members get of that and of what is free.
private struct GroupSacrifice {
  var victims: [Holder] = []
  /// All that is gone then, what is being let go of already included.
  var gone: [Sacrifice.Part] { victims.allOfThem.map(\.part) + soon }
  private var soon: [Sacrifice.Part] = []
  /// In the order in which they were given them.
  var places: [(member: String, place: KeptPlace)] = []

  mutating func take(_ sacrifice: Sacrifice) {
    victims += sacrifice.victims
    soon += sacrifice.soon
  }

  /// By member: whom it waits for. Those that come first take what is free, and the last ones what is let go of.
  var victimsOfMembers: [String: [String]] {
    var result: [String: [String]] = [:]
    for (endNode, company) in Dictionary(grouping: victims.allOfThem, by: \.endNode) {
      let members = places.filter { $0.place.endNode == endNode }.map(\.member).reversed() as [String]
      guard !members.isEmpty else { continue }
      for (index, victim) in company.enumerated() {
        result[members[index % members.count], default: []].append(victim.name)
      }
    }
    return result
  }
}

/// A group that finds no place for all its members has claims of strictly lower priorities let go, if all of it has one then. What is
/// free of that is kept as well, and for all of them until all have what they need.
extension Arbiter {
  /// However many end nodes there are in the cluster: in all, and for each member; see `Search.left`.
  private static var mostLookedAt: (inAll: Int, perMember: Int) { (65_536, 512) }
  /// How many members are placed anew, at most, to see who need not let go.
  private static var mostPlacedAnew: Int { 4096 }

  /// Once in an event, as for a claim by itself.
  mutating func preempt(for pending: inout [ClaimState]) {
    let names = pending.map(\.claim.name)
    guard let specification = pending.first?.specification,
      pending.allSatisfy({ $0.specification.preemption != .never }), changes.preemptors.isDisjoint(with: names),
      let sacrifice = sacrifice(for: pending)
    else { return }
    changes.preemptors.formUnion(names)
    let victims = sacrifice.victimsOfMembers
    for (name, place) in sacrifice.places {
      guard let index = names.firstIndex(of: name) else { continue }
      nominate(&pending[index], at: place, victims: victims[name] ?? [])
    }
    letGo(sacrifice.victims, for: "group '\(specification.group)'", of: specification.priority)
  }

  /// Nil if it would not help, or others let go of enough already.
  private mutating func sacrifice(for pending: [ClaimState]) -> GroupSacrifice? {
    let sources = Set(pending.map(\.specification.source)).subtracting([""])
    var left = max(Self.mostLookedAt.inAll, Self.mostLookedAt.perMember * pending.count)
    var found: GroupSacrifice?
    _ = namesWithoutPlace(among: pending.map(\.claim.name)) { (arbiter, order) in
      var sacrifice = GroupSacrifice()
      let name = arbiter.nameWithoutPlace(among: order, &sacrifice, keeping: sources, lookingAt: &left)
      if name == nil { found = sacrifice }
      return name
    }
    guard let found, !found.victims.isEmpty else { return nil }
    return withoutThoseWhoNeedNotLetGo(found)
  }

  /// Finds a place for all of them, or answers which one finds none beside those before it, whoever lets go.
  private mutating func nameWithoutPlace(
    among names: [String], _ result: inout GroupSacrifice, keeping sources: Set<String>, lookingAt left: inout Int
  ) -> String? {
    beginTrial()
    defer { endTrial(keeping: false) }
    for name in names {
      guard let specification = claims[name]?.specification else { continue }
      var candidate = best(for: specification)
      if candidate == nil, specification.source.isEmpty,
        let sacrifice = sacrifice(for: specification, keeping: sources, lookingAt: &left)
      {
        result.take(sacrifice)
        takeAway(sacrifice.company.map(\.part) + sacrifice.soon)
        candidate = sacrifice.candidate
      }
      guard let candidate, grant(candidate, toMember: name) else { return name }
      result.places.append((name, KeptPlace(candidate)))
    }
    return nil
  }

  /// One after the other stays, if there is room on the same end nodes all the same.
  private func withoutThoseWhoNeedNotLetGo(_ sacrifice: GroupSacrifice) -> GroupSacrifice {
    guard sacrifice.victims.count > 1 else { return sacrifice }
    let specifications = sacrifice.places.map { claims[$0.member]?.specification ?? ClaimSpecification() }
    let members = specifications.map { (specification: $0, choice: choice(for: $0)) }
    var result = sacrifice
    var left = Self.mostPlacedAnew
    for victim in sacrifice.victims.sorted(by: { Holder.comesFirst($1, $0) }) where result.victims.count > 1 {
      var others = result
      others.victims.removeAll { $0.name == victim.name }
      let ids = Set(victim.company.map(\.endNode)).sorted()
      if ids.allSatisfy({ hasRoom($0, &others, members, &left) }) { result = others }
    }
    return result
  }

  /// Whether there is room on an end node for those of the group that are to be there.
  private func hasRoom(
    _ id: String, _ sacrifice: inout GroupSacrifice,
    _ members: [(specification: ClaimSpecification, choice: HostChoice)],
    _ left: inout Int
  ) -> Bool {
    guard var node = endNodes[id] else { return false }
    for part in sacrifice.gone where part.endNode == id { node.freeShare(part.function) }
    for index in members.indices where sacrifice.places[index].place.endNode == id {
      let (specification, choice) = members[index]
      left -= 1
      guard left >= 0, let candidate = try? candidate(node, for: specification, on: choice) else { return false }
      sacrifice.places[index].place = KeptPlace(candidate)
      node.takeShare(
        "for \(sacrifice.places[index].member)", share(of: specification, on: node, by: candidate.route.path))
    }
    return true
  }

  /// Whether claims that wait would all get what they ask for if others did not have what they have.
  package func couldAllHave(_ names: [String], insteadOf others: [String]) -> Bool {
    var arbiter = self
    let states = names.compactMap { claims[$0] }
    for state in states { arbiter.setNominationAside(of: state) }
    guard arbiter.obstacle(ofQuotaOf: states) == nil else { return false }
    arbiter.takeAway(others.compactMap { claims[$0]?.assignment }.map { ($0.endNode, $0.function) })
    let left = arbiter.namesWithoutPlace(among: names) { (arbiter, order) in arbiter.nameWithoutPlace(among: order) }
    return left.isEmpty
  }

  private mutating func takeAway(_ parts: [Sacrifice.Part]) {
    for part in parts { endNodes.freeShare(part.function, of: part.endNode) }
  }
}
