import Messages

/// Which claims would have to let go for another one, and what that one would get.
struct Sacrifice {
  /// By name. None: what others let go of already will do.
  var victims: [Holder]
  /// All that let go with those, by name.
  var company: [Companion]
  var candidate: Candidate
  /// What is being let go of there already.
  var soon: [Part] = []

  typealias Part = (endNode: String, function: String)

  init(of victims: [Holder], for candidate: Candidate) {
    self.victims = victims.sorted { $0.name < $1.name }
    company = victims.allOfThem
    self.candidate = candidate
  }

  /// The fewest, then the lowest ones, then the better place.
  static func isBetter(_ one: Sacrifice, _ other: Sacrifice) -> Bool {
    guard one.company.count == other.company.count else { return one.company.count < other.company.count }
    guard one.priorities == other.priorities else { return one.priorities.lexicographicallyPrecedes(other.priorities) }
    return Candidate.isBetter(one.candidate, other.candidate)
  }

  /// The highest first.
  private var priorities: [Int32] { company.map(\.priority).sorted(by: >) }

  fileprivate func isBest(from priority: Int32) -> Bool { company.count == 1 && company[0].priority <= priority }
}

/// A claim that lets go when another one does.
struct Companion: Hashable {
  var name: String
  var priority: Int32
  var endNode: String
  var function: String

  var part: Sacrifice.Part { (endNode, function) }
}

/// A claim that may have to let go.
struct Holder {
  var name: String
  var priority: Int32
  var assignment: Assignment
  /// The youngest has had it for the shortest time.
  var age: (Int64, Int32, String)
  /// All that let go with it: itself, the others of its group, and what is from them.
  var company: [Companion]

  /// In which order they are taken where any of them would do.
  static func comesFirst(_ one: Holder, _ other: Holder) -> Bool {
    guard one.company.count == other.company.count else { return one.company.count < other.company.count }
    return one.priority == other.priority ? one.age > other.age : one.priority < other.priority
  }

  /// The first one is the one that gives most.
  fileprivate static func givesMore(_ one: Holder, _ other: Holder) -> Bool {
    let (mine, theirs) = (one.assignment.share, other.assignment.share)
    let amount = { (share: Share) in
      [
        share.rates.bitsPerSecond, share.rates.bytesPerSecond, share.rates.operationsPerSecond, share.rates.queues,
        share.sizeBytes,
      ]
    }
    guard amount(mine) == amount(theirs) else { return amount(theirs).lexicographicallyPrecedes(amount(mine)) }
    return comesFirst(one, other)
  }
}

extension [Holder] {
  /// With those that go with them, each once, by name.
  var allOfThem: [Companion] { Set(flatMap(\.company)).sorted { $0.name < $1.name } }
}

/// A look at one end node after the other.
private struct Search {
  let specification: ClaimSpecification
  let choice: HostChoice
  /// There are more hosts than are chosen from: an end node may serve one of its own.
  let isForManyHosts: Bool
  /// What is the source of these is not taken from them.
  var sources: Set<String>
  /// What may be looked at yet: an end node that it does not select counts as one, one where letting go does not help as four, and one
  /// whose holders are compared as 64.
  var left: Int
  var best: Sacrifice?
  private var seen: Set<String> = []
  /// By group: who lets go with a member that holds no data; nil: nobody does.
  var companies: [String: [Companion]?] = [:]

  init(
    _ specification: ClaimSpecification, _ choice: HostChoice, isForManyHosts: Bool, _ sources: Set<String>,
    atMost left: Int
  ) {
    self.specification = specification
    self.choice = choice
    self.isForManyHosts = isForManyHosts
    self.sources = sources
    self.left = left
  }

  var isOver: Bool { left <= 0 || best?.company.isEmpty ?? false }

  /// Whether it is yet to be looked at.
  mutating func begins(with endNode: String) -> Bool {
    left -= 1
    return seen.insert(endNode).inserted
  }

  /// Whether nobody is a better one among those whose lowest holders are of this priority, or of a higher one.
  func isBest(from priority: Int32) -> Bool { best?.isBest(from: priority) ?? false }

  mutating func take(_ sacrifice: Sacrifice) {
    if best.map({ Sacrifice.isBetter(sacrifice, $0) }) ?? true { best = sacrifice }
  }
}

