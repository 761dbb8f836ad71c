import Messages

/// Why a claim waits, or why it has what it has. A look at the state, and no change of it.
extension Arbiter {
  public func explanation(of name: String) throws(Refusal) -> ClaimExplanation {
    guard let state = claims[name] else { throw unknownClaim(name) }
    var explanation = ClaimExplanation()
    explanation.claim = name
    explanation.revision = cluster.revision
    explanation.phase = state.phase
    explanation.decision = state.claim.status?.decision
    var view = PlacementView(of: state, in: self)
    // What is kept for it is in nobody's way but others'.
    var arbiter = self
    arbiter.setNominationsAside(with: state)
    view.look(arbiter)
    explanation.endNodes = UInt32(clamping: view.count)
    explanation.fitting = UInt32(clamping: view.options.count)
    explanation.filters = view.filters
    if view.options.isEmpty { explanation.nearest = nearest(view) }
    explanation.options = view.options.prefix(PlacementView.shown).map { view.option($0) }
    if let own = view.options.first(where: view.isHeld), !explanation.options.contains(where: \.held) {
      explanation.options.append(view.option(own))
    }
    explanation.summary = arbiter.summary(of: state, view)
    explanation.upgrade = upgradeWords(of: state, at: now)
    explanation.health = healthWords(of: state)
    return explanation
  }

  private func nearest(_ view: PlacementView) -> [NearFit] {
    view.nearest.map { near in
      NearFit {
        $0.endNode = near.node.record.id
        $0.name = near.node.record.name
        $0.host = near.host
        $0.obstacles = near.drops.map { drop in
          Obstacle {
            $0.filter = drop.filter.name
            $0.message = drop.message
            $0.remedy = remedy(for: drop, of: near.node, for: view.specification, on: near.host)
          }
        }
      }
    }
  }

  /// Whether what is said to be in the way is what placement finds to be so.
  package func explainsPlacement(of specification: ClaimSpecification) -> Bool {
    let choice = choice(for: specification)
    return candidates(for: specification).compactMap { endNodes[$0] }.allSatisfy { node in
      choice.hosts.allSatisfy { host in
        let used = specification.used(on: host)
        let first = obstacles(of: node, for: used).first
        do throws(Drop) {
          _ = try candidate(node, for: used)
          return first == nil
        } catch {
          return first?.filter == error.filter && first?.message == error.message
        }
      }
    }
  }

  // MARK: In one sentence

  private func summary(of state: ClaimState, _ view: PlacementView) -> String {
    if state.phase == .releasing || state.phase == .reclaiming {
      let why = state.claim.status?.pending.map(\.message).joined(separator: "; ") ?? ""
      return "what it had is being let go of" + (why.isEmpty ? "" : ": \(why)")
    }
    guard let assignment = state.assignment else {
      if let obstacle = obstacle(ofSourceOf: view.specification) { return "it waits: \(obstacle.message)" }
      let others = mates(of: state).filter { $0.phase == .pending }.map(\.specification)
      if let obstacle = obstacle(ofQuotaOf: view.specification, beside: others) {
        return "it waits: \(obstacle.message)"
      }
      if let reason = reasonOfPreemption(of: state).first { return "it waits: \(reason.message)" }
      if let reason = state.claim.status?.pending.first(where: { $0.filter == PendingReason.group }) {
        let fitting = view.options.isEmpty ? "none" : "\(view.options.count)"
        return "it waits: \(reason.message); by itself \(fitting) of \(view.count) \(view.things) would do"
      }
      guard view.options.isEmpty else {
        return
          "it waits, and \(view.options.count) of \(view.count) \(view.things) fit: it is about to be granted, or waits for control"
      }
      guard view.count > 0 else { return "it waits: there is no \(view.things.dropLast()) yet" }
      return "it waits: none of \(view.count) \(view.things) fits"
    }
    let name = endNodes[assignment.endNode]?.record.name ?? assignment.endNode
    let what = "it has \(assignment.function) of \(name) on \(assignment.host) by the path \(assignment.path.word)"
    return what + "; " + reason(of: state, view)
  }

  /// What decided, by what there is now.
  private func reason(of state: ClaimState, _ view: PlacementView) -> String {
    guard let own = view.options.first(where: view.isHeld) else {
      return "it would not get it now, and keeps it: what a claim has is not taken from it"
    }
    guard let other = view.options.first(where: { !view.isHeld($0) }) else { return "nothing else fits" }
    let (one, another) = (own.candidate, other.candidate)
    guard Candidate.isBetter(one, another) else {
      return
        "\(another.record.name) by the path \(another.route.path.word) would be better by now, and it keeps what it has"
    }
    if one.preference != another.preference {
      return
        "the path decided: the next best, \(another.record.name), is reached by the path \(another.route.path.word)"
    }
    return nearnessReason(one, another) ?? peersReason(one, another) ?? loadReason(one, another)
  }

  private func nearnessReason(_ one: Candidate, _ another: Candidate) -> String? {
    guard one.prefersNearest, one.nearness != another.nearness else { return nil }
    return "the nearness decided: it is \(one.nearness.words), and the next best, \(another.record.name), is "
      + another.nearness.words
  }

  private func peersReason(_ one: Candidate, _ another: Candidate) -> String? {
    guard one.peers != another.peers else { return nil }
    return
      "the peers decided: beside it they have \(one.peers) functions there, and \(another.peers) of the next best, "
      + another.record.name
  }

