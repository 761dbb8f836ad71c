import Messages

/// A group of which members wait.
struct WaitingGroup: Sendable {
  /// On the arbiter's monotonic clock: since when it waits, or since when it has had its turn in vain.
  var since: UInt64
  /// How many of its members wait, by class.
  var members: [String: Int] = [:]
  var turn: GroupTurn?
}

/// While it has its turn, what becomes free is kept for a group until all of its members have a place.
struct GroupTurn: Sendable {
  /// On the arbiter's monotonic clock. Until then it may go without more.
  var until: UInt64
  /// By member: the end node where something is kept for it.
  var places: [String: String] = [:]
  /// How many there have been at most.
  var mostPlaces = 0
  /// It has been in vain, and until then no other one has its turn, so that whoever waits by itself has what was kept.
  var isOver = false
  /// At which revision it last looked.
  var seen: UInt64 = 0
}

/// The groups that wait for functions of a class stand in this order.
struct GroupInQueue: Comparable, Sendable {
  var since: UInt64
  var group: String

  static func < (one: GroupInQueue, other: GroupInQueue) -> Bool {
    (one.since, one.group) < (other.since, other.group)
  }
}

/// A group needs several functions at once, and those that become free one after the other would all go to claims by themselves. So the
/// group that has waited longest has its turn: what members find free is kept for them, as if others had let go of it. One group of a
/// class has its turn at a time, so that no two keep a half each, and as long as it comes by more. A coordinator that begins anew
/// begins anew with this, too.
extension Arbiter {
  /// A member waits, or waits no more.
  mutating func noteWaiting(_ state: ClaimState, by difference: Int) {
    guard state.hasGroup else { return }
    let (name, deviceClass) = (state.specification.group, state.specification.deviceClass)
    let time = now?.monotonicMilliseconds ?? 0
    // Another group may have its turn in the queue that it joins, and it would stand before that.
    if difference > 0, let known = waitingGroups[name], known.members[deviceClass] == nil, known.since < time {
      standLast(name)
    }
    var group = waitingGroups[name] ?? WaitingGroup(since: time)
    let count = (group.members[deviceClass] ?? 0) + difference
    group.members[deviceClass] = count > 0 ? count : nil
    let place = GroupInQueue(since: group.since, group: name)
    if count == 0 { leaveQueue(place, ofClass: deviceClass) }
    if count == 1, difference > 0 { queuesOfGroups[deviceClass, default: OrderedSet()].insert(place) }
    if group.members.isEmpty { keepNothing(forGroup: name) }
    waitingGroups[name] = group.members.isEmpty ? nil : group
  }

  private mutating func leaveQueue(_ place: GroupInQueue, ofClass deviceClass: String) {
    queuesOfGroups[deviceClass]?.remove(place)
    if queuesOfGroups[deviceClass]?.isEmpty ?? false { queuesOfGroups[deviceClass] = nil }
  }

  // MARK: Whose turn it is

  mutating func takeTurns(at now: Instant) {
    for deviceClass in queuesOfGroups.keys.sorted() {
      guard let name = queuesOfGroups[deviceClass]?.first(after: nil)?.group, let group = waitingGroups[name] else {
        continue
      }
      guard let turn = group.turn else {
        if isDue(group, at: now), isFirst(name, ofClasses: group.members.keys),
          group.members.keys.allSatisfy({ claimTurns[$0]?.isOver ?? true })
        {
          beginTurn(of: name, at: now)
        }
        continue
      }
      if turn.until <= now.monotonicMilliseconds {
        if turn.isOver { endTurn(of: name) } else { rest(afterTurnOf: name, at: now) }
      } else if !turn.isOver, turn.seen != cluster.revision {
        // Something that was kept may be there no more.
        placeGroup(name)
      }
    }
  }

  private func isDue(_ group: WaitingGroup, at now: Instant) -> Bool {
    // One that waited before this arbiter began waits again.
    let since = max(group.since, began?.monotonicMilliseconds ?? 0)
    return now.monotonicMilliseconds - min(now.monotonicMilliseconds, since) >= settings.turnMilliseconds
  }

  /// In all queues that it stands in. As their order is one, some group always is.
  private func isFirst(_ group: String, ofClasses classes: some Sequence<String>) -> Bool {
    for deviceClass in classes where queuesOfGroups[deviceClass]?.first(after: nil)?.group != group { return false }
    return true
  }

  private mutating func beginTurn(of group: String, at now: Instant) {
    waitingGroups[group]?.turn = GroupTurn(until: now.monotonicMilliseconds + settings.turnMilliseconds)
    placeGroup(group)
  }