extension Arbiter {
  /// The fewest claims, of the lowest priorities, without which it would be granted; none of them if others let go of enough already,
  /// and nil if it would not help.
  ///
  /// - Parameters:
  ///   - sources: claims that have to keep what they have.
  ///   - left: what is looked at, at most, as `Search.left` counts it.
  mutating func sacrifice(
    for specification: ClaimSpecification, keeping sources: Set<String> = [], lookingAt left: inout Int
  ) -> Sacrifice? {
    noteServedClasses()
    guard isHostOpen(to: specification) else { return nil }
    let places = holders.places(ofClass: specification.deviceClass, below: specification.priority)
    guard let lowest = places.first(where: { _ in true })?.priority else { return nil }
    let isForManyHosts = isForManyHosts(specification)
    let choice = choice(for: specification, atMost: isForManyHosts ? Self.mostExplained : .max)
    var search = Search(specification, choice, isForManyHosts: isForManyHosts, sources, atMost: left)
    defer { left = search.left }
    let few = fewCandidates(for: specification).map { Array($0) }
    // Those with a direct path come first, so that of equal ones they are taken. To one of many hosts each has one.
    let own = isForManyHosts ? [] : choice.hosts.flatMap { endNodes.ids(atHost: $0) }
    let first = few ?? Set(own).sorted()
    for id in first where !search.isOver {
      if first.count > Self.mostCompared, search.isBest(from: lowest) { break }
      look(at: id, &search)
    }
    guard few == nil else { return search.best }
    for place in places where !search.isOver {
      if search.isBest(from: place.priority) { break }
      look(at: place.endNode, &search)
    }
    return search.best
  }

  /// Of more, the first one will do that none is better than by who lets go.
  private static var mostCompared: Int { 16 }

  private func look(at id: String, _ search: inout Search) {
    guard search.begins(with: id), let node = endNodes[id], isCandidate(id, for: search.specification),
      isSelected(node, by: search.specification)
    else { return }
    search.left -= 3
    guard isHeld(node, below: search.specification.priority), isInUse(node, search) else { return }
    search.left -= 60
    let soon = letGoSoon(of: node)
    let left = node.without(soon)
    if let candidate = try? candidate(left, search) {
      search.best = Sacrifice(of: [], for: candidate)
    } else if let sacrifice = sacrifice(at: left, &search) {
      search.take(sacrifice)
    }
    if search.best?.candidate.record.id == id { search.best?.soon = soon.map { (id, $0) } }
  }

  private func isHeld(_ node: EndNodeState, below priority: Int32) -> Bool {
    node.shares.keys.contains { function in
      claimOfFunction[function].flatMap { claims[$0] }.map { $0.specification.priority < priority } ?? false
    }
  }

  /// Whether nothing but what others have is in the way.
  private func isInUse(_ node: EndNodeState, _ search: Search) -> Bool {
    do throws(Drop) { _ = try candidate(node, search) } catch { return error.filter.isOfUse }
    return true
  }

  private func candidate(_ node: EndNodeState, _ search: Search) throws(Drop) -> Candidate {
    if search.isForManyHosts, let own = candidateAtRoot(of: node, for: search.specification) { return own }
    return try candidate(node, for: search.specification, on: search.choice)
  }

  private func sacrifice(at node: EndNodeState, _ search: inout Search) -> Sacrifice? {
    let eligible = node.shares.keys.compactMap { holder(of: $0, &search) }
    guard !eligible.isEmpty else { return nil }
    let isMoreBetter = !selectors.changesWithUse(search.specification.selector)
    let asked = search
    return sacrifice(
      of: eligible.sorted(by: Holder.comesFirst), isMoreBetter: isMoreBetter, byHost: node.isOutOfHosts
    ) { gone in
      let functions = gone.flatMap(\.company).filter { $0.endNode == node.record.id }.map(\.function)
      return try? self.candidate(node.without(functions), asked)
    }
  }

  /// - Parameters:
  ///   - isMoreBetter: whether it fits without all of them if it fits without some. A claim may ask for what others use.
  ///   - byHost: whether it may be hosts that are short, of which nothing of one must be left.
  private func sacrifice(
    of eligible: [Holder], isMoreBetter: Bool, byHost: Bool, leaving others: ([Holder]) -> Candidate?
  ) -> Sacrifice? {
    var best: Sacrifice?
    for ceiling in Set(eligible.map(\.priority)).sorted() {
      let allowed = eligible.filter { $0.priority <= ceiling }
      guard var gone = fewest(of: allowed, isMoreBetter, leaving: others) else { continue }
      let ofHosts = byHost ? Dictionary(grouping: allowed, by: \.assignment.host).sorted { $0.key < $1.key } : []
      for (_, holders) in ofHosts where holders.allOfThem.count < gone.allOfThem.count && others(holders) != nil {
        gone = holders
      }
      guard let candidate = others(gone) else { continue }
      let sacrifice = Sacrifice(of: gone, for: candidate)
      if best.map({ Sacrifice.isBetter(sacrifice, $0) }) ?? true { best = sacrifice }
      if sacrifice.company.count == 1 { break }
    }
    return best
  }