  private func loadReason(_ one: Candidate, _ another: Candidate) -> String {
    let left = (one.room.bytesLeft, another.room.bytesLeft)
    if one.room.isPacked, left.0 != left.1 {
      return
        "the load decided: without it \(left.0) bytes are left there, and \(left.1) of the next best, \(another.record.name)"
    }
    let (used, more) = (one.room.functionsInUse, another.room.functionsInUse)
    if used != more {
      return
        "the load decided: beside it \(used) functions are in use there, and \(more) of the next best, \(another.record.name)"
    }
    if one.room.bytesInUse != another.room.bytesInUse {
      return
        "the load decided: beside it \(one.room.bytesInUse) bytes are in use there, and \(another.room.bytesInUse) of the next best, "
        + another.record.name
    }
    return "the order of their ids decided: \(another.record.name) is as good"
  }
}

/// The end nodes that a claim can be about, each with what it offers or with what is in the way.
struct PlacementView {
  /// How many are told of.
  static let shown = 8
  private static let nearestShown = 3
  private static let messagesShown = 3

  typealias Option = (candidate: Candidate, id: String)
  typealias Near = (node: EndNodeState, host: String, drops: [Drop])

  let specification: ClaimSpecification
  private let held: Assignment?
  private(set) var count = 0
  /// The best one first.
  private(set) var options: [Option] = []
  /// The nearest one first.
  private(set) var nearest: [Near] = []
  private var dropped: [Filter: (count: Int, messages: [String])] = [:]

  init(of state: ClaimState, in arbiter: Arbiter) {
    var specification = state.specification
    // Its interface is its own.
    if state.assignment != nil { specification.consumer?.interfaceName = "" }
    self.specification = specification
    held = state.assignment
  }

  /// Of what somebody has yet to ask for.
  init(of specification: ClaimSpecification) {
    self.specification = specification
    held = nil
  }

  var things: String { specification.source.isEmpty ? "end nodes of class \(specification.deviceClass)" : "sources" }

  func isHeld(_ option: Option) -> Bool { option.id == held?.endNode && option.candidate.host == held?.host }

  mutating func look(_ arbiter: Arbiter) {
    let choice = arbiter.choice(for: specification)
    for id in arbiter.candidates(for: specification) {
      guard var node = arbiter.endNodes[id] else { continue }
      count += 1
      if let held, held.endNode == id { node.freeShare(held.function) }
      do throws(Drop) {
        var candidate = try arbiter.candidate(node, for: specification, on: choice)
        // It is not a peer of itself.
        if let held, held.endNode == id, candidate.peers > 0 {
          candidate = Candidate(candidate, peers: candidate.peers - 1)
        }
        options.append((candidate, id))
      } catch {
        note(error)
        noteNear(node, choice, arbiter)
      }
    }
    if count == 0 {
      let words = "no end node is of class \(specification.deviceClass)"
      note(arbiter.obstacle(ofSourceOf: specification) ?? Drop(.deviceClass, words))
    }
    options.sort { Candidate.isBetter($0.candidate, $1.candidate) }
  }

  private mutating func note(_ drop: Drop) {
    var known = dropped[drop.filter] ?? (0, [])
    known.count += count == 0 ? 0 : 1
    if known.messages.count < Self.messagesShown, !known.messages.contains(drop.message) {
      known.messages.append(drop.message)
    }
    dropped[drop.filter] = known
  }

  /// Fewer obstacles are nearer; of as many, those that come later in the order of the filters.
  private mutating func noteNear(_ node: EndNodeState, _ choice: HostChoice, _ arbiter: Arbiter) {
    let (host, drops) = arbiter.obstacles(of: node, for: specification, on: choice)
    let near = (node: node, host: host, drops: drops)
    let place = nearest.firstIndex { Self.isNearer(near, $0) } ?? nearest.count
    guard place < Self.nearestShown else { return }
    nearest.insert(near, at: place)
    if nearest.count > Self.nearestShown { nearest.removeLast() }
  }

  private static func isNearer(_ one: Near, _ other: Near) -> Bool {
    guard one.drops.count == other.drops.count else { return one.drops.count < other.drops.count }
    return (one.drops.first?.filter.rawValue ?? 0) > (other.drops.first?.filter.rawValue ?? 0)
  }

  /// In the order in which they are tried.
  var filters: [FilterExplanation] {
    var left = count
    return Filter.allCases.compactMap { filter in
      guard let known = dropped[filter] else { return nil }
      left -= known.count
      return FilterExplanation {
        $0.filter = filter.name
        $0.dropped = UInt32(clamping: known.count)
        $0.left = UInt32(clamping: left)
        $0.messages = known.messages
      }
    }
  }

  func option(_ option: Option) -> PlacementOption {
    let candidate = option.candidate
    return PlacementOption {
      $0.endNode = option.id
      $0.name = candidate.record.name
      $0.host = candidate.host
      $0.path = candidate.route.path
      $0.preference = UInt32(clamping: candidate.preference + 1)
      $0.functionsInUse = UInt32(clamping: candidate.room.functionsInUse)
      $0.bytesInUse = candidate.room.bytesInUse
      $0.held = isHeld(option)
      $0.nearness = candidate.nearness
      $0.peers = UInt32(clamping: candidate.peers)
    }
  }
}