  private mutating func rest(afterTurnOf group: String, at now: Instant) {
    keepNothing(forGroup: group)
    waitingGroups[group]?.turn?.isOver = true
    waitingGroups[group]?.turn?.until = now.monotonicMilliseconds + settings.turnMilliseconds
    // It says so.
    if let member = members(of: group).first(where: { $0.phase == .pending }) {
      changes.openings.claims.insert(member.claim.name)
    }
  }

  mutating func endTurn(of group: String) {
    if waitingGroups[group]?.turn != nil { standLast(group) }
  }

  private mutating func standLast(_ name: String) {
    guard let group = waitingGroups[name] else { return }
    keepNothing(forGroup: name)
    let since = now?.monotonicMilliseconds ?? group.since
    for deviceClass in group.members.keys.sorted() {
      leaveQueue(GroupInQueue(since: group.since, group: name), ofClass: deviceClass)
      queuesOfGroups[deviceClass, default: OrderedSet()].insert(GroupInQueue(since: since, group: name))
    }
    waitingGroups[name]?.since = since
    waitingGroups[name]?.turn = nil
  }

  func hasTurn(_ group: String) -> Bool { waitingGroups[group]?.turn.map { !$0.isOver } ?? false }

  /// The member by which a group looks first, whatever its tenant has, as it has its turn.
  func entryOfTurn(ofClass deviceClass: String) -> WaitingList.Entry? {
    guard let name = queuesOfGroups[deviceClass]?.first(after: nil)?.group, hasTurn(name) else { return nil }
    return members(of: name).first { $0.phase == .pending && $0.specification.deviceClass == deviceClass }?.waitingEntry
  }

  /// Nothing is kept for any group, or is to be at this moment.
  package var isNothingKeptForGroups: Bool { waitingGroups.values.allSatisfy { $0.turn?.places.isEmpty ?? true } }

  /// Nor for a claim by itself.
  package var isNothingKeptInTurns: Bool { isNothingKeptForGroups && claimTurns.values.allSatisfy(\.isOver) }

  /// The groups that have their turn.
  package var groupsWithTurn: Set<String> { Set(waitingGroups.keys.filter { hasTurn($0) }) }

  // MARK: What is kept

  /// What is free for members, as far as it goes. The nominations of before were set aside.
  mutating func keepPlaces(forGroup name: String, _ pending: [ClaimState]) {
    guard hasTurn(name), let now, let former = waitingGroups[name]?.turn?.places else { return }
    // What others let go of is kept for all of it already.
    let isPreempting = pending.contains { $0.claim.status?.preemption != nil }
    let found = isPreempting ? [] : placesForSome(of: pending.map(\.claim.name))
    for (member, place) in found {
      guard let specification = claims[member]?.specification, let node = endNodes[place.endNode] else { continue }
      nominations[place.endNode, default: []].append(
        Nomination(
          claim: member, priority: specification.priority, tenantClass: specification.tenantClass,
          endNode: place.endNode, share: share(of: specification, on: node, by: place.path), victims: [], group: name))
    }
    let places = Dictionary(uniqueKeysWithValues: found.map { ($0.member, $0.place.endNode) })
    if places != former { situation += 1 }
    noteFreed(former.filter { places[$0.key] != $0.value }.values)
    let isMore = places.count > waitingGroups[name]?.turn?.mostPlaces ?? 0
    let until = now.monotonicMilliseconds + settings.turnMilliseconds
    _ = waitingGroups.change(name) { group in
      group.turn?.places = places
      guard isMore else { return }
      group.turn?.mostPlaces = places.count
      group.turn?.until = until
    }
  }

  /// In the order in which all of them would be placed.
  private mutating func placesForSome(of names: [String]) -> [(member: String, place: KeptPlace)] {
    var places: [(member: String, place: KeptPlace)] = []
    var inVain: Set<ClaimSpecification> = []
    beginTrial()
    for name in thoseWithLeastChoiceFirst(names) {
      guard let specification = claims[name]?.specification, !inVain.contains(specification) else { continue }
      if let best = best(for: specification), grant(best, toMember: name) {
        places.append((name, KeptPlace(best)))
      } else {
        inVain.insert(specification)
      }
    }
    endTrial(keeping: false)
    return places
  }

  private mutating func keepNothing(forGroup name: String) {
    guard let places = waitingGroups[name]?.turn?.places, !places.isEmpty else { return }
    for member in places.keys { setPlaceAside(of: member, inGroup: name) }
    waitingGroups[name]?.turn?.places = [:]
    noteFreed(places.values)
  }

  mutating func setPlaceAside(of member: String, inGroup group: String) {
    guard let id = waitingGroups[group]?.turn?.places[member] else { return }
    setNominationAside(of: member, at: id)
  }

  /// Others may have it.
  mutating func noteFreed(_ endNodes: some Collection<String>) {
    guard !endNodes.isEmpty else { return }
    changes.openings.endNodes.formUnion(endNodes)
    changes.openings.isKeptFreed = true
  }
}