  /// One if one will do, and as many do not go with it as several others are; else those that give most, less those that turn out
  /// not to be needed.
  private func fewest(
    of allowed: [Holder], _ isMoreBetter: Bool, leaving others: ([Holder]) -> Candidate?
  ) -> [Holder]? {
    guard !isMoreBetter || others(allowed) != nil else { return nil }
    let one = allowed.first { others([$0]) != nil }
    let most = one?.company.count ?? .max
    let several = most == 1 ? [] : allowed.filter { $0.company.count < most }
    guard !several.isEmpty, !isMoreBetter || others(several) != nil else { return one.map { [$0] } }
    var gone: [Holder] = []
    for holder in several.sorted(by: Holder.givesMore) {
      gone.append(holder)
      if gone.count > 1, others(gone) != nil { break }
    }
    guard isMoreBetter || others(gone) != nil else { return one.map { [$0] } }
    for holder in gone.sorted(by: { Holder.comesFirst($1, $0) }) where gone.count > 1 {
      let without = gone.filter { $0.name != holder.name }
      if others(without) != nil { gone = without }
    }
    return gone.allOfThem.count < most ? gone : one.map { [$0] }
  }

  private func holder(of function: String, _ search: inout Search) -> Holder? {
    guard let state = claimOfFunction[function].flatMap({ claims[$0] }), let assignment = state.assignment,
      let company = company(of: state, &search)
    else { return nil }
    let created = state.claim.created ?? Timestamp()
    return Holder(
      name: state.claim.name, priority: state.specification.priority, assignment: assignment,
      age: (created.seconds, created.nanoseconds, state.claim.uid), company: company)
  }

  private func company(of state: ClaimState, _ search: inout Search) -> [Companion]? {
    // Of a group the members are the same ones, whichever goes first.
    guard state.hasGroup, dataLost(with: state).isEmpty else { return newCompany(of: state, search) }
    let group = state.specification.group
    if let known = search.companies[group] { return known }
    let company = newCompany(of: state, search)
    search.companies[group] = .some(company)
    return company
  }

  /// All that let go with it, itself included; nil if one of them may not be preempted.
  private func newCompany(of state: ClaimState, _ search: Search) -> [Companion]? {
    var company: [String: Companion] = [:]
    var left = [state]
    while let next = left.popLast() {
      guard company[next.claim.name] == nil else { continue }
      guard let assignment = next.assignment, mayBePreempted(next, by: search.specification.priority),
        !search.sources.contains(next.claim.name)
      else { return nil }
      company[next.claim.name] = Companion(
        name: next.claim.name, priority: next.specification.priority, endNode: assignment.endNode,
        function: assignment.function)
      left += claims(from: next.claim.name).filter { $0.assignment != nil } + matesThatGo(with: next)
    }
    return Array(company.values)
  }

  private func mayBePreempted(_ state: ClaimState, by priority: Int32) -> Bool {
    (state.phase == .preparing || state.phase == .ready) && state.specification.priority < priority
      && ownPolicy(of: state) != .never
  }

  /// What hosts that are there are letting go of already, and will be free without anybody's doing.
  private func letGoSoon(of node: EndNodeState) -> [String] {
    node.shares.keys.filter { function in
      guard let state = claimOfFunction[function].flatMap({ claims[$0] }), state.claim.status?.error == nil,
        state.phase == .reclaiming || state.phase == .releasing
      else { return false }
      return [state.controlling, state.consumer].compactMap { $0 }.allSatisfy { hosts[$0.host]?.isConnected ?? false }
    }
  }
}

extension EndNodeState {
  fileprivate func without(_ functions: [String]) -> EndNodeState {
    guard !functions.isEmpty else { return self }
    var node = self
    for function in functions { node.freeShare(function) }
    return node
  }
}

extension ClaimSpecification {
  /// Whether what it holds may have to be let go of for others at all.
  func isPreemptible(with assignment: Assignment) -> Bool {
    switch evictionPolicy {
    case .never: false
    case .unspecified: !assignment.holdsData
    default: true
    }
  }
}
